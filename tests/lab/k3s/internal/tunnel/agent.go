package tunnel

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/yamux"
)

// Serve keeps a tunnel to one server until it breaks or ctx ends. dial decides which addresses may be reached by it.
func Serve(ctx context.Context, address string, config *tls.Config, request *http.Request, dial func(context.Context, string) (net.Conn, error)) error {
	conn, err := (&tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: config}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	context.AfterFunc(ctx, func() { conn.Close() })
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", protocol)
	if err := request.Write(conn); err != nil {
		return err
	}
	reader := bufio.NewReader(conn)
	response, err := http.ReadResponse(reader, request)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusSwitchingProtocols {
		return fmt.Errorf("%s: %s", address, response.Status)
	}
	session, err := yamux.Server(&bufferedConn{conn, reader}, configuration())
	if err != nil {
		return err
	}
	defer session.Close()
	for {
		stream, err := session.Accept()
		if err != nil {
			return err
		}
		go connect(ctx, stream, dial)
	}
}

func connect(ctx context.Context, stream net.Conn, dial func(context.Context, string) (net.Conn, error)) {
	_ = stream.SetDeadline(time.Now().Add(dialTimeout))
	reader := bufio.NewReader(stream)
	address, err := reader.ReadString('\n')
	if err != nil {
		stream.Close()
		return
	}
	dialing, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	target, err := dial(dialing, strings.TrimSpace(address))
	if err != nil {
		fmt.Fprintln(stream, strings.ReplaceAll(err.Error(), "\n", " "))
		stream.Close()
		return
	}
	if _, err := fmt.Fprintln(stream, dialed); err != nil {
		stream.Close()
		target.Close()
		return
	}
	_ = stream.SetDeadline(time.Time{})
	splice(&bufferedConn{stream, reader}, target)
}
