package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	patience       = 10 * time.Second
	serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"
)

// plain makes a connection for every request, so that each meets the endpoints a service has at that moment.
var plain = newClient(nil)

func newClient(roots *x509.CertPool) *http.Client {
	return &http.Client{Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: roots},
	}}
}

func get(ctx context.Context, words []string) error {
	response, err := request(ctx, plain, words[0], nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return errors.New(response.Status)
	}
	return nil
}

func fetch(ctx context.Context, words []string) error {
	return show(ctx, os.Stdout, plain, words[0], nil)
}

// kube asks the API server that the kubelet told this pod of, as the pod's service account.
func kube(ctx context.Context, words []string) error {
	return askCluster(ctx, os.Stdout, words[0])
}

func askCluster(ctx context.Context, w io.Writer, path string) error {
	token, err := os.ReadFile(filepath.Join(serviceAccount, "token"))
	if err != nil {
		return err
	}
	ca, err := os.ReadFile(filepath.Join(serviceAccount, "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	server := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	header := http.Header{"Authorization": {"Bearer " + strings.TrimSpace(string(token))}}
	return show(ctx, w, newClient(roots), "https://"+server+path, header)
}

func resolve(ctx context.Context, words []string) error {
	addresses, err := lookup(ctx, words[0])
	if err != nil {
		return err
	}
	_, err = fmt.Print(addresses)
	return err
}

// lookup asks the resolver that /etc/resolv.conf and /etc/hosts describe, search list included.
func lookup(ctx context.Context, name string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	return strings.Join(addresses, "\n") + "\n", err
}

// show writes the status line and the body, whatever the status is.
func show(ctx context.Context, w io.Writer, client *http.Client, url string, header http.Header) error {
	response, err := request(ctx, client, url, header)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	fmt.Fprintln(w, response.Status)
	_, err = io.Copy(w, response.Body)
	return err
}

func request(ctx context.Context, client *http.Client, url string, header http.Header) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	return client.Do(request)
}
