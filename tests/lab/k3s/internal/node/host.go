package node

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

const (
	cgroupRoot  = "/sys/fs/cgroup"
	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
)

// Prepare makes a bare container fit for a kubelet: k3s may be its entry point, without an init before it.
func Prepare() error {
	if os.Getenv("PATH") == "" {
		os.Setenv("PATH", defaultPath)
	}
	// The kubelet insists on reading the kernel log for OOM events.
	if _, err := os.Stat("/dev/kmsg"); errors.Is(err, fs.ErrNotExist) {
		if err := os.Symlink("/dev/null", "/dev/kmsg"); err != nil {
			return fmt.Errorf("/dev/kmsg is missing: %w", err)
		}
	}
	for _, sysctl := range []string{"net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding"} {
		if err := os.WriteFile(filepath.Join("/proc/sys", sysctl), []byte("1"), 0); err != nil {
			return fmt.Errorf("an agent must be privileged: %w", err)
		}
	}
	return nil
}

// CgroupV2 says whether the unified hierarchy is the one in use.
func CgroupV2() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return err == nil
}

// Systemd says whether this process is a systemd service.
func Systemd() bool { return os.Getenv("INVOCATION_ID") != "" }

// evacuateCgroupV2 moves what runs in this process's cgroup one level down, so that the cgroup may hand its
// controllers to the pods': the kernel forbids processes and controlled children in one cgroup.
func evacuateCgroupV2() error {
	raw, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return err
	}
	own := filepath.Join(cgroupRoot, strings.TrimPrefix(strings.TrimSpace(string(raw)), "0::"))
	leaf := filepath.Join(own, "init")
	if err := os.MkdirAll(leaf, 0o755); err != nil {
		return err
	}
	pids, err := os.ReadFile(filepath.Join(own, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, pid := range strings.Fields(string(pids)) {
		err := os.WriteFile(filepath.Join(leaf, "cgroup.procs"), []byte(pid), 0)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	controllers, err := os.ReadFile(filepath.Join(own, "cgroup.controllers"))
	if err != nil {
		return err
	}
	enable := "+" + strings.Join(strings.Fields(string(controllers)), " +")
	return os.WriteFile(filepath.Join(own, "cgroup.subtree_control"), []byte(enable), 0)
}
