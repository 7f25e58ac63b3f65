package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"tenantry.dev/lab/k3s/internal/tunnel"
)

const egressConfiguration = `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport:
      uds:
        udsName: %s
`

// tunnelled says whether connections to pods go through the agents. As by k3s's modes pod and cluster; in mode agent
// only those to kubelets do, which the lab's API server reaches directly.
func (s *Server) tunnelled() bool {
	return slices.Contains([]string{"pod", "cluster"}, s.opts.String("egress-selector-mode"))
}

// startEgress listens for the egress selector of the API server and returns the file that tells it where.
func (s *Server) startEgress(ctx context.Context) (string, error) {
	socket, file := s.path("egress.sock"), s.path("egress-selector.yaml")
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", err
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return "", err
	}
	proxy := &http.Server{Handler: tunnel.Proxy(s.dialPod), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { proxy.Close() })
	go func() { _ = proxy.Serve(listener) }()
	return file, os.WriteFile(file, fmt.Appendf(nil, egressConfiguration, socket), 0o600)
}

// dialPod goes through the agent of the node in whose network of pods the address is, and directly to all others.
func (s *Server) dialPod(ctx context.Context, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if ip := net.ParseIP(host); ip != nil {
		nodes, err := s.client.CoreV1().Nodes().List(ctx, metav1.ListOptions{ResourceVersion: "0"})
		if err != nil {
			return nil, err
		}
		for _, node := range nodes.Items {
			if _, pods, err := net.ParseCIDR(node.Spec.PodCIDR); err == nil && pods.Contains(ip) {
				if conn, err := s.tunnels.Dial(node.Name, address); conn != nil || err != nil {
					return conn, err
				}
			}
		}
	}
	return (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", address)
}
