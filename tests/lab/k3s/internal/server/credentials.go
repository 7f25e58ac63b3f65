package server

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tenantry.dev/lab/k3s/internal/kubeconfig"
	"tenantry.dev/lab/k3s/internal/pki"
	"tenantry.dev/lab/k3s/internal/token"
)

type credentials struct {
	serverCA, clientCA *pki.CA
	password           string
	agentPassword      string
	token              string // long form
}

func (s *Server) prepareCredentials() (*credentials, error) {
	tls := s.path("tls")
	serverCA, err := pki.EnsureCA(tls, "server-ca")
	if err != nil {
		return nil, err
	}
	clientCA, err := pki.EnsureCA(tls, "client-ca")
	if err != nil {
		return nil, err
	}
	requestHeaderCA, err := pki.EnsureCA(tls, "request-header-ca")
	if err != nil {
		return nil, err
	}
	if _, err := pki.EnsureKey(filepath.Join(tls, "service.key")); err != nil {
		return nil, err
	}
	for name, ca := range map[string]*pki.CA{"server-ca": serverCA, "client-ca": clientCA} {
		if err := os.WriteFile(s.path("tls", name+".nochain.crt"), ca.WithoutChain(), 0o600); err != nil {
			return nil, err
		}
	}
	masters := []string{"system:masters"}
	for _, c := range []struct {
		ca      *pki.CA
		name    string
		request pki.Request
	}{
		{serverCA, "serving-kube-apiserver", pki.Request{CommonName: "kube-apiserver", Hosts: s.servingHosts()}},
		{clientCA, "client-kube-apiserver", pki.Request{CommonName: "system:apiserver", Organization: masters}},
		{clientCA, "client-admin", pki.Request{CommonName: "system:admin", Organization: masters}},
		{clientCA, "client-controller", pki.Request{CommonName: "system:kube-controller-manager"}},
		{clientCA, "client-scheduler", pki.Request{CommonName: "system:kube-scheduler"}},
		{requestHeaderCA, "client-auth-proxy", pki.Request{CommonName: "system:auth-proxy"}},
	} {
		if err := c.ca.Ensure(tls, c.name, c.request); err != nil {
			return nil, err
		}
	}
	creds := &credentials{serverCA: serverCA, clientCA: clientCA}
	if err := s.prepareToken(creds); err != nil {
		return nil, err
	}
	if err := s.prepareEncryption(); err != nil {
		return nil, err
	}
	return creds, s.writeKubeconfigs()
}

func (s *Server) servingHosts() []string {
	domain := s.opts.String("cluster-domain")
	hosts := []string{
		"kubernetes", "kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc." + domain,
		"localhost", "127.0.0.1", "::1", s.serviceIP, s.nodeIP, s.nodeName,
	}
	for _, option := range []string{"advertise-address", "bind-address"} {
		if address := s.opts.String(option); address != "" && address != "0.0.0.0" {
			hosts = append(hosts, address)
		}
	}
	return append(hosts, s.opts.List("tls-san")...)
}

// prepareToken keeps the password of the first start. Like k3s it refuses another one: in a real cluster the
// datastore is encrypted with it.
func (s *Server) prepareToken(creds *credentials) error {
	file := s.path("token")
	given := s.opts.String("token")
	if given != "" {
		parsed, err := token.Parse(given)
		if err != nil {
			return err
		}
		if err := parsed.VerifyCA(creds.serverCA.CertPEM); err != nil {
			return err
		}
		given = parsed.Password
	}
	raw, err := os.ReadFile(file)
	switch {
	case err == nil:
		kept, err := token.Parse(strings.TrimSpace(string(raw)))
		if err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if given != "" && given != kept.Password {
			return fmt.Errorf("token: differs from the one this cluster was made with; start with that one, or with another data-dir")
		}
		creds.password = kept.Password
	case !errors.Is(err, fs.ErrNotExist):
		return err
	case given != "":
		creds.password = given
	default:
		creds.password = token.NewPassword()
	}
	creds.token = token.Format(creds.serverCA.CertPEM, "server", creds.password)
	if err := os.WriteFile(file, []byte(creds.token+"\n"), 0o600); err != nil {
		return err
	}
	if err := relink(file, s.path("node-token")); err != nil {
		return err
	}
	return s.prepareAgentToken(creds, file)
}

// prepareAgentToken: without a token of their own, agents join with the server's.
func (s *Server) prepareAgentToken(creds *credentials, serverTokenFile string) error {
	file := s.path("agent-token")
	given := s.opts.String("agent-token")
	if given == "" {
		creds.agentPassword = creds.password
		return relink(serverTokenFile, file)
	}
	parsed, err := token.Parse(given)
	if err != nil {
		return fmt.Errorf("agent-%w", err)
	}
	creds.agentPassword = parsed.Password
	if err := os.RemoveAll(file); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(token.Format(creds.serverCA.CertPEM, "node", parsed.Password)+"\n"), 0o600)
}

func relink(target, link string) error {
	if err := os.RemoveAll(link); err != nil {
		return err
	}
	return os.Symlink(target, link)
}

const encryptionConfig = `apiVersion: apiserver.config.k8s.io/v1
kind: EncryptionConfiguration
resources:
- resources: [secrets]
  providers:
  - aescbc:
      keys:
      - name: aescbckey
        secret: %s
  - identity: {}
`

func (s *Server) prepareEncryption() error {
	file := s.path("cred", "encryption-config.yaml")
	if _, err := os.Stat(file); err == nil || !s.opts.Bool("secrets-encryption") {
		return nil
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	return os.WriteFile(file, fmt.Appendf(nil, encryptionConfig, base64.StdEncoding.EncodeToString(key)), 0o600)
}

func (s *Server) writeKubeconfigs() error {
	url := s.URL()
	tls := s.path("tls")
	for name, cert := range map[string]string{
		"admin": "client-admin", "controller": "client-controller", "scheduler": "client-scheduler",
	} {
		if err := kubeconfig.Write(s.path("cred", name+".kubeconfig"), 0o600, url, tls, cert); err != nil {
			return err
		}
	}
	out := s.opts.String("write-kubeconfig")
	mode, _ := strconv.ParseUint(s.opts.String("write-kubeconfig-mode"), 8, 32) // validated with the options
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return err
	}
	return kubeconfig.Write(out, fs.FileMode(mode), url, tls, "client-admin")
}
