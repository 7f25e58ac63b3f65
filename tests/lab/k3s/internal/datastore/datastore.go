// Package datastore is where the API server has its objects: an etcd elsewhere, or a SQL database from which kine serves the etcd
// API on a socket. Its package endpoint would do the latter too, and bring every database that kine knows.
package datastore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/k3s-io/kine/pkg/drivers"
	_ "github.com/k3s-io/kine/pkg/drivers/mysql"
	_ "github.com/k3s-io/kine/pkg/drivers/pgsql"
	_ "github.com/k3s-io/kine/pkg/drivers/sqlite"
	"github.com/k3s-io/kine/pkg/server"
	"github.com/k3s-io/kine/pkg/tls"
	"github.com/sirupsen/logrus"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"k8s.io/klog/v2"
)

const (
	notifyInterval      = 5 * time.Second
	emulatedEtcdVersion = "3.6.11"
	// Of an etcd server: how often its clients may ask whether it lives, and what they may send at once.
	keepaliveMinimum = 5 * time.Second
	maxRequestBytes  = 2 * 1024 * 1024
	stopLimit        = 2 * time.Second
)

// Datastore is where its etcd API answers, and whether several servers may have it. Files are for TLS to an etcd.
type Datastore struct {
	Endpoint string
	Shared   bool
	Files    tls.Config
}

// Serve starts with ctx and ends with it, unless there is an etcd elsewhere. database is what k3s's option datastore-endpoint
// takes, files are for TLS to it.
func Serve(ctx context.Context, socket, database string, files tls.Config) (*Datastore, error) {
	if strings.HasPrefix(database, "http://") || strings.HasPrefix(database, "https://") {
		return &Datastore{Endpoint: database, Shared: true, Files: files}, nil
	}
	logrus.SetLevel(logrus.WarnLevel) // kine's log
	// kine's own command line has these numbers as defaults; its library refuses zero values. It ends after what asks it.
	backendContext, end := context.WithCancel(context.WithoutCancel(ctx))
	shared, backend, err := drivers.New(backendContext, &sync.WaitGroup{}, &drivers.Config{
		Endpoint:         database,
		BackendTLSConfig: files,
		CompactInterval:  5 * time.Minute,
		CompactTimeout:   5 * time.Second,
		CompactMinRetain: 1000,
		CompactBatchSize: 1000,
		PollBatchSize:    500,
		PollInterval:     time.Second,
	})
	if err == nil {
		err = backend.Start(backendContext)
	}
	if err != nil {
		end()
		return nil, err
	}
	listener, err := listen(socket)
	if err != nil {
		end()
		return nil, err
	}
	api := grpc.NewServer(
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: keepaliveMinimum}),
		grpc.MaxConcurrentStreams(math.MaxUint32),
		grpc.MaxRecvMsgSize(maxRequestBytes),
		grpc.MaxSendMsgSize(math.MaxInt32),
	)
	server.New(backend, "unix", notifyInterval, emulatedEtcdVersion).Register(api)
	go func() {
		if err := api.Serve(listener); err != nil {
			klog.ErrorS(err, "The datastore's API ended")
		}
	}()
	go func() {
		<-ctx.Done()
		timer := time.AfterFunc(stopLimit, api.Stop)
		defer timer.Stop()
		api.GracefulStop()
		end()
	}()
	return &Datastore{Endpoint: "unix://" + socket, Shared: shared}, nil
}

// listen replaces the socket of a server that did not end by itself.
func listen(socket string) (net.Listener, error) {
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("the socket of a server before: %w", err)
	}
	listener, err := net.Listen("unix", socket)
	if err != nil {
		return nil, err
	}
	return listener, os.Chmod(socket, 0o600)
}
