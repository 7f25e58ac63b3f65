// Package netpol turns NetworkPolicies into packet filter rules for the pods of one node.
package netpol

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Cluster is what policies speak of.
type Cluster struct {
	Node       string // whose pods are policed
	Pods       []*corev1.Pod
	Namespaces []*corev1.Namespace
	Policies   []*networkingv1.NetworkPolicy
}

// Rules are chains, and which pods' packets go through which of them. A pod that no policy selects is in neither map.
type Rules struct {
	Chains          map[string][]string
	Ingress, Egress map[string]string // address of a pod: name of a chain
}

const (
	allow = "return"
	// As the network policy controller of k3s refuses: a client need not wait to learn it.
	refuse = "reject with icmp type port-unreachable"
)

// direction is from where the other side of a connection is seen.
type direction struct {
	kind      networkingv1.PolicyType
	peer, own string // where a packet has the addresses of the other side and of the pod itself
}

var (
	ingress = direction{networkingv1.PolicyTypeIngress, "ip saddr", "ip daddr"}
	egress  = direction{networkingv1.PolicyTypeEgress, "ip daddr", "ip saddr"}
)

// rule is one rule of a policy, in either direction.
type rule struct {
	peers []networkingv1.NetworkPolicyPeer
	ports []networkingv1.NetworkPolicyPort
}

// Make works out the rules for the node's pods. Pods that the same policies select share a chain.
func Make(c Cluster) Rules {
	s := newSelection(c)
	rules := Rules{Chains: map[string][]string{}}
	rules.Ingress = s.police(ingress, rules.Chains)
	rules.Egress = s.police(egress, rules.Chains)
	return rules
}

func (s *selection) police(d direction, chains map[string][]string) map[string]string {
	groups := map[string][]*corev1.Pod{}
	policies := map[string][]*networkingv1.NetworkPolicy{}
	for _, pod := range s.pods {
		if pod.Spec.NodeName != s.node {
			continue
		}
		if found := s.policiesOf(pod, d.kind); len(found) > 0 {
			name := chainName(d, found)
			groups[name] = append(groups[name], pod)
			policies[name] = found
		}
	}
	through := map[string]string{}
	for name, pods := range groups {
		chains[name] = s.chain(d, pods, policies[name])
		for _, pod := range pods {
			through[pod.Status.PodIP] = name
		}
	}
	return through
}

// chain lets pass what any of the policies allows.
func (s *selection) chain(d direction, pods []*corev1.Pod, policies []*networkingv1.NetworkPolicy) []string {
	var out []string
	for _, policy := range policies {
		for _, r := range rulesOf(policy, d) {
			for _, match := range s.matches(d, pods, policy.Namespace, r) {
				line := strings.TrimSpace(match + " " + allow)
				if !slices.Contains(out, line) {
					out = append(out, line)
				}
			}
		}
	}
	return append(out, refuse)
}

func rulesOf(policy *networkingv1.NetworkPolicy, d direction) []rule {
	var out []rule
	if d == ingress {
		for _, r := range policy.Spec.Ingress {
			out = append(out, rule{r.From, r.Ports})
		}
		return out
	}
	for _, r := range policy.Spec.Egress {
		out = append(out, rule{r.To, r.Ports})
	}
	return out
}

// matches has one match for each combination of peer and port of a rule.
func (s *selection) matches(d direction, own []*corev1.Pod, namespace string, r rule) []string {
	var out []string
	for _, peer := range s.peers(d, namespace, r.peers) {
		if len(r.ports) == 0 {
			out = append(out, peer.match)
		}
		for _, port := range r.ports {
			out = append(out, portMatches(d, own, peer, port)...)
		}
	}
	return out
}

// peer is the other side: what packets of it look like, and the pods in it, by whose ports a name may be meant.
type peer struct {
	match string
	pods  []*corev1.Pod
}

func (s *selection) peers(d direction, namespace string, given []networkingv1.NetworkPolicyPeer) []peer {
	if len(given) == 0 {
		return []peer{{"", s.pods}}
	}
	var out []peer
	var selected []*corev1.Pod
	for _, one := range given {
		if one.IPBlock != nil {
			if match := blockMatch(d.peer, one.IPBlock); match != "" {
				out = append(out, peer{match: match})
			}
			continue
		}
		selected = append(selected, s.podsOf(namespace, one)...)
	}
	if len(selected) > 0 {
		out = append(out, peer{oneOf(d.peer, selected), selected})
	}
	return out
}

// blockMatch is empty for a network of IPv6, which the lab's pods do not have.
func blockMatch(field string, block *networkingv1.IPBlock) string {
	network, err := netip.ParsePrefix(block.CIDR)
	if err != nil || !network.Addr().Is4() {
		return ""
	}
	match := []string{field, network.Masked().String()}
	for _, text := range block.Except {
		if except, err := netip.ParsePrefix(text); err == nil && except.Addr().Is4() {
			match = append(match, field, "!=", except.Masked().String())
		}
	}
	return strings.Join(match, " ")
}

// portMatches has a match for each number that a port's name stands for, together with the pods for which it does.
func portMatches(d direction, own []*corev1.Pod, p peer, port networkingv1.NetworkPolicyPort) []string {
	protocol := corev1.ProtocolTCP
	if port.Protocol != nil {
		protocol = *port.Protocol
	}
	transport := strings.ToLower(string(protocol))
	if port.Port == nil {
		return []string{join(p.match, "meta l4proto", transport)}
	}
	if port.Port.Type == intstr.Int {
		numbers := port.Port.String()
		if port.EndPort != nil {
			numbers = fmt.Sprintf("%s-%d", numbers, *port.EndPort)
		}
		return []string{join(p.match, transport, "dport", numbers)}
	}
	listening := own
	field, other := d.own, p.match
	if d == egress {
		listening, field, other = p.pods, d.peer, ""
	}
	byNumber := map[int32][]*corev1.Pod{}
	for _, pod := range listening {
		if number := portNamed(pod, port.Port.StrVal, protocol); number != 0 {
			byNumber[number] = append(byNumber[number], pod)
		}
	}
	var out []string
	for _, number := range slices.Sorted(maps.Keys(byNumber)) {
		out = append(out, join(other, oneOf(field, byNumber[number]), transport, "dport", fmt.Sprint(number)))
	}
	return out
}

func portNamed(pod *corev1.Pod, name string, protocol corev1.Protocol) int32 {
	for _, container := range pod.Spec.Containers {
		for _, port := range container.Ports {
			if port.Name == name && (port.Protocol == protocol || port.Protocol == "" && protocol == corev1.ProtocolTCP) {
				return port.ContainerPort
			}
		}
	}
	return 0
}

func oneOf(field string, pods []*corev1.Pod) string {
	var addresses []string
	for _, pod := range pods {
		addresses = append(addresses, pod.Status.PodIP)
	}
	slices.Sort(addresses)
	return fmt.Sprintf("%s { %s }", field, strings.Join(slices.Compact(addresses), ", "))
}

func join(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(word string) bool { return word == "" }), " ")
}

// chainName is the same for the same policies, however often the rules are made.
func chainName(d direction, policies []*networkingv1.NetworkPolicy) string {
	sum := sha256.New()
	for _, policy := range policies {
		fmt.Fprintf(sum, "%s/%s\n", policy.Namespace, policy.Name)
	}
	return strings.ToLower(string(d.kind)) + "-" + hex.EncodeToString(sum.Sum(nil))[:12]
}
