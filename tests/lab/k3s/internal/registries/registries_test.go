package registries

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, content string) (string, error) {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "registries.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, Write(file, filepath.Join(dir, "certs.d"))
}

func TestMirrors(t *testing.T) {
	dir, err := write(t, "mirrors: {docker.io: {endpoint: ['http://10.0.0.1:80']}, '*': {endpoint: ['https://m']}}")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"docker.io": `[host."http://10.0.0.1:80"]`, "_default": `[host."https://m"]`} {
		got, err := os.ReadFile(filepath.Join(dir, "certs.d", host, "hosts.toml"))
		if err != nil || !strings.Contains(string(got), want) {
			t.Errorf("%s: got %q, %v", host, got, err)
		}
	}
}

func TestRefusals(t *testing.T) {
	for content, want := range map[string]string{
		"configs: {a: {auth: {username: u}}}":        "mirrors.HOST.endpoint only",
		"mirrors: {docker.io: {endpoint: [mirror]}}": "not an http(s) URL",
	} {
		if _, err := write(t, content); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", content, err)
		}
	}
}
