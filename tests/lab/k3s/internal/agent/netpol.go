package agent

import (
	"context"
	"errors"
	"reflect"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/knftables"

	"tenantry.dev/lab/k3s/internal/netpol"
)

const netpolRetry = 2 * time.Second

// runNetworkPolicies keeps the packet filter as the cluster's policies want it for this node's pods. As with k3s's own
// controller, a pod is policed from when its address is known, and the rules stay when this process ends.
func (a *Agent) runNetworkPolicies(ctx context.Context) error {
	nft, err := knftables.New(netpol.Family, netpol.Table)
	if err != nil {
		return err
	}
	if a.cluster.DisableNetworkPolicy {
		tx := nft.NewTransaction()
		netpol.Remove(tx)
		return nft.Run(ctx, tx)
	}
	client, err := a.client("k3s-controller")
	if err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, 0)
	pods, namespaces := factory.Core().V1().Pods(), factory.Core().V1().Namespaces()
	policies := factory.Networking().V1().NetworkPolicies()
	changed := make(chan struct{}, 1)
	for _, informer := range []cache.SharedIndexInformer{pods.Informer(), namespaces.Informer(), policies.Informer()} {
		if _, err := informer.AddEventHandler(notifying(changed)); err != nil {
			return err
		}
	}
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())
	var applied netpol.Rules
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		case <-retry:
		}
		retry = nil
		known := netpol.Cluster{Node: a.node.Name}
		var errs [3]error
		known.Pods, errs[0] = pods.Lister().List(labels.Everything())
		known.Namespaces, errs[1] = namespaces.Lister().List(labels.Everything())
		known.Policies, errs[2] = policies.Lister().List(labels.Everything())
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
		rules := netpol.Make(known)
		if reflect.DeepEqual(rules, applied) {
			continue
		}
		tx := nft.NewTransaction()
		rules.Write(tx)
		if err := nft.Run(ctx, tx); err != nil {
			klog.ErrorS(err, "Applying network policies, will try again")
			retry = time.After(netpolRetry)
			continue
		}
		applied = rules
	}
}

// notifying fills a channel of one place with any event.
func notifying(changed chan<- struct{}) cache.ResourceEventHandlerFuncs {
	notify := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { notify() },
		UpdateFunc: func(any, any) { notify() },
		DeleteFunc: func(any) { notify() },
	}
}
