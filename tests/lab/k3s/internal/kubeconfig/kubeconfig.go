// Package kubeconfig writes kubeconfig files in the shape k3s gives them.
package kubeconfig

import (
	"encoding/base64"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

const template = `apiVersion: v1
kind: Config
clusters:
- name: default
  cluster:
    server: %s
    certificate-authority-data: %s
contexts:
- name: default
  context:
    cluster: default
    user: default
current-context: default
users:
- name: default
  user:
    client-certificate-data: %s
    client-key-data: %s
`

// Write makes a kubeconfig from dir/server-ca.crt and the certificate and key called cert in the same
// directory. The file never has more than mode, not even for a moment.
func Write(file string, mode fs.FileMode, url, dir, cert string) error {
	var encoded [3]string
	for i, name := range []string{"server-ca.crt", cert + ".crt", cert + ".key"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		encoded[i] = base64.StdEncoding.EncodeToString(raw)
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file))
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = fmt.Fprintf(tmp, template, url, encoded[0], encoded[1], encoded[2])
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	if err := os.Chmod(tmp.Name(), mode); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
