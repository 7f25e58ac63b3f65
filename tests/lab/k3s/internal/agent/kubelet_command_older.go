//go:build older

package agent

import (
	"context"

	"github.com/spf13/cobra"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

func kubeletCommand(_ context.Context) *cobra.Command { return kubelet.NewKubeletCommand() }
