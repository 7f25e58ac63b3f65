package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/k3s-io/kine/pkg/tls"
	"k8s.io/klog/v2"

	"tenantry.dev/lab/k3s/internal/bootstrap"
	"tenantry.dev/lab/k3s/internal/datastore"
	"tenantry.dev/lab/k3s/internal/token"
)

// startDatastore serves the etcd API on a socket, from SQLite unless datastore-endpoint names another database or an etcd.
func (s *Server) startDatastore(ctx context.Context) (err error) {
	database := s.opts.String("datastore-endpoint")
	if database == "" {
		if err := os.MkdirAll(s.path("db"), 0o700); err != nil { // as kine does for its own choice, and only for that
			return err
		}
		database = fmt.Sprintf("sqlite://%s?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate", s.path("db", "state.db"))
	}
	s.datastore, err = datastore.Serve(ctx, s.path("kine.sock"), database, tls.Config{
		CAFile:   s.opts.String("datastore-cafile"),
		CertFile: s.opts.String("datastore-certfile"),
		KeyFile:  s.opts.String("datastore-keyfile"),
	})
	return err
}

// shareCredentials prepares what all servers of a cluster must have the same of. Where several can have one datastore
// that is what the first of them has put into it.
func (s *Server) shareCredentials(ctx context.Context) (*credentials, error) {
	if !s.datastore.Shared {
		return s.prepareCredentials()
	}
	store, err := s.datastore.Open()
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
		return creds, nil
	}
	if !errors.Is(err, datastore.ErrExists) {
		return nil, err
	}
	if err := s.fetchBootstrap(ctx, store); err != nil { // another server was first
		return nil, err
	}
	return s.prepareCredentials()
}

// fetchBootstrap puts into place what is in the datastore, if there is anything.
func (s *Server) fetchBootstrap(ctx context.Context, store *datastore.Store) error {
	password, err := s.knownPassword()
	if err != nil || password == "" {
		return err
	}
	sealed, err := ours(ctx, store, password)
	if err != nil || sealed == nil {
		return err
	}
	files, err := bootstrap.Open(password, sealed)
	if err != nil {
		return err
	}
	klog.Info("Certificates and keys are those in the datastore")
	return files.Write(s.dir)
}

// ours is what is encrypted with the password, nil if nothing is there yet. It refuses a datastore that is another
// cluster's, in the words of k3s.
func ours(ctx context.Context, store *datastore.Store, password string) ([]byte, error) {
	found, err := store.Keys(ctx, bootstrap.Prefix)
	if err != nil {
		return nil, err
	}
	sealed := found[bootstrap.Key(password)]
	if sealed == nil && len(found) > 0 {
		return nil, errors.New("bootstrap data already found and encrypted with different token")
	}
	return sealed, nil
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
