// Package agent is `k3s agent`: it joins a server and runs containerd, the kubelet, kube-proxy, the pod network
// and the local volumes of one node.
package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"tenantry.dev/lab/k3s/internal/join"
	"tenantry.dev/lab/k3s/internal/kubeconfig"
	"tenantry.dev/lab/k3s/internal/node"
	"tenantry.dev/lab/k3s/internal/options"
)

const joinRetry = 2 * time.Second

// Agent is one node of a cluster.
type Agent struct {
	opts    *options.Options
	dir     string // <data-dir>/agent
	node    join.Node
	cluster join.ClusterConfig
	joined  *join.Client
}

// New prepares this machine to be a node.
func New(opts *options.Options, nodeName, nodeIP string) (*Agent, error) {
	if err := node.Prepare(); err != nil {
		return nil, err
	}
	password, err := node.Password()
	if err != nil {
		return nil, err
	}
	a := &Agent{
		opts: opts,
		dir:  filepath.Join(opts.String("data-dir"), "agent"),
		node: join.Node{Name: nodeName, IP: nodeIP, Password: password},
	}
	for _, d := range []string{"containerd", "etc/cni/net.d", "etc/containerd", "images"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return nil, err
		}
	}
	return a, nil
}

// Run joins and then returns once the first part of the agent has ended, and at the end of ctx once containerd
// has. Pods run on: the next agent finds them. It calls ready when all parts have started.
func (a *Agent) Run(ctx context.Context, ready func()) error {
	if err := a.join(ctx); err != nil {
		return err
	}
	ended := make(chan error, 4)
	containerd, err := a.startContainerd(ctx)
	if err != nil {
		return fmt.Errorf("containerd: %w", err)
	}
	go func() { ended <- <-containerd }()
	if err := a.importImages(ctx); err != nil {
		return fmt.Errorf("importing images: %w", err)
	}
	run := func(name string, f func(context.Context) error) {
		go func() {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				ended <- fmt.Errorf("%s: %w", name, err)
			}
		}()
	}
	run("kubelet", a.runKubelet)
	if !a.cluster.DisableKubeProxy {
		run("kube-proxy", a.runKubeProxy)
	}
	if a.cluster.FlannelBackend != "none" {
		run("pod network", a.runNetwork)
	}
	run("network policies", a.runNetworkPolicies)
	if a.cluster.Tunnels {
		run("tunnels", a.runTunnels)
	}
	if !a.cluster.DisableLocalStorage {
		run("local storage", a.runLocalStorage)
	}
	ready()
	return <-ended
}

// join retries until the server answers: agents and servers start in any order. A refusal is final.
func (a *Agent) join(ctx context.Context) error {
	var lastError string
	return wait.PollUntilContextCancel(ctx, joinRetry, true, func(ctx context.Context) (bool, error) {
		err := a.tryJoin(ctx)
		var refused *join.RefusedError
		if err == nil || errors.As(err, &refused) {
			return err == nil, err
		}
		if err.Error() != lastError {
			lastError = err.Error()
			klog.InfoS("Waiting for the server", "server", a.opts.String("server"), "error", lastError)
		}
		return false, nil
	})
}

func (a *Agent) tryJoin(ctx context.Context) error {
	client, err := join.Connect(ctx, a.opts.String("server"), a.opts.String("token"))
	if err != nil {
		return err
	}
	if a.cluster, err = client.Config(ctx); err != nil {
		return err
	}
	if err := client.FetchCertificates(ctx, a.dir, a.node); err != nil {
		return err
	}
	for _, name := range []string{"kubelet", "kube-proxy", "k3s-controller"} {
		file := "client-" + name
		if err := kubeconfig.Write(a.kubeconfig(name), 0o600, client.URL(), a.dir, file); err != nil {
			return err
		}
	}
	a.joined = client
	klog.InfoS("Joined the cluster", "server", client.URL(), "node", a.node.Name, "ip", a.node.IP)
	return nil
}

func (a *Agent) path(elem ...string) string {
	return filepath.Join(append([]string{a.dir}, elem...)...)
}

func (a *Agent) kubeconfig(name string) string { return a.path(name + ".kubeconfig") }

func (a *Agent) client(name string) (*kubernetes.Clientset, error) {
	config, err := clientcmd.BuildConfigFromFlags("", a.kubeconfig(name))
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}
