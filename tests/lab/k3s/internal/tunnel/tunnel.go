// Package tunnel carries the API server's connections to pods. A server that is no node has no route to them, so, as
// with k3s, every agent keeps a connection to every server, and the servers open streams on it.
package tunnel

import (
	"bufio"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/yamux"
)

const (
	protocol    = "k3s-lab-tunnel"
	dialTimeout = 10 * time.Second
	dialed      = "dialed"
)

func configuration() *yamux.Config {
	config := yamux.DefaultConfig()
	config.KeepAliveInterval = 10 * time.Second
	config.LogOutput, config.Logger = nil, log.New(io.Discard, "", 0) // that a peer has gone is not worth a line
	return config
}

// Server knows the agents that have a tunnel.
type Server struct {
	mu     sync.Mutex
	agents map[string]*yamux.Session
}

// Accept turns the request of an agent, who has proven to be this node, into its tunnel and returns at its end.
func (s *Server) Accept(w http.ResponseWriter, r *http.Request, node string) {
	if r.Header.Get("Upgrade") != protocol {
		http.Error(w, "expected an upgrade to "+protocol, http.StatusUpgradeRequired)
		return
	}
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, err.Error(), http.StatusHTTPVersionNotSupported)
		return
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", protocol); err != nil {
		return
	}
	session, err := yamux.Client(&bufferedConn{conn, buffered.Reader}, configuration())
	if err != nil {
		return
	}
	s.set(node, session)
	<-session.CloseChan()
	s.forget(node, session)
}

// Dial connects to an address through the agent of a node; nil without an error where it is not connected.
func (s *Server) Dial(node, address string) (net.Conn, error) {
	s.mu.Lock()
	session := s.agents[node]
	s.mu.Unlock()
	if session == nil {
		return nil, nil
	}
	stream, err := session.Open()
	if err != nil {
		return nil, err
	}
	_ = stream.SetDeadline(time.Now().Add(dialTimeout))
	reader := bufio.NewReader(stream)
	_, err = fmt.Fprintln(stream, address)
	if err == nil {
		var answer string
		answer, err = reader.ReadString('\n')
		if answer = strings.TrimSpace(answer); err == nil && answer != dialed {
			err = fmt.Errorf("node %s: %s", node, answer)
		}
	}
	if err != nil {
		stream.Close()
		return nil, err
	}
	_ = stream.SetDeadline(time.Time{})
	return &bufferedConn{stream, reader}, nil
}

func (s *Server) set(node string, session *yamux.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.agents[node]; before != nil {
		before.Close()
	}
	if s.agents == nil {
		s.agents = map[string]*yamux.Session{}
	}
	s.agents[node] = session
}

func (s *Server) forget(node string, session *yamux.Session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.agents[node] == session {
		delete(s.agents, node)
	}
}

// bufferedConn reads first what came with the head of the connection.
type bufferedConn struct {
	net.Conn
	reader *bufio.Reader
}

func (c *bufferedConn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// splice copies both ways until one side has ended, with which HTTP, all that comes this way, is over.
func splice(a, b net.Conn) {
	defer a.Close()
	defer b.Close()
	done := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{a, b}, {b, a}} {
		go func() {
			_, _ = io.Copy(way[0], way[1])
			done <- struct{}{}
		}()
	}
	<-done
}
