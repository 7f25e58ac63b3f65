// Package join is the protocol by which an agent becomes a node: it learns the cluster's CA, proves that it
// knows the token, and has its certificates signed.
package join

import "fmt"

const (
	headerNodeName     = "k3s-Node-Name"
	headerNodePassword = "k3s-Node-Password"
	headerNodeIP       = "k3s-Node-IP"
	basePath           = "/v1-k3s/"
	tunnelPath         = basePath + "connect"
	rotatePath         = basePath + "cert/cacerts"
)

// ClusterConfig is what the servers decide for all nodes.
type ClusterConfig struct {
	ClusterCIDR           string
	ClusterDNS            string
	ClusterDomain         string
	FlannelBackend        string
	DisableKubeProxy      bool
	DisableLocalStorage   bool
	DisableNetworkPolicy  bool
	Tunnels               bool // the API server reaches pods through the agents
	SystemDefaultRegistry string
}

// Node is the node that a certificate is asked for.
type Node struct {
	Name     string
	IP       string
	Password string
}

// certificateKind says which CA signs a certificate, and for which identity.
type certificateKind struct {
	serving bool
	name    func(Node) string
	groups  []string
}

func fixed(name string) func(Node) string { return func(Node) string { return name } }

// ControllerUser is the identity of the agent's own controllers (local storage, network policies).
const ControllerUser = "system:k3s-controller"

var certificates = map[string]certificateKind{
	"serving-kubelet":       {serving: true, name: func(n Node) string { return n.Name }},
	"client-kubelet":        {name: func(n Node) string { return "system:node:" + n.Name }, groups: []string{"system:nodes"}},
	"client-kube-proxy":     {name: fixed("system:kube-proxy")},
	"client-k3s-controller": {name: fixed(ControllerUser)},
}

// RefusedError is an answer that will stay the same however often it is asked again.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string {
	return fmt.Sprintf("the server refuses this agent: %s", e.Reason)
}
