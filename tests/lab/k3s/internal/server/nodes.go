package server

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"

	"tenantry.dev/lab/k3s/internal/join"
)

func (s *Server) joinServer() *join.Server {
	return &join.Server{
		ServerCA:  s.creds.serverCA,
		ClientCA:  s.creds.clientCA,
		Passwords: map[string]string{"server": s.creds.password, "node": s.creds.agentPassword},
		Config:    s.clusterConfig(),
		CheckNode: s.checkNode,
		Connect:   s.tunnels.Accept,
		Rotate:    s.rotateCAs,
	}
}

func nodePasswordSecret(node string) string { return node + ".node-password.k3s" }

// checkNode binds a node's name to the first machine that registered it, until the Node is deleted.
func (s *Server) checkNode(ctx context.Context, node join.Node) error {
	secrets := s.client.CoreV1().Secrets(metav1.NamespaceSystem)
	sum := sha256.Sum256([]byte(node.Password))
	hash := []byte(hex.EncodeToString(sum[:]))
	_, err := secrets.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: nodePasswordSecret(node.Name)},
		Data:       map[string][]byte{"hash": hash},
	}, metav1.CreateOptions{})
	if !apierrors.IsAlreadyExists(err) {
		return err
	}
	known, err := secrets.Get(ctx, nodePasswordSecret(node.Name), metav1.GetOptions{})
	if err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(known.Data["hash"], hash) != 1 {
		return &join.RefusedError{Reason: "node password rejected: another machine registered as " + node.Name +
			"; delete that Node, or use node-name or with-node-id"}
	}
	return nil
}

// followNodes does what k3s does when a node comes, changes or goes.
func (s *Server) followNodes(ctx context.Context) {
	factory := informers.NewSharedInformerFactory(s.client, 0)
	nodes := factory.Core().V1().Nodes()
	changed := make(chan struct{}, 1)
	signal := func() {
		select {
		case changed <- struct{}{}:
		default: // one signal is enough for any number of changes
		}
	}
	_, err := nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { signal() },
		UpdateFunc: func(any, any) { signal() },
		DeleteFunc: func(obj any) {
			signal()
			s.forgetNode(ctx, obj)
		},
	})
	if err != nil {
		klog.ErrorS(err, "Watching nodes")
		return
	}
	if !s.opts.Disabled("coredns") {
		go s.publishHosts(ctx, nodes.Lister(), changed)
	}
	factory.Start(ctx.Done())
}

func (s *Server) forgetNode(ctx context.Context, obj any) {
	key, err := cache.DeletionHandlingMetaNamespaceKeyFunc(obj)
	if err == nil {
		err = s.client.CoreV1().Secrets(metav1.NamespaceSystem).Delete(ctx, nodePasswordSecret(key), metav1.DeleteOptions{})
	}
	if err != nil && !apierrors.IsNotFound(err) {
		klog.ErrorS(err, "Forgetting the password of a deleted node", "node", key)
	}
}
