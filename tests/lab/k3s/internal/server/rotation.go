package server

import (
	"context"
	"os"
	"strings"

	"tenantry.dev/lab/k3s/internal/bootstrap"
)

// rotateCAs has the next start, of every server, use other CAs. k3s keeps them in the datastore until then, whichever
// that is; here, where no other server can have the datastore, it is a directory.
func (s *Server) rotateCAs(ctx context.Context, given map[string][]byte) error {
	files, err := bootstrap.Read(s.dir)
	if err != nil {
		return err
	}
	for name, raw := range given {
		if _, known := files[name]; known && strings.HasPrefix(name, "tls/") {
			files[name] = raw
		}
	}
	if !s.datastore.Shared {
		if err := os.RemoveAll(s.path("rotated.new")); err != nil {
			return err
		}
		if err := files.Write(s.path("rotated.new")); err != nil {
			return err
		}
		if err := os.RemoveAll(s.path("rotated")); err != nil {
			return err
		}
		return os.Rename(s.path("rotated.new"), s.path("rotated"))
	}
	store, err := s.datastore.Open()
	if err != nil {
		return err
	}
	defer store.Close()
	sealed, err := files.Seal(s.creds.password)
	if err != nil {
		return err
	}
	return store.Put(ctx, bootstrap.Key(s.creds.password), sealed)
}

// takeRotatedCAs puts those into place that rotateCAs left in a directory.
func (s *Server) takeRotatedCAs() error {
	files, err := bootstrap.Read(s.path("rotated"))
	if err != nil {
		return err
	}
	if err := files.Write(s.dir); err != nil {
		return err
	}
	return os.RemoveAll(s.path("rotated"))
}
