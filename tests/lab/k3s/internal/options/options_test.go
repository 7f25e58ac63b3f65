package options

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func noEnv(string) string { return "" }

func writeConfig(t *testing.T, content string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config.yaml")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestRefusals(t *testing.T) {
	const notImplemented = "is a real k3s option that the lab's k3s does not implement"
	agent := []string{"--server=https://h:6443", "--token=t"}
	for name, c := range map[string]struct {
		command string
		args    []string
		config  string
		want    string
	}{
		"unknown flag":            {"server", []string{"--tls-sans=a"}, "", "--tls-sans is not an option of k3s server"},
		"unknown key":             {"server", nil, "tls-sans: [a]", "tls-sans is not an option of k3s server"},
		"flag not implemented":    {"server", []string{"--cluster-init"}, "", notImplemented},
		"scheduler for agent":     {"agent", append(agent, "--disable-scheduler"), "", "is not an option of k3s agent"},
		"key not implemented":     {"server", nil, "etcd-s3: true", notImplemented},
		"server's flag for agent": {"agent", append(agent, "--tls-san=a"), "", "is not an option of k3s agent"},
		"argument":                {"server", []string{"now"}, "", "takes options only"},
		"not a boolean":           {"server", nil, "disable-agent: perhaps", "not true or false"},
		"not a number":            {"server", nil, "https-listen-port: https", "not a number"},
		"map for a value":         {"server", nil, "token: {a: b}", "a value or a list of values"},
		"key twice":               {"server", nil, "token: a\ntoken: b", "already set"},
		"component":               {"server", nil, "disable: [core-dns]", `"core-dns" is not one of`},
		"flannel backend":         {"server", []string{"--flannel-backend=ipsec"}, "", "vxlan"},
		"file mode":               {"server", []string{"--write-kubeconfig-mode=rw"}, "", "octal"},
		"agent without a server":  {"agent", []string{"--token=t"}, "", "server: an agent needs"},
		"agent without a token":   {"agent", []string{"--server=https://h"}, "", "token: an agent needs"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(c.command, append(c.args, "--config", writeConfig(t, c.config)), noEnv)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %v", err)
			}
		})
	}
}

func TestPrecedence(t *testing.T) {
	file := writeConfig(t, "token: file\ndata-dir: /file\nnode-label: [a=1, b=2]\ntls-san: [x]\n")
	env := func(name string) string {
		return map[string]string{"K3S_TOKEN": "env", "K3S_NODE_NAME": "env", "K3S_DATA_DIR": "/env"}[name]
	}
	o, err := Parse("server", []string{"-c", file, "--data-dir", "/flag", "--node-label=c=3", "--node-label", "d=4"}, env)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"data-dir": "/flag", "token": "file", "node-name": "env", "cluster-cidr": "10.42.0.0/16",
	} {
		if got := o.String(name); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := o.List("node-label"); !slices.Equal(got, []string{"c=3", "d=4"}) {
		t.Errorf("the command line replaces the file's list, got %q", got)
	}
	if got := o.List("tls-san"); !slices.Equal(got, []string{"x"}) {
		t.Errorf("tls-san: got %q", got)
	}
}

func TestDropIns(t *testing.T) {
	file := writeConfig(t, "tls-san: [a]\ntoken: first\n")
	if err := os.Mkdir(file+".d", 0o700); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string]string{"10.yaml": "tls-san+: [b]\n", "20.yaml": "token: last\n"} {
		if err := os.WriteFile(filepath.Join(file+".d", name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	o, err := Parse("server", []string{"--config", file}, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if got := o.List("tls-san"); !slices.Equal(got, []string{"a", "b"}) || o.String("token") != "last" {
		t.Errorf("got %q and %q", got, o.String("token"))
	}
}

func TestValues(t *testing.T) {
	tokenFile := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(tokenFile, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := "disable: traefik,servicelb\nhttps-listen-port: 7443\ndisable-agent: true\ndisable-scheduler: true\nagent-token-file: " + tokenFile
	o, err := Parse("server", []string{"--config", writeConfig(t, config)}, noEnv)
	if err != nil {
		t.Fatal(err)
	}
	if !o.Disabled("servicelb") || o.Disabled("coredns") {
		t.Error("a list with commas is split")
	}
	if o.Int("https-listen-port") != 7443 || !o.Bool("disable-agent") || !o.Bool("disable-scheduler") || o.Bool("secrets-encryption") {
		t.Error("numbers and booleans of the file")
	}
	if o.String("agent-token") != "secret" {
		t.Error("a token file is read without its line end")
	}
}

func TestConfigFile(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none.yaml")
	if _, err := Parse("server", []string{"--config", missing}, noEnv); err == nil {
		t.Error("a configuration file that was asked for must exist")
	}
}
