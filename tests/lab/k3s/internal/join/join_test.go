package join

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"tenantry.dev/lab/k3s/internal/pki"
	"tenantry.dev/lab/k3s/internal/token"
)

// newServer serves the protocol with a certificate of its own CA, before an API that only answers 418.
func newServer(t *testing.T, check func(context.Context, Node) error) (*Server, string) {
	t.Helper()
	dir := t.TempDir()
	s := &Server{
		Passwords: map[string]string{"server": "server-secret", "node": "agent-secret"},
		Config:    ClusterConfig{ClusterCIDR: "10.42.0.0/16"},
		CheckNode: check,
	}
	for name, ca := range map[string]**pki.CA{"server-ca": &s.ServerCA, "client-ca": &s.ClientCA} {
		var err error
		if *ca, err = pki.EnsureCA(dir, name); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.ServerCA.Ensure(dir, "serving", pki.Request{CommonName: "serving", Hosts: []string{"127.0.0.1"}}); err != nil {
		t.Fatal(err)
	}
	cert, err := tls.LoadX509KeyPair(filepath.Join(dir, "serving.crt"), filepath.Join(dir, "serving.key"))
	if err != nil {
		t.Fatal(err)
	}
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	web := httptest.NewUnstartedServer(s.Wrap(api))
	web.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	web.StartTLS()
	t.Cleanup(web.Close)
	return s, web.URL
}

func accept(context.Context, Node) error { return nil }

func fetch(t *testing.T, url, tok string) (string, error) {
	t.Helper()
	client, err := Connect(t.Context(), url, tok)
	if err != nil {
		return "", err
	}
	if _, err := client.Config(t.Context()); err != nil {
		return "", err
	}
	dir := t.TempDir()
	return dir, client.FetchCertificates(t.Context(), dir, Node{Name: "n1", IP: "10.0.0.9", Password: "p"})
}

func TestJoin(t *testing.T) {
	s, url := newServer(t, accept)
	for name, tok := range map[string]string{
		"short":          "agent-secret",
		"long":           token.Format(s.ServerCA.CertPEM, "node", "agent-secret"),
		"server's token": token.Format(s.ServerCA.CertPEM, "server", "server-secret"),
	} {
		t.Run(name, func(t *testing.T) {
			dir, err := fetch(t, url, tok)
			if err != nil {
				t.Fatal(err)
			}
			client, serving := readCert(t, dir, "client-kubelet"), readCert(t, dir, "serving-kubelet")
			if client.Subject.CommonName != "system:node:n1" || client.CheckSignatureFrom(s.ClientCA.Cert) != nil {
				t.Errorf("client certificate of %s", client.Subject)
			}
			if serving.VerifyHostname("10.0.0.9") != nil || serving.CheckSignatureFrom(s.ServerCA.Cert) != nil {
				t.Errorf("serving certificate of %v", serving.IPAddresses)
			}
		})
	}
}

func TestRefused(t *testing.T) {
	s, url := newServer(t, accept)
	other, _ := newServer(t, accept)
	for name, tok := range map[string]string{
		"wrong password":         "guess",
		"no password":            "",
		"another cluster's":      token.Format(other.ServerCA.CertPEM, "node", "agent-secret"),
		"unknown user":           token.Format(s.ServerCA.CertPEM, "root", "server-secret"),
		"agent posing as server": token.Format(s.ServerCA.CertPEM, "server", "agent-secret"),
	} {
		var refused *RefusedError
		if _, err := fetch(t, url, tok); !errors.As(err, &refused) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, url = newServer(t, func(context.Context, Node) error { return &RefusedError{Reason: "known by another password"} })
	var refused *RefusedError
	if _, err := fetch(t, url, "agent-secret"); !errors.As(err, &refused) {
		t.Errorf("node password: got %v", err)
	}
	_, url = newServer(t, func(context.Context, Node) error { return errors.New("API server is starting") })
	if _, err := fetch(t, url, "agent-secret"); err == nil || errors.As(err, &refused) {
		t.Errorf("a server that cannot tell yet is asked again: got %v", err)
	}
}

func TestOtherPathsAreTheAPIs(t *testing.T) {
	s, _ := newServer(t, accept)
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	for path, want := range map[string]int{
		"/ping": http.StatusOK, "/cacerts": http.StatusOK, "/v1-k3s/config": http.StatusUnauthorized,
		"/v1-k3s/other": http.StatusNotFound, "/readyz": http.StatusTeapot, "/pingpong": http.StatusTeapot,
	} {
		w := httptest.NewRecorder()
		s.Wrap(api).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("%s: got %d, want %d", path, w.Code, want)
		}
	}
}

func readCert(t *testing.T, dir, name string) *x509.Certificate {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name+".crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(raw)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}
