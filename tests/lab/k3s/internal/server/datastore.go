package server

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/k3s-io/kine/pkg/endpoint"
	"github.com/sirupsen/logrus"
)

// startDatastore serves the etcd API on a socket, from SQLite unless datastore-endpoint names another database.
// kine's own command line has these numbers as defaults; its library refuses zero values.
func (s *Server) startDatastore(ctx context.Context) error {
	database := s.opts.String("datastore-endpoint")
	if database == "" {
		if err := os.MkdirAll(s.path("db"), 0o700); err != nil { // as kine does for its own choice, and only for that
			return err
		}
		database = fmt.Sprintf("sqlite://%s?_journal=WAL&cache=shared&_busy_timeout=30000&_txlock=immediate", s.path("db", "state.db"))
	}
	logrus.SetLevel(logrus.WarnLevel)
	_, err := endpoint.Listen(ctx, endpoint.Config{
		Listener:            s.datastoreURL(),
		Endpoint:            database,
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

func (s *Server) datastoreURL() string { return "unix://" + s.path("kine.sock") }
