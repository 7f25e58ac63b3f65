package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"

	"tenantry.dev/lab/k3s/internal/options"
)

// kubectl runs the embedded kubectl against the local cluster unless KUBECONFIG says otherwise.
func kubectl(argv []string) error {
	if os.Getenv("KUBECONFIG") == "" {
		f, err := os.Open(options.DefaultKubeconfig)
		switch {
		case err == nil:
			f.Close()
			os.Setenv("KUBECONFIG", options.DefaultKubeconfig)
		case errors.Is(err, fs.ErrPermission):
			return fmt.Errorf("unable to read %s, please start server with --write-kubeconfig-mode or --write-kubeconfig-group to modify kube config permissions", options.DefaultKubeconfig)
		}
	}
	os.Args = argv
	command := cmd.NewDefaultKubectlCommand()
	if err := cli.RunNoErrOutput(command); err != nil {
		util.CheckErr(err)
	}
	return nil
}
