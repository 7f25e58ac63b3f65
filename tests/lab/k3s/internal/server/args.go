package server

import (
	"strconv"

	"tenantry.dev/lab/k3s/internal/componentargs"
)

func (s *Server) apiServerArgs() map[string]string {
	tls := func(name string) string { return s.path("tls", name) }
	issuer := "https://kubernetes.default.svc." + s.opts.String("cluster-domain")
	args := map[string]string{
		"advertise-address":                  s.advertiseAddress(),
		"allow-privileged":                   "true",
		"api-audiences":                      issuer + ",k3s",
		"authorization-mode":                 "Node,RBAC",
		"bind-address":                       s.opts.String("bind-address"),
		"client-ca-file":                     tls("client-ca.crt"),
		"enable-admission-plugins":           "NodeRestriction",
		"enable-bootstrap-token-auth":        "true",
		"etcd-servers":                       s.datastore.Endpoint,
		"kubelet-certificate-authority":      tls("server-ca.crt"),
		"kubelet-client-certificate":         tls("client-kube-apiserver.crt"),
		"kubelet-client-key":                 tls("client-kube-apiserver.key"),
		"kubelet-preferred-address-types":    "InternalIP,ExternalIP,Hostname",
		"profiling":                          "false",
		"proxy-client-cert-file":             tls("client-auth-proxy.crt"),
		"proxy-client-key-file":              tls("client-auth-proxy.key"),
		"requestheader-allowed-names":        "system:auth-proxy",
		"requestheader-client-ca-file":       tls("request-header-ca.crt"),
		"requestheader-extra-headers-prefix": "X-Remote-Extra-",
		"requestheader-group-headers":        "X-Remote-Group",
		"requestheader-username-headers":     "X-Remote-User",
		"secure-port":                        strconv.Itoa(s.opts.Int("https-listen-port")),
		"service-account-issuer":             issuer,
		"service-account-key-file":           tls("service.key"),
		"service-account-signing-key-file":   tls("service.key"),
		"service-cluster-ip-range":           s.opts.String("service-cidr"),
		"service-node-port-range":            s.opts.String("service-node-port-range"),
		"tls-cert-file":                      tls("serving-kube-apiserver.crt"),
		"tls-private-key-file":               tls("serving-kube-apiserver.key"),
	}
	// As in k3s: without credentials even /readyz answers 401, unless a file says who may be anonymous.
	if !componentargs.Names(s.opts.List("kube-apiserver-arg"), "authentication-config") {
		args["anonymous-auth"] = "false"
	}
	for name, file := range map[string]string{
		"etcd-cafile":   s.datastore.Files.CAFile,
		"etcd-certfile": s.datastore.Files.CertFile,
		"etcd-keyfile":  s.datastore.Files.KeyFile,
	} {
		if file != "" {
			args[name] = file
		}
	}
	if s.opts.Bool("secrets-encryption") {
		args["encryption-provider-config"] = s.path("cred", "encryption-config.yaml")
	}
	if s.egress != "" {
		args["egress-selector-config-file"] = s.egress
		args["enable-aggregator-routing"] = "true" // to pods: their Service's address leads nowhere from a server
	}
	return args
}

// leaderElect says whether other servers may have the same datastore.
func (s *Server) leaderElect() string { return strconv.FormatBool(s.datastore.Shared) }

// secure-port 0 for the other two: nothing in the lab scrapes them, and several servers may share a network.
func (s *Server) controllerManagerArgs() map[string]string {
	tls := func(name string) string { return s.path("tls", name) }
	args := map[string]string{
		"allocate-node-cidrs":              "true",
		"cluster-cidr":                     s.opts.String("cluster-cidr"),
		"flex-volume-plugin-dir":           s.path("flexvolume"), // made at start; the default is outside data-dir
		"kubeconfig":                       s.path("cred", "controller.kubeconfig"),
		"leader-elect":                     s.leaderElect(),
		"profiling":                        "false",
		"root-ca-file":                     tls("server-ca.crt"),
		"secure-port":                      "0",
		"service-account-private-key-file": tls("service.key"),
		"service-cluster-ip-range":         s.opts.String("service-cidr"),
		"use-service-account-credentials":  "true",
	}
	for signer, ca := range map[string]string{
		"kube-apiserver-client": "client-ca", "kubelet-client": "client-ca", "kubelet-serving": "server-ca", "legacy-unknown": "client-ca",
	} {
		args["cluster-signing-"+signer+"-cert-file"] = tls(ca + ".nochain.crt")
		args["cluster-signing-"+signer+"-key-file"] = tls(ca + ".key")
	}
	return args
}

func (s *Server) schedulerArgs() map[string]string {
	return map[string]string{
		"kubeconfig":   s.path("cred", "scheduler.kubeconfig"),
		"leader-elect": s.leaderElect(),
		"profiling":    "false",
		"secure-port":  "0",
	}
}

func (s *Server) advertiseAddress() string {
	if a := s.opts.String("advertise-address"); a != "" {
		return a
	}
	return s.nodeIP
}
