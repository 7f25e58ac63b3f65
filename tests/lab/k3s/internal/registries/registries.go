// Package registries turns k3s's registries.yaml into the configuration that containerd reads.
package registries

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// config is the part of k3s's registries.yaml that the lab takes; anything else in the file is an error.
type config struct {
	Mirrors map[string]struct {
		Endpoints []string `json:"endpoint"`
	} `json:"mirrors"`
}

// Write makes certsDir anew, with one hosts.toml for each mirror of the file. A missing file means no mirrors.
func Write(file, certsDir string) error {
	if err := os.RemoveAll(certsDir); err != nil {
		return err
	}
	raw, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var c config
	if err := yaml.UnmarshalStrict(raw, &c); err != nil {
		return fmt.Errorf("%s: the lab's k3s knows mirrors.HOST.endpoint only: %w", file, err)
	}
	for host, mirror := range c.Mirrors {
		content, err := hostsToml(mirror.Endpoints)
		if err != nil {
			return fmt.Errorf("%s: mirrors.%s: %w", file, host, err)
		}
		if host == "*" {
			host = "_default"
		}
		dir := filepath.Join(certsDir, host)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func hostsToml(endpoints []string) (string, error) {
	var b strings.Builder
	for _, endpoint := range endpoints {
		u, err := url.Parse(endpoint)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
			return "", fmt.Errorf("endpoint: %q is not an http(s) URL", endpoint)
		}
		fmt.Fprintf(&b, "[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", endpoint)
	}
	return b.String(), nil
}
