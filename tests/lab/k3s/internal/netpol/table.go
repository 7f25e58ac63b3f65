package netpol

import (
	"maps"
	"slices"

	"sigs.k8s.io/knftables"
)

// Family and Table are where the rules are, and nothing else's.
const (
	Family = knftables.IPv4Family
	Table  = "k3s-network-policy"
)

// Packets between pods and outside are forwarded; those to an address of the node, a service's included once kube-proxy
// has put the node's for it, are its input. What the node itself sends, its kubelet's probes above all, is never asked.
var hooks = map[string]knftables.BaseChainHook{"forward": knftables.ForwardHook, "input": knftables.InputHook}

// Write replaces the whole table, in one transaction.
func (r Rules) Write(tx *knftables.Transaction) {
	Remove(tx)
	tx.Add(&knftables.Table{})
	for _, name := range slices.Sorted(maps.Keys(r.Chains)) {
		tx.Add(&knftables.Chain{Name: name})
		for _, rule := range r.Chains[name] {
			tx.Add(&knftables.Rule{Chain: name, Rule: rule})
		}
	}
	r.writeMap(tx, "ingress", r.Ingress)
	r.writeMap(tx, "egress", r.Egress)
	tx.Add(&knftables.Set{Name: "self", Type: "ipv4_addr . ipv4_addr"})
	for _, address := range slices.Sorted(maps.Keys(r.Ingress)) {
		tx.Add(&knftables.Element{Set: "self", Key: []string{address, address}})
	}
	for _, name := range slices.Sorted(maps.Keys(hooks)) {
		tx.Add(&knftables.Chain{
			Name:     name,
			Type:     knftables.PtrTo(knftables.FilterType),
			Hook:     knftables.PtrTo(hooks[name]),
			Priority: knftables.PtrTo(knftables.FilterPriority + "-5"),
		})
		for _, rule := range []string{
			"ct state established,related accept",
			"ip saddr . ip daddr @self accept", // a pod that meets itself behind a service
			"ip saddr vmap @egress",
			"ip daddr vmap @ingress",
		} {
			tx.Add(&knftables.Rule{Chain: name, Rule: rule})
		}
	}
}

// Remove takes away the table, also where there is none.
func Remove(tx *knftables.Transaction) {
	tx.Add(&knftables.Table{})
	tx.Delete(&knftables.Table{})
}

func (r Rules) writeMap(tx *knftables.Transaction, name string, chains map[string]string) {
	tx.Add(&knftables.Map{Name: name, Type: "ipv4_addr : verdict"})
	for _, address := range slices.Sorted(maps.Keys(chains)) {
		tx.Add(&knftables.Element{Map: name, Key: []string{address}, Value: []string{"jump " + chains[address]}})
	}
}
