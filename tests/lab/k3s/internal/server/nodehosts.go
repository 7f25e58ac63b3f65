package server

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/klog/v2"
)

// publishHosts keeps the nodes' names and addresses in the key NodeHosts of CoreDNS's ConfigMap. As in k3s the key is
// missing until the first node is there, and CoreDNS's pod, which mounts it, cannot start before.
func (s *Server) publishHosts(ctx context.Context, nodes listers.NodeLister, changed <-chan struct{}) {
	published := ""
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-retry:
		}
		retry = nil
		known, err := nodes.List(labels.Everything())
		if err != nil {
			continue
		}
		hosts := nodeHosts(known)
		if hosts == published {
			continue
		}
		if err := s.writeHosts(ctx, hosts); err != nil {
			klog.V(2).ErrorS(err, "Publishing the nodes' names, will try again")
			retry = time.After(manifestPoll) // the ConfigMap comes with the manifest
			continue
		}
		published = hosts
	}
}

func (s *Server) writeHosts(ctx context.Context, hosts string) error {
	patch, err := json.Marshal(map[string]any{"data": map[string]string{"NodeHosts": hosts}})
	if err != nil {
		return err
	}
	_, err = s.client.CoreV1().ConfigMaps(metav1.NamespaceSystem).Patch(ctx, "coredns", types.MergePatchType, patch,
		metav1.PatchOptions{FieldManager: "k3s"})
	return err
}

// nodeHosts has one line for each internal address: address, node name, and the host name where it is another.
func nodeHosts(nodes []*corev1.Node) string {
	var lines []string
	for _, node := range nodes {
		names := node.Name
		for _, a := range node.Status.Addresses {
			if a.Type == corev1.NodeHostName && a.Address != node.Name {
				names += " " + a.Address
			}
		}
		for _, a := range node.Status.Addresses {
			if a.Type == corev1.NodeInternalIP {
				lines = append(lines, a.Address+" "+names+"\n")
			}
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "")
}
