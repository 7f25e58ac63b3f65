package join

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"tenantry.dev/lab/k3s/internal/pki"
)

// Server answers the join endpoints.
type Server struct {
	ServerCA, ClientCA *pki.CA
	// Passwords by user: "server" is what servers and agents join with, "node" agents only.
	Passwords map[string]string
	Config    ClusterConfig
	// CheckNode refuses a node name that was registered with another node password.
	CheckNode func(ctx context.Context, node Node) error
	// Connect serves the tunnel of a node until its end.
	Connect func(w http.ResponseWriter, r *http.Request, node string)
	// Rotate has the next start use other CAs, by the names of their files.
	Rotate func(ctx context.Context, files map[string][]byte) error
}

// Wrap serves the join endpoints and leaves every other path to next, so that they share the API's port.
func (s *Server) Wrap(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /cacerts", s.send(s.ServerCA.CertPEM))
	mux.HandleFunc("GET /ping", s.send([]byte("pong")))
	mux.Handle("GET "+basePath+"server-ca.crt", s.authenticated(s.send(s.ServerCA.CertPEM)))
	mux.Handle("GET "+basePath+"client-ca.crt", s.authenticated(s.send(s.ClientCA.CertPEM)))
	mux.Handle("GET "+basePath+"config", s.authenticated(s.sendConfig))
	mux.Handle("GET "+tunnelPath, s.authenticated(s.connect))
	mux.Handle("POST "+basePath+"{certificate}", s.authenticated(s.signCertificate))
	mux.Handle("PUT "+rotatePath, s.authenticated(s.rotate))
	mux.Handle(basePath, http.NotFoundHandler())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cacerts" || r.URL.Path == "/ping" || strings.HasPrefix(r.URL.Path, basePath) {
			mux.ServeHTTP(w, r)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) authenticated(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		want, known := s.Passwords[user]
		if !known || subtle.ConstantTimeCompare([]byte(password), []byte(want)) != 1 {
			http.Error(w, "not authorized: wrong token", http.StatusUnauthorized)
			return
		}
		next(w, r)
	})
}

func (s *Server) send(content []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = w.Write(content)
	}
}

func (s *Server) sendConfig(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.Config)
}

func (s *Server) signCertificate(w http.ResponseWriter, r *http.Request) {
	name, _ := strings.CutSuffix(r.PathValue("certificate"), ".crt")
	kind, ok := certificates[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	node, ok := s.node(w, r)
	if !ok {
		return
	}
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 64<<10))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	public, err := pki.ParseRequest(raw)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	ca, request := s.ClientCA, pki.Request{CommonName: kind.name(node), Organization: kind.groups}
	if kind.serving {
		ca, request.Hosts = s.ServerCA, []string{node.Name, node.IP, "127.0.0.1", "localhost"}
	}
	cert, err := ca.Sign(public, request)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	s.send(cert)(w, r)
}

// rotate takes what a server's token, not an agent's, vouches for. Of k3s's checks without force it knows none.
func (s *Server) rotate(w http.ResponseWriter, r *http.Request) {
	if user, _, _ := r.BasicAuth(); user != "server" {
		http.Error(w, "not authorized: not a server's token", http.StatusForbidden)
		return
	}
	if r.FormValue("force") != "true" {
		http.Error(w, "the lab's k3s takes CAs only with --force", http.StatusBadRequest)
		return
	}
	files := map[string][]byte{}
	err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&files)
	if err == nil {
		err = s.Rotate(r.Context(), files)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}

func (s *Server) connect(w http.ResponseWriter, r *http.Request) {
	if node, ok := s.node(w, r); ok {
		s.Connect(w, r, node.Name)
	}
}

// node is the one that asks, if it is who it was before; otherwise the answer says why not.
func (s *Server) node(w http.ResponseWriter, r *http.Request) (Node, bool) {
	node := Node{
		Name:     r.Header.Get(headerNodeName),
		IP:       r.Header.Get(headerNodeIP),
		Password: r.Header.Get(headerNodePassword),
	}
	if node.Name == "" || node.Password == "" {
		http.Error(w, "node name and node password must be set", http.StatusBadRequest)
		return node, false
	}
	if err := s.CheckNode(r.Context(), node); err != nil {
		status := http.StatusServiceUnavailable
		if _, refused := err.(*RefusedError); refused {
			status = http.StatusForbidden
		}
		http.Error(w, err.Error(), status)
		return node, false
	}
	return node, true
}
