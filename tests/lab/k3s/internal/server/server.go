// Package server is `k3s server`: the datastore, the API server, the controller manager and the scheduler in
// one process, and around them what makes a cluster of them (certificates, join endpoints, packaged manifests).
package server

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	netutils "k8s.io/utils/net"

	"tenantry.dev/lab/k3s/internal/datastore"
	"tenantry.dev/lab/k3s/internal/join"
	"tenantry.dev/lab/k3s/internal/options"
	"tenantry.dev/lab/k3s/internal/tunnel"
)

// Server is one running control plane.
type Server struct {
	opts      *options.Options
	dir       string // <data-dir>/server
	nodeName  string
	nodeIP    string
	serviceIP string // of the API inside the cluster
	dnsIP     string
	datastore *datastore.Datastore
	creds     *credentials
	admin     *rest.Config
	client    kubernetes.Interface
	egress    string // the API server's egress configuration, where it has one
	tunnels   tunnel.Server
}

// New starts the datastore, which may have what this server needs of others, and prepares the files.
func New(ctx context.Context, opts *options.Options, nodeName, nodeIP string) (*Server, error) {
	s := &Server{
		opts:     opts,
		dir:      filepath.Join(opts.String("data-dir"), "server"),
		nodeName: nodeName,
		nodeIP:   nodeIP,
	}
	if err := s.chooseServiceIPs(); err != nil {
		return nil, err
	}
	for _, d := range []string{"tls", "cred", "manifests"} {
		if err := os.MkdirAll(filepath.Join(s.dir, d), 0o700); err != nil {
			return nil, err
		}
	}
	if err := s.takeRotatedCAs(); err != nil {
		return nil, err
	}
	if err := s.startDatastore(ctx); err != nil {
		return nil, fmt.Errorf("datastore: %w", err)
	}
	creds, err := s.shareCredentials(ctx)
	if err != nil {
		return nil, err
	}
	s.creds = creds
	if s.admin, err = clientcmd.BuildConfigFromFlags("", s.path("cred", "admin.kubeconfig")); err != nil {
		return nil, err
	}
	s.client, err = kubernetes.NewForConfig(s.admin)
	return s, err
}

// Run starts everything else and returns when all of it has ended, which it does as soon as one part has. It calls
// ready once the API server answers /readyz.
func (s *Server) Run(ctx context.Context, ready func()) error {
	if s.tunnelled() {
		file, err := s.startEgress(ctx)
		if err != nil {
			return fmt.Errorf("egress: %w", err)
		}
		s.egress = file
	}
	components, err := s.newComponents()
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	run := func(name string, f func(context.Context) error) {
		group.Go(func() error {
			err := f(ctx)
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("%s ended: %v", name, err)
		})
	}
	run("kube-apiserver", components.runAPIServer)
	group.Go(func() error {
		if s.waitReady(ctx) != nil {
			return nil // stopped before it was up
		}
		run("kube-controller-manager", components.runControllerManager)
		if !s.opts.Bool("disable-scheduler") {
			run("kube-scheduler", components.runScheduler)
		}
		go s.deployManifests(ctx)
		go s.followNodes(ctx)
		ready()
		return nil
	})
	return group.Wait()
}

// URL is where this machine reaches its own API server.
func (s *Server) URL() string {
	host := s.opts.String("bind-address")
	if ip := net.ParseIP(host); ip == nil || ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return "https://" + net.JoinHostPort(host, strconv.Itoa(s.opts.Int("https-listen-port")))
}

// Deviations lists what was asked for and is done differently than by k3s.
func (s *Server) Deviations() []string {
	var out []string
	if mode := s.opts.String("egress-selector-mode"); mode != "disabled" {
		out = append(out, "egress-selector-mode "+mode+": the lab's API server connects to kubelets directly, and to pods in mode pod as in mode cluster")
	}
	for _, c := range []string{"traefik", "servicelb"} {
		if !s.opts.Disabled(c) {
			out = append(out, "the lab's k3s has no "+c)
		}
	}
	return out
}

// JoinToken is what an agent in the same process joins with.
func (s *Server) JoinToken() string { return s.creds.token }

func (s *Server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

func (s *Server) clusterConfig() join.ClusterConfig {
	return join.ClusterConfig{
		ClusterCIDR:           s.opts.String("cluster-cidr"),
		ClusterDNS:            s.dnsIP,
		ClusterDomain:         s.opts.String("cluster-domain"),
		FlannelBackend:        s.opts.String("flannel-backend"),
		DisableKubeProxy:      s.opts.Bool("disable-kube-proxy"),
		DisableLocalStorage:   s.opts.Disabled("local-storage"),
		DisableNetworkPolicy:  s.opts.Bool("disable-network-policy"),
		Tunnels:               s.tunnelled(),
		SystemDefaultRegistry: s.opts.String("system-default-registry"),
	}
}

func (s *Server) chooseServiceIPs() error {
	for _, name := range []string{"cluster-cidr", "service-cidr"} {
		if _, _, err := net.ParseCIDR(s.opts.String(name)); err != nil {
			return fmt.Errorf("%s: %w (the lab's k3s takes one range)", name, err)
		}
	}
	_, services, _ := net.ParseCIDR(s.opts.String("service-cidr"))
	first, err := netutils.GetIndexedIP(services, 1)
	if err != nil {
		return fmt.Errorf("service-cidr: %w", err)
	}
	s.serviceIP = first.String()
	s.dnsIP = s.opts.String("cluster-dns")
	if s.dnsIP == "" {
		tenth, err := netutils.GetIndexedIP(services, 10)
		if err != nil {
			return fmt.Errorf("service-cidr: %w", err)
		}
		s.dnsIP = tenth.String()
	}
	return nil
}

func (s *Server) waitReady(ctx context.Context) error {
	start := time.Now()
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err := s.client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(ctx)
		return err == nil, nil
	})
	if err == nil {
		klog.Infof("API server ready after %s", time.Since(start).Round(10*time.Millisecond))
	}
	return err
}
