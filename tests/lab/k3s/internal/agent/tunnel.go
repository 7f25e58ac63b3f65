package agent

import (
	"context"
	"fmt"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/klog/v2"

	"tenantry.dev/lab/k3s/internal/tunnel"
)

const tunnelRetry = 2 * time.Second

// runTunnels keeps a tunnel to every server, wherever the cluster says that they are.
func (a *Agent) runTunnels(ctx context.Context) error {
	client, err := a.client("k3s-controller")
	if err != nil {
		return err
	}
	ended, open := make(chan string), map[string]bool{}
	for ctx.Err() == nil {
		found, err := client.CoreV1().Endpoints(metav1.NamespaceDefault).Get(ctx, "kubernetes", metav1.GetOptions{})
		if err != nil {
			klog.V(1).InfoS("Looking for servers", "error", err)
		} else {
			for _, subset := range found.Subsets {
				for _, server := range subset.Addresses {
					address := net.JoinHostPort(server.IP, fmt.Sprint(subset.Ports[0].Port))
					if !open[address] {
						open[address] = true
						go func() {
							err := tunnel.Serve(ctx, address, a.joined.TLS(), a.joined.TunnelRequest(a.node), a.dialOwnPod)
							klog.V(1).InfoS("Tunnel ended", "server", address, "error", err)
							ended <- address
						}()
					}
				}
			}
		}
		retry := time.After(tunnelRetry)
		for waiting := true; waiting; {
			select {
			case address := <-ended:
				delete(open, address)
			case <-retry:
				waiting = false
			case <-ctx.Done():
				return nil
			}
		}
	}
	return nil
}

// dialOwnPod connects to pods of this node and to nothing else.
func (a *Agent) dialOwnPod(ctx context.Context, address string) (net.Conn, error) {
	client, err := a.client("kubelet")
	if err != nil {
		return nil, err
	}
	node, err := client.CoreV1().Nodes().Get(ctx, a.node.Name, metav1.GetOptions{})
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	_, pods, err := net.ParseCIDR(node.Spec.PodCIDR)
	if err != nil || !pods.Contains(net.ParseIP(host)) {
		return nil, fmt.Errorf("%s is no pod of node %s", address, a.node.Name)
	}
	return (&net.Dialer{}).DialContext(ctx, "tcp", address)
}
