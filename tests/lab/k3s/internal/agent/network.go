package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/klog/v2"
	utiliptables "k8s.io/kubernetes/pkg/util/iptables"
)

// routeProtocol marks the routes that are ours to remove.
const routeProtocol netlink.RouteProtocol = 142

// network gives this node's pods addresses and keeps the ways to the other nodes' pods.
type network struct {
	agent *Agent
	vxlan *vxlan // nil with host-gw
	cidr  string // this node's pods
	mtu   int
}

// peer is another node.
type peer struct {
	cidr *net.IPNet
	ip   net.IP
}

// runNetwork watches the nodes: the controller manager writes each one's pod range into its spec.
func (a *Agent) runNetwork(ctx context.Context) error {
	client, err := a.client("kube-proxy")
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	nodes := factory.Core().V1().Nodes()
	changed := make(chan struct{}, 1)
	if _, err := nodes.Informer().AddEventHandler(notifying(changed)); err != nil {
		return err
	}
	factory.Start(ctx.Done())
	n := &network{agent: a}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
		list, err := nodes.Lister().List(labels.Everything())
		if err == nil {
			err = n.reconcile(list)
		}
		if err != nil {
			klog.ErrorS(err, "Reconciling the pod network")
		}
	}
}

func (n *network) reconcile(nodes []*corev1.Node) error {
	var peers []peer
	var own string
	for _, node := range nodes {
		_, cidr, err := net.ParseCIDR(node.Spec.PodCIDR)
		if err != nil {
			continue // not given a range yet
		}
		if node.Name == n.agent.node.Name {
			own = cidr.String()
			continue
		}
		if ip := internalIP(node); ip != nil {
			peers = append(peers, peer{cidr, ip})
		}
	}
	if own == "" {
		return nil
	}
	if own != n.cidr {
		if err := n.setUp(own); err != nil {
			return err
		}
		n.cidr = own
	}
	return n.setRoutes(peers)
}

func (n *network) setUp(cidr string) error {
	link, err := linkOf(n.agent.node.IP)
	if err != nil {
		return err
	}
	n.mtu = link.Attrs().MTU
	if n.agent.cluster.FlannelBackend == "vxlan" {
		if n.vxlan, err = newVXLAN(link, n.agent.node.IP, cidr); err != nil {
			return fmt.Errorf("vxlan: %w", err)
		}
		n.mtu = n.vxlan.link.MTU
	}
	if err := n.setRules(); err != nil {
		return err
	}
	klog.InfoS("Pod network is up", "podCIDR", cidr, "backend", n.agent.cluster.FlannelBackend, "mtu", n.mtu)
	return n.writeCNI(cidr)
}

// writeCNI uses ptp rather than a bridge: its pods' packets are routed, so that services work without the
// br_netfilter module, which a container cannot load.
func (n *network) writeCNI(cidr string) error {
	conf := fmt.Sprintf(`{
  "name": "cbr0",
  "cniVersion": "0.4.0",
  "plugins": [
    {
      "type": "ptp",
      "mtu": %d,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`, n.mtu, cidr)
	return os.WriteFile(n.agent.path("etc/cni/net.d", "10-k3s.conflist"), []byte(conf), 0o644)
}

// setRules lets pods' packets pass and hides pods' addresses outside the cluster.
func (n *network) setRules() error {
	cidr := n.agent.cluster.ClusterCIDR
	comment := []string{"-m", "comment", "--comment", "k3s pod network"}
	ipt := utiliptables.New(utiliptables.ProtocolIPv4)
	for _, rule := range []struct {
		table utiliptables.Table
		chain utiliptables.Chain
		args  []string
	}{
		{utiliptables.TableFilter, utiliptables.ChainForward, []string{"-s", cidr, "-j", "ACCEPT"}},
		{utiliptables.TableFilter, utiliptables.ChainForward, []string{"-d", cidr, "-j", "ACCEPT"}},
		{utiliptables.TableNAT, utiliptables.ChainPostrouting, []string{"-s", cidr, "!", "-d", cidr, "-j", "MASQUERADE"}},
	} {
		if _, err := ipt.EnsureRule(utiliptables.Append, rule.table, rule.chain, slices.Concat(comment, rule.args)...); err != nil {
			return err
		}
	}
	return nil
}

func (n *network) setRoutes(peers []peer) error {
	wanted := map[string]bool{}
	for _, p := range peers {
		wanted[p.cidr.String()] = true
		route := &netlink.Route{Dst: p.cidr, Gw: p.ip, Protocol: routeProtocol}
		if n.vxlan != nil {
			if err := n.vxlan.addPeer(p); err != nil {
				return fmt.Errorf("%s at %s: %w", p.cidr, p.ip, err)
			}
			route.Gw, route.LinkIndex, route.Flags = p.cidr.IP, n.vxlan.link.Index, int(netlink.FLAG_ONLINK)
		}
		if err := netlink.RouteReplace(route); err != nil {
			return fmt.Errorf("route to %s by %s: %w", p.cidr, p.ip, err)
		}
	}
	ours, err := netlink.RouteListFiltered(netlink.FAMILY_V4, &netlink.Route{Protocol: routeProtocol}, netlink.RT_FILTER_PROTOCOL)
	if err != nil {
		return err
	}
	for _, route := range ours {
		if !wanted[route.Dst.String()] {
			if err := netlink.RouteDel(&route); err != nil {
				return err
			}
		}
	}
	return nil
}

func internalIP(node *corev1.Node) net.IP {
	for _, address := range node.Status.Addresses {
		if address.Type == corev1.NodeInternalIP {
			return net.ParseIP(address.Address)
		}
	}
	return nil
}

func linkOf(ip string) (netlink.Link, error) {
	addresses, err := netlink.AddrList(nil, netlink.FAMILY_V4)
	if err != nil {
		return nil, err
	}
	for _, address := range addresses {
		if address.IP.String() == ip {
			return netlink.LinkByIndex(address.LinkIndex)
		}
	}
	return nil, fmt.Errorf("node-ip: %s is not an address of this machine", ip)
}
