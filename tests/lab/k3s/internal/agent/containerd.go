package agent

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"text/template"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"k8s.io/apimachinery/pkg/util/wait"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/klog/v2"

	"tenantry.dev/lab/k3s/internal/node"
	"tenantry.dev/lab/k3s/internal/registries"
)

const (
	containerdState  = "/run/k3s/containerd"
	containerdSocket = containerdState + "/containerd.sock"
	containerdStart  = 60 * time.Second
	containerdPoll   = 200 * time.Millisecond
	cniBinDir        = "/usr/lib/cni"
)

// restrict_oom_score_adj: in a container a process may not lower its score below its parent's.
var containerdConfig = template.Must(template.New("").Parse(`version = 3
root = "{{.Root}}"
state = "{{.State}}"

[grpc]
  address = "{{.Socket}}"

[plugins."io.containerd.grpc.v1.cri"]
  stream_server_address = "127.0.0.1"
  stream_server_port = "10010"

[plugins."io.containerd.cri.v1.runtime"]
  enable_unprivileged_ports = true
  enable_unprivileged_icmp = true
  restrict_oom_score_adj = true

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
  SystemdCgroup = {{.SystemdCgroup}}

[plugins."io.containerd.cri.v1.runtime".cni]
  bin_dirs = ["{{.CNIBin}}"]
  conf_dir = "{{.CNIConf}}"

[plugins."io.containerd.cri.v1.images"]
  snapshotter = "{{.Snapshotter}}"

[plugins."io.containerd.cri.v1.images".pinned_images]
  sandbox = "{{.PauseImage}}"

[plugins."io.containerd.cri.v1.images".registry]
  config_path = "{{.CertsD}}"
`))

// startContainerd runs containerd as a child and returns once it answers. The channel carries its end, which is
// the agent's end too.
func (a *Agent) startContainerd(ctx context.Context) (<-chan error, error) {
	certsDir := a.path("etc/containerd/certs.d")
	if err := registries.Write(a.opts.String("private-registry"), certsDir); err != nil {
		return nil, err
	}
	var config bytes.Buffer
	err := containerdConfig.Execute(&config, map[string]any{
		"Root": a.path("containerd"), "State": containerdState, "Socket": containerdSocket,
		"PauseImage": a.pauseImage(), "Snapshotter": a.opts.String("snapshotter"),
		"SystemdCgroup": a.systemdCgroup(),
		"CNIBin":        cniBinDir, "CNIConf": a.path("etc/cni/net.d"), "CertsD": certsDir,
	})
	if err != nil {
		return nil, err
	}
	file := a.path("etc/containerd/config.toml")
	if err := os.WriteFile(file, config.Bytes(), 0o644); err != nil {
		return nil, err
	}
	logFile, err := os.OpenFile(a.path("containerd/containerd.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("containerd", "--config", file)
	cmd.Stdout, cmd.Stderr = logFile, logFile
	ended := make(chan error, 1)
	started := make(chan error, 1)
	go func() {
		// The death signal comes with the end of the thread that forked, so this one must last.
		runtime.LockOSThread()
		defer logFile.Close()
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- a.superviseContainerd(ctx, cmd, logFile.Name())
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("%w (the node needs the packages containerd and runc)", err)
	}
	return ended, a.waitContainerd(ctx)
}

func (a *Agent) superviseContainerd(ctx context.Context, cmd *exec.Cmd, logFile string) error {
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	err := cmd.Wait()
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("containerd ended (%v), see %s", err, logFile)
}

func (a *Agent) waitContainerd(ctx context.Context) error {
	connection, err := grpc.NewClient("unix://"+containerdSocket, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.Config{BaseDelay: containerdPoll, MaxDelay: containerdPoll}}))
	if err != nil {
		return err
	}
	defer connection.Close()
	runtime := cri.NewRuntimeServiceClient(connection)
	err = wait.PollUntilContextTimeout(ctx, containerdPoll, containerdStart, true, func(ctx context.Context) (bool, error) {
		// containerd answers before its CRI plugin does, and the kubelet asks the latter once.
		_, err := runtime.Version(ctx, &cri.VersionRequest{})
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("does not answer on %s after %s, see %s", containerdSocket, containerdStart, a.path("containerd/containerd.log"))
	}
	klog.InfoS("containerd is up")
	return nil
}

func (a *Agent) ctr(ctx context.Context, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, "ctr", append([]string{"--address", containerdSocket, "--namespace", "k8s.io"}, args...)...)
}

// systemdCgroup follows k3s: under systemd and cgroup v2 systemd manages the pods' cgroups.
func (a *Agent) systemdCgroup() bool { return node.CgroupV2() && node.Systemd() }

func (a *Agent) pauseImage() string {
	image := a.opts.String("pause-image")
	registry := a.cluster.SystemDefaultRegistry
	first, _, _ := strings.Cut(image, "/")
	switch {
	case strings.ContainsAny(first, ".:"): // names its registry
		return image
	case registry != "":
		return registry + "/" + image
	}
	return "docker.io/" + image
}
