package netpol

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// selection answers which pods and policies belong together.
type selection struct {
	node       string
	pods       []*corev1.Pod // those with an address of their own
	namespaces map[string]labels.Set
	policies   map[string][]*networkingv1.NetworkPolicy // by namespace
}

func newSelection(c Cluster) *selection {
	s := &selection{
		node:       c.Node,
		namespaces: map[string]labels.Set{},
		policies:   map[string][]*networkingv1.NetworkPolicy{},
	}
	for _, pod := range c.Pods {
		if hasOwnAddress(pod) {
			s.pods = append(s.pods, pod)
		}
	}
	for _, namespace := range c.Namespaces {
		s.namespaces[namespace.Name] = namespace.Labels
	}
	for _, policy := range c.Policies {
		s.policies[policy.Namespace] = append(s.policies[policy.Namespace], policy)
	}
	for _, policies := range s.policies {
		slices.SortFunc(policies, func(a, b *networkingv1.NetworkPolicy) int { return strings.Compare(a.Name, b.Name) })
	}
	return s
}

// hasOwnAddress excludes pods of the node's own network, which policies do not mean, and those that have ended: their
// address may be another's by now.
func hasOwnAddress(pod *corev1.Pod) bool {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	return err == nil && address.Is4() && !pod.Spec.HostNetwork && !ended
}

func (s *selection) policiesOf(pod *corev1.Pod, kind networkingv1.PolicyType) []*networkingv1.NetworkPolicy {
	var out []*networkingv1.NetworkPolicy
	for _, policy := range s.policies[pod.Namespace] {
		if slices.Contains(policy.Spec.PolicyTypes, kind) && selects(&policy.Spec.PodSelector, pod.Labels) {
			out = append(out, policy)
		}
	}
	return out
}

// podsOf are the pods that a peer selects: of the policy's namespace, or of those that it selects too.
func (s *selection) podsOf(namespace string, peer networkingv1.NetworkPolicyPeer) []*corev1.Pod {
	var out []*corev1.Pod
	for _, pod := range s.pods {
		inside := pod.Namespace == namespace
		if peer.NamespaceSelector != nil {
			known, found := s.namespaces[pod.Namespace]
			inside = found && selects(peer.NamespaceSelector, known)
		}
		if inside && (peer.PodSelector == nil || selects(peer.PodSelector, pod.Labels)) {
			out = append(out, pod)
		}
	}
	return out
}

// selects: the API server lets no selector through that cannot be read.
func selects(selector *metav1.LabelSelector, of map[string]string) bool {
	parsed, err := metav1.LabelSelectorAsSelector(selector)
	return err == nil && parsed.Matches(labels.Set(of))
}
