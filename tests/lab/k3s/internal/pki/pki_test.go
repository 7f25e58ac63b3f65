package pki

import (
	"os"
	"path/filepath"
	"testing"
)

func TestKeptUntilTheNeedChanges(t *testing.T) {
	dir := t.TempDir()
	read := func(name string) string {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	ensure := func(hosts ...string) (ca, leaf string) {
		authority, err := EnsureCA(dir, "ca")
		if err != nil {
			t.Fatal(err)
		}
		if err := authority.Ensure(dir, "leaf", Request{CommonName: "leaf", Hosts: hosts}); err != nil {
			t.Fatal(err)
		}
		return read("ca.crt"), read("leaf.crt")
	}
	ca, first := ensure("a", "10.0.0.1", "a")
	if again, second := ensure("10.0.0.1", "a"); again != ca || second != first {
		t.Error("a restart made new certificates")
	}
	key := read("leaf.key")
	if again, third := ensure("10.0.0.1", "b"); again != ca || third == first || read("leaf.key") != key {
		t.Error("another host makes another certificate of the same key and CA")
	}
	if info, err := os.Stat(filepath.Join(dir, "ca.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the CA's key: %v, %v", info.Mode(), err)
	}
}
