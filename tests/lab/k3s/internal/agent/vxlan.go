package agent

import (
	"net"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

const (
	vxlanName     = "flannel.1"
	vxlanID       = 1
	vxlanPort     = 8472
	vxlanOverhead = 50
)

// vxlan is the tunnel to the other nodes. Its MAC address follows from the node's pod range, so that peers know
// it without being told.
type vxlan struct {
	link *netlink.Vxlan
}

func newVXLAN(underlay netlink.Link, nodeIP, podCIDR string) (*vxlan, error) {
	_, cidr, err := net.ParseCIDR(podCIDR)
	if err != nil {
		return nil, err
	}
	if old, err := netlink.LinkByName(vxlanName); err == nil {
		if err := netlink.LinkDel(old); err != nil {
			return nil, err
		}
	}
	link := &netlink.Vxlan{
		LinkAttrs: netlink.LinkAttrs{
			Name:         vxlanName,
			HardwareAddr: vtepMAC(cidr),
			MTU:          underlay.Attrs().MTU - vxlanOverhead,
		},
		VxlanId:      vxlanID,
		VtepDevIndex: underlay.Attrs().Index,
		SrcAddr:      net.ParseIP(nodeIP),
		Port:         vxlanPort,
	}
	if err := netlink.LinkAdd(link); err != nil {
		return nil, err
	}
	address := &netlink.Addr{IPNet: &net.IPNet{IP: cidr.IP, Mask: net.CIDRMask(32, 32)}}
	if err := netlink.AddrReplace(link, address); err != nil {
		return nil, err
	}
	return &vxlan{link}, netlink.LinkSetUp(link)
}

// addPeer states which MAC address the peer's end has, and behind which node it is.
func (v *vxlan) addPeer(p peer) error {
	entries := []netlink.Neigh{
		{Family: unix.AF_INET, IP: p.cidr.IP, Type: unix.RTN_UNICAST},
		{Family: unix.AF_BRIDGE, IP: p.ip, Flags: netlink.NTF_SELF},
	}
	for _, entry := range entries {
		entry.LinkIndex, entry.State, entry.HardwareAddr = v.link.Index, netlink.NUD_PERMANENT, vtepMAC(p.cidr)
		if err := netlink.NeighSet(&entry); err != nil {
			return err
		}
	}
	return nil
}

func vtepMAC(cidr *net.IPNet) net.HardwareAddr {
	return append(net.HardwareAddr{0x0a, 0x58}, cidr.IP.To4()...)
}
