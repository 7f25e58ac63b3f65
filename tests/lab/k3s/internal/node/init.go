package node

import (
	"errors"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// RunAsInit is for k3s as a container's entry point: PID 1 inherits every orphan (containerd's shims among
// them) and must reap it, so the real work is done by a child. It returns the child's exit code.
func RunAsInit() (int, error) {
	if CgroupV2() {
		if err := evacuateCgroupV2(); err != nil {
			return 1, err
		}
	}
	self, err := os.Executable()
	if err != nil {
		return 1, err
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals)
	child, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env:   os.Environ(),
		Files: []uintptr{0, 1, 2},
	})
	if err != nil {
		return 1, &exec.Error{Name: self, Err: err}
	}
	for sig := range signals {
		if sig != syscall.SIGCHLD {
			_ = syscall.Kill(child, sig.(syscall.Signal))
			continue
		}
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
			if errors.Is(err, syscall.EINTR) {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			if pid == child && status.Signaled() {
				return 128 + int(status.Signal()), nil
			}
			if pid == child {
				return status.ExitStatus(), nil
			}
		}
	}
	return 1, errors.New("no more signals")
}
