package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/k3s-io/kine/pkg/client"
	"github.com/k3s-io/kine/pkg/endpoint"
	"github.com/k3s-io/kine/pkg/tls"
	"github.com/sirupsen/logrus"
	"k8s.io/klog/v2"

	"tenantry.dev/lab/k3s/internal/bootstrap"
	"tenantry.dev/lab/k3s/internal/token"
)

// startDatastore serves the etcd API on a socket, from SQLite unless datastore-endpoint names another database.
// kine's own command line has these numbers as defaults; its library refuses zero values.
func (s *Server) startDatastore(ctx context.Context) (err error) {
	database := s.opts.String("datastore-endpoint")
	if database == "" {
		if err := os.MkdirAll(s.path("db"), 0o700); err != nil { // as kine does for its own choice, and only for that
			return err
		}
		database = fmt.Sprintf("sqlite://%s?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate", s.path("db", "state.db"))
	}
	logrus.SetLevel(logrus.WarnLevel)
	s.datastore, err = endpoint.Listen(ctx, endpoint.Config{
		Listener: "unix://" + s.path("kine.sock"),
		Endpoint: database,
		BackendTLSConfig: tls.Config{
			CAFile:   s.opts.String("datastore-cafile"),
			CertFile: s.opts.String("datastore-certfile"),
			KeyFile:  s.opts.String("datastore-keyfile"),
		},
		NotifyInterval:      5 * time.Second,
		EmulatedETCDVersion: "3.5.13",
		CompactInterval:     5 * time.Minute,
		CompactTimeout:      5 * time.Second,
		CompactMinRetain:    1000,
		CompactBatchSize:    1000,
		PollBatchSize:       500,
	})
	return err
}

// shareCredentials prepares what all servers of a cluster must have the same of. Where several can have one datastore
// that is what the first of them has put into it.
func (s *Server) shareCredentials(ctx context.Context) (*credentials, error) {
	if !s.datastore.LeaderElect {
		return s.prepareCredentials()
	}
	store, err := client.New(s.datastore)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	if err := s.fetchBootstrap(ctx, store); err != nil {
		return nil, err
	}
	creds, err := s.prepareCredentials()
	if err != nil {
		return nil, err
	}
	files, err := bootstrap.Read(s.dir)
	if err != nil {
		return nil, err
	}
	sealed, err := files.Seal(creds.password)
	if err != nil {
		return nil, err
	}
	err = store.Create(ctx, bootstrap.Key(creds.password), sealed)
	if err == nil {
		return creds, s.onlyOurs(ctx, store, creds.password)
	}
	if !strings.Contains(err.Error(), "key exists") {
		return nil, err
	}
	if err := s.fetchBootstrap(ctx, store); err != nil { // another server was first
		return nil, err
	}
	return s.prepareCredentials()
}

// fetchBootstrap puts into place what is in the datastore, if there is anything.
func (s *Server) fetchBootstrap(ctx context.Context, store client.Client) error {
	password, err := s.knownPassword()
	if err != nil || password == "" {
		return err
	}
	if err := s.onlyOurs(ctx, store, password); err != nil {
		return err
	}
	value, err := store.Get(ctx, bootstrap.Key(password))
	if errors.Is(err, client.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	files, err := bootstrap.Open(password, value.Data)
	if err != nil {
		return err
	}
	klog.Info("Certificates and keys are those in the datastore")
	return files.Write(s.dir)
}

// onlyOurs refuses a datastore that is another cluster's, in the words of k3s.
func (s *Server) onlyOurs(ctx context.Context, store client.Client, password string) error {
	found, err := store.List(ctx, bootstrap.Prefix, 0)
	if err != nil {
		return err
	}
	for _, one := range found {
		if string(one.Key) == bootstrap.Key(password) {
			return nil
		}
	}
	if len(found) > 0 {
		return errors.New("bootstrap data already found and encrypted with different token")
	}
	return nil
}

// knownPassword is that of the token given or kept; empty at the first start of a server that was given none.
func (s *Server) knownPassword() (string, error) {
	text := s.opts.String("token")
	if text == "" {
		raw, err := os.ReadFile(s.path("token"))
		if err != nil {
			return "", ignoreMissing(err)
		}
		text = strings.TrimSpace(string(raw))
	}
	parsed, err := token.Parse(text)
	return parsed.Password, err
}

func ignoreMissing(err error) error {
	if os.IsNotExist(err) {
		return nil
	}
	return err
}
