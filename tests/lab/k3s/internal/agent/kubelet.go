package agent

import (
	"context"
	"net"
	"os"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	logsapi "k8s.io/component-base/logs/api/v1"
	kubeletv1 "k8s.io/kubelet/config/v1beta1"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"tenantry.dev/lab/k3s/internal/componentargs"
)

func (a *Agent) runKubelet(ctx context.Context) error {
	config, err := a.kubeletConfig()
	if err != nil {
		return err
	}
	raw, err := yaml.Marshal(config)
	if err != nil {
		return err
	}
	file := a.path("etc/kubelet.yaml")
	if err := os.WriteFile(file, raw, 0o600); err != nil {
		return err
	}
	args := map[string]string{
		"config":            file,
		"hostname-override": a.node.Name,
		"kubeconfig":        a.kubeconfig("kubelet"),
		"node-ip":           a.node.IP,
		"v":                 a.opts.Verbosity(),
	}
	if labels := a.opts.List("node-label"); len(labels) > 0 {
		args["node-labels"] = strings.Join(labels, ",")
	}
	if taints := a.opts.List("node-taint"); len(taints) > 0 {
		args["register-with-taints"] = strings.Join(taints, ",")
	}
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
	cmd := kubelet.NewKubeletCommand(ctx)
	cmd.SetArgs(componentargs.Merge(args, a.opts.List("kubelet-arg")))
	cmd.SilenceErrors = true
	return cmd.ExecuteContext(ctx)
}

func (a *Agent) kubeletConfig() (*kubeletv1.KubeletConfiguration, error) {
	resolvConf, err := a.resolvConf()
	if err != nil {
		return nil, err
	}
	driver := "cgroupfs"
	if a.systemdCgroup() {
		driver = "systemd"
	}
	config := &kubeletv1.KubeletConfiguration{
		TypeMeta:                 metav1.TypeMeta{APIVersion: "kubelet.config.k8s.io/v1beta1", Kind: "KubeletConfiguration"},
		CgroupDriver:             driver,
		ClusterDNS:               []string{a.cluster.ClusterDNS},
		ClusterDomain:            a.cluster.ClusterDomain,
		ContainerRuntimeEndpoint: "unix://" + containerdSocket,
		EvictionHard:             map[string]string{"imagefs.available": "5%", "nodefs.available": "5%"},
		EvictionMinimumReclaim:   map[string]string{"imagefs.available": "10%", "nodefs.available": "10%"},
		FailCgroupV1:             ptr.To(false),
		FailSwapOn:               ptr.To(false),
		HealthzBindAddress:       "127.0.0.1",
		ProtectKernelDefaults:    a.opts.Bool("protect-kernel-defaults"),
		ResolverConfig:           &resolvConf,
		SerializeImagePulls:      ptr.To(false),
		TLSCertFile:              a.path("serving-kubelet.crt"),
		TLSPrivateKeyFile:        a.path("serving-kubelet.key"),
	}
	config.Authentication.Anonymous.Enabled = ptr.To(false)
	config.Authentication.Webhook.Enabled = ptr.To(true)
	config.Authentication.X509.ClientCAFile = a.path("client-ca.crt")
	config.Authorization.Mode = kubeletv1.KubeletAuthorizationModeWebhook
	return config, nil
}

// resolvConf is what pods with dnsPolicy Default and CoreDNS use. As in k3s, a file that names only this
// machine's own resolver is replaced: a pod cannot reach that one.
func (a *Agent) resolvConf() (string, error) {
	if file := a.opts.String("resolv-conf"); file != "" {
		return file, nil
	}
	const system = "/etc/resolv.conf"
	raw, _ := os.ReadFile(system)
	for _, line := range strings.Split(string(raw), "\n") {
		if fields := strings.Fields(line); len(fields) == 2 && fields[0] == "nameserver" {
			if ip := net.ParseIP(fields[1]); ip != nil && !ip.IsLoopback() {
				return system, nil
			}
		}
	}
	file := a.path("etc/resolv.conf")
	return file, os.WriteFile(file, []byte("nameserver 8.8.8.8\n"), 0o644)
}

func (a *Agent) runKubeProxy(ctx context.Context) error {
	cmd := proxy.NewProxyCommand()
	cmd.SetArgs(componentargs.Merge(map[string]string{
		"cluster-cidr":                      a.cluster.ClusterCIDR,
		"conntrack-max-per-core":            "0", // these belong to the machine, and a container may not set them
		"conntrack-tcp-timeout-close-wait":  "0s",
		"conntrack-tcp-timeout-established": "0s",
		"healthz-bind-address":              "127.0.0.1:10256",
		"hostname-override":                 a.node.Name,
		"kubeconfig":                        a.kubeconfig("kube-proxy"),
		"metrics-bind-address":              "127.0.0.1:10249",
		"proxy-mode":                        "iptables",
		"v":                                 a.opts.Verbosity(),
	}, a.opts.List("kube-proxy-arg")))
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	return cmd.ExecuteContext(ctx)
}
