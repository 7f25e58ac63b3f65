package netpol

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/knftables"
	"sigs.k8s.io/yaml"
)

const node = "here"

func pod(namespace, name, ip, app string) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{"app": app}},
		Spec:       corev1.PodSpec{NodeName: node},
		Status:     corev1.PodStatus{PodIP: ip, Phase: corev1.PodRunning},
	}
}

func listening(p *corev1.Pod, name string, port int32) *corev1.Pod {
	p.Spec.Containers = []corev1.Container{{Ports: []corev1.ContainerPort{{Name: name, ContainerPort: port}}}}
	return p
}

func policy(t *testing.T, spec string) *networkingv1.NetworkPolicy {
	t.Helper()
	p := &networkingv1.NetworkPolicy{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"}}
	if err := yaml.UnmarshalStrict([]byte(spec), &p.Spec); err != nil {
		t.Fatal(err)
	}
	return p
}

// cluster has two pods in namespace a, of which one is on this node, and one in b.
func cluster(policies ...*networkingv1.NetworkPolicy) Cluster {
	away := listening(pod("a", "db", "10.0.1.2", "db"), "sql", 5432)
	away.Spec.NodeName = "there"
	var namespaces []*corev1.Namespace
	for _, name := range []string{"a", "b"} {
		namespaces = append(namespaces, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
			Name: name, Labels: map[string]string{corev1.LabelMetadataName: name},
		}})
	}
	return Cluster{
		Node:       node,
		Namespaces: namespaces,
		Policies:   policies,
		Pods: []*corev1.Pod{
			listening(pod("a", "web", "10.0.0.1", "web"), "http", 8080), away, pod("b", "other", "10.0.0.3", "web"),
		},
	}
}

func TestMake(t *testing.T) {
	const all = "podSelector: {}\n"
	for name, test := range map[string]struct {
		spec            string
		ingress, egress []string // of pod web; nil: not policed, empty: nothing allowed
	}{
		"nothing allowed": {
			spec:    all + "policyTypes: [Ingress, Egress]",
			ingress: []string{}, egress: []string{},
		},
		"one direction": {spec: all + "policyTypes: [Egress]", egress: []string{}},
		"other pods":    {spec: "podSelector: {matchLabels: {app: db}}\npolicyTypes: [Ingress]"},
		"everything":    {spec: all + "policyTypes: [Ingress]\ningress: [{}]", ingress: []string{"return"}},
		"own namespace": {
			spec:    all + "policyTypes: [Ingress]\ningress: [{from: [{podSelector: {}}]}]",
			ingress: []string{"ip saddr { 10.0.0.1, 10.0.1.2 } return"},
		},
		"other namespace": {
			spec: all + "policyTypes: [Egress]\negress: [{to: [" +
				"{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: b}}}]}]",
			egress: []string{"ip daddr { 10.0.0.3 } return"},
		},
		"both selectors of a peer must match": {
			spec: all + "policyTypes: [Ingress]\ningress: [{from: [" +
				"{namespaceSelector: {}, podSelector: {matchLabels: {app: db}}}]}]",
			ingress: []string{"ip saddr { 10.0.1.2 } return"},
		},
		"peers that select nobody allow nobody": {
			spec:    all + "policyTypes: [Ingress]\ningress: [{from: [{podSelector: {matchLabels: {app: none}}}]}]",
			ingress: []string{},
		},
		"network with exceptions": {
			spec: all + "policyTypes: [Egress]\negress: [{to: [" +
				"{ipBlock: {cidr: 0.0.0.0/0, except: [10.0.0.0/8, 169.254.0.0/16]}}, {ipBlock: {cidr: '::/0'}}]}]",
			egress: []string{"ip daddr 0.0.0.0/0 ip daddr != 10.0.0.0/8 ip daddr != 169.254.0.0/16 return"},
		},
		"ports": {
			spec: all + "policyTypes: [Ingress]\ningress: [{ports: [{port: 80}, {port: 53, protocol: UDP}, " +
				"{port: 8000, endPort: 8100}, {protocol: SCTP}]}]",
			ingress: []string{
				"tcp dport 80 return", "udp dport 53 return", "tcp dport 8000-8100 return", "meta l4proto sctp return",
			},
		},
		"peers and ports": {
			spec: all + "policyTypes: [Ingress]\ningress: [{from: [{podSelector: {matchLabels: {app: db}}}, " +
				"{ipBlock: {cidr: 192.0.2.0/24}}], ports: [{port: 80}]}]",
			ingress: []string{"ip saddr 192.0.2.0/24 tcp dport 80 return", "ip saddr { 10.0.1.2 } tcp dport 80 return"},
		},
		"own port by name": {
			spec:    all + "policyTypes: [Ingress]\ningress: [{ports: [{port: http}]}]",
			ingress: []string{"ip daddr { 10.0.0.1 } tcp dport 8080 return"},
		},
		"others' port by name": {
			spec:   all + "policyTypes: [Egress]\negress: [{to: [{podSelector: {}}], ports: [{port: sql}]}]",
			egress: []string{"ip daddr { 10.0.1.2 } tcp dport 5432 return"},
		},
		"name of another protocol": {
			spec:    all + "policyTypes: [Ingress]\ningress: [{ports: [{port: http, protocol: UDP}]}]",
			ingress: []string{},
		},
	} {
		t.Run(name, func(t *testing.T) {
			rules := Make(cluster(policy(t, test.spec)))
			check(t, rules, rules.Ingress, test.ingress)
			check(t, rules, rules.Egress, test.egress)
		})
	}
}

// check compares the chain of pod web with what it must allow before it refuses the rest.
func check(t *testing.T, rules Rules, through map[string]string, allowed []string) {
	t.Helper()
	name, policed := through["10.0.0.1"]
	if policed != (allowed != nil) {
		t.Fatalf("policed: %v, chain %q", policed, name)
	}
	if !policed {
		return
	}
	if want := append(slices.Clone(allowed), refuse); !slices.Equal(rules.Chains[name], want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(rules.Chains[name], "\n\t"), strings.Join(want, "\n\t"))
	}
}

func TestPoliciesAddUp(t *testing.T) {
	first := policy(t, "podSelector: {}\npolicyTypes: [Ingress]\ningress: [{ports: [{port: 80}]}]")
	second := policy(t, "podSelector: {}\npolicyTypes: [Ingress]\ningress: [{ports: [{port: 81}]}]")
	second.Name = "q"
	rules := Make(cluster(first, second))
	check(t, rules, rules.Ingress, []string{"tcp dport 80 return", "tcp dport 81 return"})
	if !reflect.DeepEqual(rules, Make(cluster(second, first))) {
		t.Error("the order in which policies are listed makes a difference")
	}
}

func TestPodsThatAreNotPoliced(t *testing.T) {
	c := cluster(policy(t, "podSelector: {}\npolicyTypes: [Ingress]\ningress: [{from: [{podSelector: {}}]}]"))
	ended, hosts := pod("a", "ended", "10.0.0.7", "x"), pod("a", "hosts", "192.0.2.1", "x")
	ended.Status.Phase, hosts.Spec.HostNetwork = corev1.PodSucceeded, true
	c.Pods = append(c.Pods, ended, hosts, pod("a", "new", "", "x"))
	rules := Make(c)
	if len(rules.Ingress) != 1 {
		t.Errorf("policed: %v", rules.Ingress)
	}
	check(t, rules, rules.Ingress, []string{"ip saddr { 10.0.0.1, 10.0.1.2 } return"})
}

// TestWrite puts the rules into knftables' own imitation of nft, which refuses what does not refer to one another.
func TestWrite(t *testing.T) {
	fake := knftables.NewFake(Family, Table)
	spec := "podSelector: {}\npolicyTypes: [Ingress, Egress]\ningress: [{ports: [{port: 80}]}]"
	for range 2 { // also over what is there
		tx := fake.NewTransaction()
		Make(cluster(policy(t, spec))).Write(tx)
		if err := fake.Run(context.Background(), tx); err != nil {
			t.Fatal(err)
		}
	}
	dump := fake.Dump()
	for _, want := range []string{
		"ip saddr vmap @egress", "ip daddr vmap @ingress", "tcp dport 80 return", "{ 10.0.0.1 : jump ingress-",
		"{ 10.0.0.1 : jump egress-", "hook forward priority -5", "hook input priority -5",
	} {
		if !strings.Contains(dump, want) {
			t.Errorf("%q is not in\n%s", want, dump)
		}
	}
	tx := fake.NewTransaction()
	Remove(tx)
	if err := fake.Run(context.Background(), tx); err != nil || fake.Table != nil {
		t.Errorf("not removed: %v", err)
	}
}
