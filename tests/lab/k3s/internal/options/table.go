// Package options is the part of the k3s command line and configuration file that the lab implements,
// together with the names of everything it does not, so that a typo and a missing feature read differently.
package options

type kind int

const (
	stringKind kind = iota
	boolKind
	intKind
	listKind
)

type command int

const (
	serverCommand command = 1 << iota
	agentCommand
	both = serverCommand | agentCommand
)

type option struct {
	name      string
	shorthand string
	kind      kind
	commands  command
	value     string // default
	env       string
}

const (
	DefaultConfigFile = "/etc/rancher/k3s/config.yaml"
	DefaultKubeconfig = "/etc/rancher/k3s/k3s.yaml"
)

// implemented follows pkg/cli/cmds/{server,agent}.go of k3s: names, shorthands, defaults and environment.
var implemented = []option{
	{name: "config", shorthand: "c", commands: both, value: DefaultConfigFile, env: "K3S_CONFIG_FILE"},
	{name: "debug", kind: boolKind, commands: both, env: "K3S_DEBUG"},
	{name: "v", shorthand: "v", kind: intKind, commands: both, value: "0"},
	{name: "log", shorthand: "l", commands: both},
	{name: "data-dir", shorthand: "d", commands: both, value: "/var/lib/rancher/k3s", env: "K3S_DATA_DIR"},
	{name: "token", shorthand: "t", commands: both, env: "K3S_TOKEN"},
	{name: "token-file", commands: both, env: "K3S_TOKEN_FILE"},
	{name: "agent-token", commands: serverCommand, env: "K3S_AGENT_TOKEN"},
	{name: "agent-token-file", commands: serverCommand, env: "K3S_AGENT_TOKEN_FILE"},
	{name: "server", shorthand: "s", commands: agentCommand, env: "K3S_URL"},

	{name: "bind-address", commands: serverCommand, value: "0.0.0.0"},
	{name: "https-listen-port", kind: intKind, commands: serverCommand, value: "6443"},
	{name: "advertise-address", commands: serverCommand},
	{name: "tls-san", kind: listKind, commands: serverCommand},
	{name: "cluster-cidr", commands: serverCommand, value: "10.42.0.0/16"},
	{name: "service-cidr", commands: serverCommand, value: "10.43.0.0/16"},
	{name: "service-node-port-range", commands: serverCommand, value: "30000-32767"},
	{name: "cluster-dns", commands: serverCommand},
	{name: "cluster-domain", commands: serverCommand, value: "cluster.local"},
	{name: "flannel-backend", commands: serverCommand, value: "vxlan"},
	{name: "egress-selector-mode", commands: serverCommand, value: "agent"},
	{name: "write-kubeconfig", shorthand: "o", commands: serverCommand, value: DefaultKubeconfig, env: "K3S_KUBECONFIG_OUTPUT"},
	{name: "write-kubeconfig-mode", commands: serverCommand, value: "0600", env: "K3S_KUBECONFIG_MODE"},
	{name: "kube-apiserver-arg", kind: listKind, commands: serverCommand},
	{name: "kube-controller-manager-arg", kind: listKind, commands: serverCommand},
	{name: "kube-scheduler-arg", kind: listKind, commands: serverCommand},
	{name: "datastore-endpoint", commands: serverCommand, env: "K3S_DATASTORE_ENDPOINT"},
	{name: "datastore-cafile", commands: serverCommand, env: "K3S_DATASTORE_CAFILE"},
	{name: "datastore-certfile", commands: serverCommand, env: "K3S_DATASTORE_CERTFILE"},
	{name: "datastore-keyfile", commands: serverCommand, env: "K3S_DATASTORE_KEYFILE"},
	{name: "secrets-encryption", kind: boolKind, commands: serverCommand},
	{name: "disable", kind: listKind, commands: serverCommand},
	{name: "disable-agent", kind: boolKind, commands: serverCommand},
	{name: "disable-scheduler", kind: boolKind, commands: serverCommand},
	{name: "disable-network-policy", kind: boolKind, commands: serverCommand},
	{name: "disable-cloud-controller", kind: boolKind, commands: serverCommand},
	{name: "disable-helm-controller", kind: boolKind, commands: serverCommand},
	{name: "disable-kube-proxy", kind: boolKind, commands: serverCommand},
	{name: "system-default-registry", commands: serverCommand, env: "K3S_SYSTEM_DEFAULT_REGISTRY"},

	{name: "node-name", commands: both, env: "K3S_NODE_NAME"},
	{name: "with-node-id", kind: boolKind, commands: both},
	{name: "node-ip", shorthand: "i", commands: both},
	{name: "node-label", kind: listKind, commands: both},
	{name: "node-taint", kind: listKind, commands: both},
	{name: "pause-image", commands: both, value: "rancher/mirrored-pause:3.6"},
	{name: "snapshotter", commands: both, value: "overlayfs"},
	{name: "private-registry", commands: both, value: "/etc/rancher/k3s/registries.yaml"},
	{name: "resolv-conf", commands: both, env: "K3S_RESOLV_CONF"},
	{name: "kubelet-arg", kind: listKind, commands: both},
	{name: "kube-proxy-arg", kind: listKind, commands: both},
	{name: "protect-kernel-defaults", kind: boolKind, commands: both},
	{name: "selinux", kind: boolKind, commands: both, env: "K3S_SELINUX"},
}

// notImplemented are real options that the lab refuses rather than ignores.
var notImplemented = map[command][]string{
	both: {
		"vmodule", "alsologtostderr", "lb-server-port", "docker", "container-runtime-endpoint", "default-runtime",
		"image-service-endpoint", "disable-default-registry-endpoint", "nonroot-devices", "airgap-extra-registry",
		"image-credential-provider-bin-dir", "image-credential-provider-config", "node-external-ip",
		"node-internal-dns", "node-external-dns", "flannel-iface", "flannel-conf", "flannel-cni-conf", "vpn-auth",
		"vpn-auth-file", "rootless", "prefer-bundled-bin", "enable-pprof",
	},
	serverCommand: {
		"server", "advertise-port", "tls-san-security", "flannel-ipv6-masq",
		"flannel-external-ip", "servicelb-namespace", "write-kubeconfig-group", "helm-job-image", "cluster-init",
		"cluster-reset", "cluster-reset-restore-path", "etcd-arg", "kube-cloud-controller-manager-arg",
		"kube-controller-arg", "kube-cloud-controller-arg", "kine-tls", "default-local-storage-path", "disable-apiserver",
		"disable-controller-manager", "disable-etcd", "embedded-registry", "supervisor-metrics",
		"secrets-encryption-provider", "etcd-expose-metrics", "etcd-disable-snapshots", "etcd-snapshot-name",
		"etcd-snapshot-schedule-cron", "etcd-snapshot-reconcile-interval", "etcd-snapshot-retention",
		"etcd-snapshot-dir", "etcd-snapshot-compress", "etcd-s3", "etcd-s3-endpoint", "etcd-s3-endpoint-ca",
		"etcd-s3-skip-ssl-verify", "etcd-s3-access-key", "etcd-s3-secret-key", "etcd-s3-session-token",
		"etcd-s3-bucket", "etcd-s3-bucket-lookup-type", "etcd-s3-region", "etcd-s3-folder", "etcd-s3-retention",
		"etcd-s3-proxy", "etcd-s3-config-secret", "etcd-s3-insecure", "etcd-s3-timeout",
	},
	agentCommand: {"disable-selinux", "no-flannel", "cluster-secret", "disable-apiserver-lb", "bind-address"},
}

// Components are the values `disable` takes; the lab lacks servicelb, traefik and runtimes.
var Components = []string{"coredns", "servicelb", "traefik", "local-storage", "metrics-server", "runtimes"}
