// Command k3s is the lab's build of Kubernetes behind the part of k3s's command line that the collection uses.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"k8s.io/component-base/version"
)

const usage = `usage: k3s server|agent [options]
       k3s kubectl ...
       k3s --version
The lab's build of Kubernetes with the command line of k3s.
`

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintf(os.Stderr, "k3s: %v\n", err)
		os.Exit(1)
	}
}

func run(argv []string) error {
	if filepath.Base(argv[0]) == "kubectl" {
		return kubectl(argv)
	}
	command := ""
	if len(argv) > 1 {
		command = argv[1]
	}
	switch command {
	case "kubectl":
		return kubectl(argv[1:])
	case "server", "agent":
		return serve(command, argv[2:])
	case "--version", "-v":
		v := version.Get()
		fmt.Printf("k3s version %s (%.8s)\ngo version %s\n", v.GitVersion, v.GitCommit, runtime.Version())
		return nil
	case "certificate":
		return certificate(argv[2:])
	case "", "help", "--help", "-h":
		fmt.Print(usage)
		return nil
	case "etcd-snapshot", "secrets-encrypt", "token", "check-config", "crictl", "ctr", "completion":
		return fmt.Errorf("%s is a real k3s command that the lab's k3s does not implement", command)
	}
	return fmt.Errorf("%q is not a command of k3s", command)
}
