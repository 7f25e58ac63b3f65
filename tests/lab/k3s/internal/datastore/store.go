package datastore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const dialTimeout = 5 * time.Second

// ErrExists is that of a key that another server made first.
var ErrExists = errors.New("key exists")

// Store reads and writes keys.
type Store struct{ etcd *clientv3.Client }

// Open connects; the caller closes.
func (d *Datastore) Open() (*Store, error) {
	security, err := d.Files.ClientConfig()
	if err != nil {
		return nil, err
	}
	etcd, err := clientv3.New(clientv3.Config{Endpoints: strings.Split(d.Endpoint, ","), DialTimeout: dialTimeout, TLS: security})
	return &Store{etcd}, err
}

// Close ends the connection.
func (s *Store) Close() error { return s.etcd.Close() }

// Keys are those with a prefix, with their values.
func (s *Store) Keys(ctx context.Context, prefix string) (map[string][]byte, error) {
	found, err := s.etcd.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	values := map[string][]byte{}
	for _, one := range found.Kvs {
		values[string(one.Key)] = one.Value
	}
	return values, nil
}

// Put replaces the value of a key, or makes it. It is written as kine understands it.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	found, err := s.etcd.Get(ctx, key)
	if err != nil {
		return err
	}
	if len(found.Kvs) == 0 {
		return s.Create(ctx, key, value)
	}
	same := clientv3.Compare(clientv3.ModRevision(key), "=", found.Kvs[0].ModRevision)
	done, err := s.etcd.Txn(ctx).If(same).Then(clientv3.OpPut(key, string(value))).Else(clientv3.OpGet(key)).Commit()
	if err == nil && !done.Succeeded {
		return fmt.Errorf("%s: changed by another at the same time", key)
	}
	return err
}

// Create fails with ErrExists if the key is there.
func (s *Store) Create(ctx context.Context, key string, value []byte) error {
	missing := clientv3.Compare(clientv3.ModRevision(key), "=", 0)
	done, err := s.etcd.Txn(ctx).If(missing).Then(clientv3.OpPut(key, string(value))).Commit()
	if err == nil && !done.Succeeded {
		return ErrExists
	}
	return err
}
