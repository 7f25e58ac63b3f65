// Package node is the machine itself: its name and address in the cluster, and what its kernel must offer.
package node

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	utilnet "k8s.io/apimachinery/pkg/util/net"

	"tenantry.dev/lab/k3s/internal/options"
)

// identityDir outlives the data directory, so that a machine stays the same node.
const identityDir = "/etc/rancher/node"

// Name returns the node's name and address.
func Name(opts *options.Options) (name, ip string, err error) {
	if name = opts.String("node-name"); name == "" {
		if name, err = os.Hostname(); err != nil {
			return "", "", err
		}
	}
	if opts.Bool("with-node-id") {
		id, err := remembered("id", 4)
		if err != nil {
			return "", "", err
		}
		name += "-" + id
	}
	if ip = opts.String("node-ip"); ip == "" {
		address, err := utilnet.ChooseHostInterface()
		if err != nil {
			return "", "", fmt.Errorf("node-ip: none given, and %w", err)
		}
		ip = address.String()
	}
	return strings.ToLower(name), ip, nil
}

// Password is what keeps another machine from registering under this node's name.
func Password() (string, error) { return remembered("password", 16) }

func remembered(name string, size int) (string, error) {
	file := filepath.Join(identityDir, name)
	raw, err := os.ReadFile(file)
	if err == nil {
		return strings.TrimSpace(string(raw)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(identityDir, 0o755); err != nil {
		return "", err
	}
	b := make([]byte, size)
	_, _ = rand.Read(b)
	value := hex.EncodeToString(b)
	return value, os.WriteFile(file, []byte(value+"\n"), 0o600)
}
