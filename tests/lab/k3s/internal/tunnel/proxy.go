package tunnel

import (
	"context"
	"net"
	"net/http"
)

// Proxy answers HTTP CONNECT, by which an API server's egress selector asks for connections.
func Proxy(dial func(ctx context.Context, address string) (net.Conn, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			http.Error(w, "CONNECT only", http.StatusMethodNotAllowed)
			return
		}
		target, err := dial(r.Context(), r.Host)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			target.Close()
			return
		}
		if _, err := conn.Write([]byte("HTTP/1.1 200 OK\r\n\r\n")); err != nil {
			conn.Close()
			target.Close()
			return
		}
		splice(&bufferedConn{conn, buffered.Reader}, target)
	})
}
