package server

import (
	"context"
	"fmt"
	"net/http"

	"github.com/spf13/pflag"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	genericapiserver "k8s.io/apiserver/pkg/server"
	"k8s.io/client-go/rest"
	cliflag "k8s.io/component-base/cli/flag"
	"k8s.io/component-base/logs"
	logsapi "k8s.io/component-base/logs/api/v1"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	apiserveroptions "k8s.io/kubernetes/cmd/kube-apiserver/app/options"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	controllermanageroptions "k8s.io/kubernetes/cmd/kube-controller-manager/app/options"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	scheduleroptions "k8s.io/kubernetes/cmd/kube-scheduler/app/options"

	"tenantry.dev/lab/k3s/internal/componentargs"
	"tenantry.dev/lab/k3s/internal/join"
)

// components are the control plane's programs as libraries. Their own commands cannot share a process: each
// would set the signal handler and the feature gates.
type components struct {
	apiServer         *apiserveroptions.ServerRunOptions
	controllerManager *controllermanageroptions.KubeControllerManagerOptions
	scheduler         *scheduleroptions.Options
	join              *join.Server
}

func (s *Server) newComponents() (*components, error) {
	c := &components{join: s.joinServer()}
	var err error
	if c.controllerManager, err = controllermanageroptions.NewKubeControllerManagerOptions(); err != nil {
		return nil, err
	}
	// First of all: these flags change the default of a feature gate, which any other component's flags seal.
	controllerManagerFlags := c.controllerManager.Flags(controllermanager.KnownControllers(),
		controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases())
	c.apiServer = apiserveroptions.NewServerRunOptions()
	c.scheduler = scheduleroptions.NewOptions()

	for _, p := range []struct {
		option string
		flags  cliflag.NamedFlagSets
		args   map[string]string
	}{
		{"kube-apiserver-arg", c.apiServer.Flags(), s.apiServerArgs()},
		{"kube-controller-manager-arg", controllerManagerFlags, s.controllerManagerArgs()},
		{"kube-scheduler-arg", *c.scheduler.Flags, s.schedulerArgs()},
	} {
		p.args["v"] = s.opts.Verbosity()
		if err := parse(p.flags, componentargs.Merge(p.args, s.opts.List(p.option))); err != nil {
			return nil, fmt.Errorf("%s: %w", p.option, err)
		}
	}
	rest.SetDefaultWarningHandler(rest.NoWarnings{})
	if err := c.apiServer.GenericServerRunOptions.ComponentGlobalsRegistry.Set(); err != nil {
		return nil, err
	}
	logsapi.ReapplyHandling = logsapi.ReapplyHandlingIgnoreUnchanged
	return c, logsapi.ValidateAndApply(c.apiServer.Logs, nil)
}

func parse(sets cliflag.NamedFlagSets, args []string) error {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SetNormalizeFunc(cliflag.WordSepNormalizeFunc)
	for _, set := range sets.FlagSets {
		fs.AddFlagSet(set)
	}
	logs.AddFlags(fs, logs.SkipLoggingConfigurationFlags())
	return fs.Parse(args)
}

func (c *components) runAPIServer(ctx context.Context) error {
	completed, err := c.apiServer.Complete(ctx)
	if err != nil {
		return err
	}
	if errs := completed.Validate(); len(errs) > 0 {
		return utilerrors.NewAggregate(errs)
	}
	config, err := apiserver.NewConfig(completed)
	if err != nil {
		return err
	}
	// The aggregator is the outermost server of the chain: wrapped here, the join endpoints share its port.
	buildChain := config.Aggregator.GenericConfig.BuildHandlerChainFunc
	config.Aggregator.GenericConfig.BuildHandlerChainFunc = func(h http.Handler, g *genericapiserver.Config) http.Handler {
		return c.join.Wrap(buildChain(h, g))
	}
	done, err := config.Complete()
	if err != nil {
		return err
	}
	chain, err := apiserver.CreateServerChain(done)
	if err != nil {
		return err
	}
	prepared, err := chain.PrepareRun()
	if err != nil {
		return err
	}
	return prepared.Run(ctx)
}

func (c *components) runControllerManager(ctx context.Context) error {
	config, err := c.controllerManager.Config(ctx, controllermanager.KnownControllers(),
		controllermanager.ControllersDisabledByDefault(), controllermanager.ControllerAliases())
	if err != nil {
		return err
	}
	return controllermanager.Run(ctx, config.Complete())
}

func (c *components) runScheduler(ctx context.Context) error {
	config, sched, err := scheduler.Setup(ctx, c.scheduler)
	if err != nil {
		return err
	}
	return scheduler.Run(ctx, config, sched)
}
