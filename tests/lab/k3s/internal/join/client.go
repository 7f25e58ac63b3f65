package join

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tenantry.dev/lab/k3s/internal/pki"
	"tenantry.dev/lab/k3s/internal/token"
)

const requestTimeout = 10 * time.Second

// Client is an agent's side of the protocol.
type Client struct {
	url   string
	token token.Token
	http  *http.Client
	roots *x509.CertPool
}

// Connect fetches the server's CA, checks it against the token and trusts nothing else from then on.
func Connect(ctx context.Context, server, tokenText string) (*Client, error) {
	tok, err := token.Parse(tokenText)
	if err != nil {
		return nil, &RefusedError{Reason: err.Error()}
	}
	c := &Client{url: strings.TrimSuffix(server, "/"), token: tok}
	c.http = httpClient(&tls.Config{InsecureSkipVerify: true}) // the token's hash says whether to believe the answer
	ca, err := c.do(ctx, http.MethodGet, "/cacerts", nil, nil, false)
	if err != nil {
		return nil, err
	}
	if err := tok.VerifyCA(ca); err != nil {
		return nil, &RefusedError{Reason: err.Error()}
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, fmt.Errorf("%s/cacerts: is not a certificate", c.url)
	}
	c.roots = pool
	c.http = httpClient(c.TLS())
	return c, nil
}

func (c *Client) URL() string { return c.url }

// TLS trusts the cluster's servers, at whichever address, by the name that the agent was given.
func (c *Client) TLS() *tls.Config {
	config := &tls.Config{RootCAs: c.roots}
	if address, err := url.Parse(c.url); err == nil {
		config.ServerName = address.Hostname()
	}
	return config
}

// TunnelRequest asks a server to keep the connection that it comes by.
func (c *Client) TunnelRequest(node Node) *http.Request {
	request, _ := http.NewRequest(http.MethodGet, c.url+tunnelPath, nil)
	request.Header = nodeHeader(node)
	request.SetBasicAuth(c.token.Username, c.token.Password)
	return request
}

func (c *Client) Config(ctx context.Context) (ClusterConfig, error) {
	var config ClusterConfig
	raw, err := c.do(ctx, http.MethodGet, basePath+"config", nil, nil, true)
	if err != nil {
		return config, err
	}
	return config, json.Unmarshal(raw, &config)
}

// RotateCAs hands other CAs to a server, which uses them from its next start on.
func (c *Client) RotateCAs(ctx context.Context, files map[string][]byte, force bool) error {
	body, err := json.Marshal(files)
	if err == nil {
		_, err = c.do(ctx, http.MethodPut, fmt.Sprintf("%s?force=%t", rotatePath, force), nil, body, true)
	}
	return err
}

// FetchCertificates has dir hold the two CAs and, each with its own key that never leaves it, the node's certificates.
func (c *Client) FetchCertificates(ctx context.Context, dir string, node Node) error {
	for _, name := range []string{"server-ca.crt", "client-ca.crt"} {
		raw, err := c.do(ctx, http.MethodGet, basePath+name, nil, nil, true)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), raw, 0o644); err != nil {
			return err
		}
	}
	header := nodeHeader(node)
	for name := range certificates {
		key, err := pki.EnsureKey(filepath.Join(dir, name+".key"))
		if err != nil {
			return err
		}
		csr, err := pki.NewRequest(key)
		if err != nil {
			return err
		}
		cert, err := c.do(ctx, http.MethodPost, basePath+name+".crt", header, csr, true)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name+".crt"), cert, 0o644); err != nil {
			return err
		}
	}
	return nil
}

func nodeHeader(node Node) http.Header {
	header := http.Header{}
	header.Set(headerNodeName, node.Name)
	header.Set(headerNodeIP, node.IP)
	header.Set(headerNodePassword, node.Password)
	return header
}

func (c *Client) do(ctx context.Context, method, path string, header http.Header, body []byte, authenticate bool) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if header != nil {
		req.Header = header.Clone()
	}
	if authenticate {
		req.SetBasicAuth(c.token.Username, c.token.Password)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	message := strings.TrimSpace(string(raw))
	switch resp.StatusCode {
	case http.StatusOK:
		return raw, nil
	case http.StatusUnauthorized, http.StatusForbidden:
		return nil, &RefusedError{Reason: message}
	default:
		return nil, fmt.Errorf("%s%s: %s: %s", c.url, path, resp.Status, message)
	}
}

func httpClient(config *tls.Config) *http.Client {
	return &http.Client{Timeout: requestTimeout, Transport: &http.Transport{TLSClientConfig: config}}
}
