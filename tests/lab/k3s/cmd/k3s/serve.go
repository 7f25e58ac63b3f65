package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"golang.org/x/sync/errgroup"
	"k8s.io/klog/v2"

	"tenantry.dev/lab/k3s/internal/agent"
	"tenantry.dev/lab/k3s/internal/node"
	"tenantry.dev/lab/k3s/internal/options"
	"tenantry.dev/lab/k3s/internal/server"
)

// shutdownLimit bounds a stop. A release waits as long for its datastore (kine) and for nothing else; the API server
// would wait much longer for clients, and for a datastore that has ended.
const shutdownLimit = 2 * time.Second

func serve(command string, args []string) error {
	opts, err := options.Parse(command, args, os.Getenv)
	if err != nil {
		return err
	}
	withAgent := command == "agent" || !opts.Bool("disable-agent")
	if os.Getpid() == 1 && withAgent {
		code, err := node.RunAsInit()
		if err == nil {
			os.Exit(code)
		}
		return err
	}
	if err := logTo(opts.String("log")); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() {
		time.Sleep(shutdownLimit)
		klog.InfoS("Ending before all parts have", "after", shutdownLimit)
		os.Exit(0)
	})
	name, ip, err := node.Name(opts)
	if err != nil {
		return err
	}
	notify := systemdNotifier()
	if command == "server" {
		err = runServer(ctx, opts, name, ip, withAgent, notify)
	} else {
		err = runAgent(ctx, opts, name, ip, notify)
	}
	if ctx.Err() != nil {
		return nil // told to stop
	}
	return err
}

func runAgent(ctx context.Context, opts *options.Options, name, ip string, notify func()) error {
	a, err := agent.New(opts, name, ip)
	if err != nil {
		return err
	}
	return a.Run(ctx, notify)
}

// runServer stops both parts when one of them has ended.
func runServer(ctx context.Context, opts *options.Options, name, ip string, withAgent bool, notify func()) error {
	s, err := server.New(ctx, opts, name, ip)
	if err != nil {
		return err
	}
	for _, deviation := range s.Deviations() {
		klog.Warning(deviation)
	}
	if !withAgent {
		return s.Run(ctx, notify)
	}
	opts.Set("server", s.URL())
	opts.Set("token", s.JoinToken())
	group, ctx := errgroup.WithContext(ctx)
	startAgent := func() {
		group.Go(func() error { return runAgent(ctx, opts, name, ip, notify) })
	}
	group.Go(func() error { return s.Run(ctx, startAgent) })
	return group.Wait()
}

// systemdNotifier keeps the notification for itself: the Kubernetes components in this process would announce
// readiness too, each its own.
func systemdNotifier() func() {
	socket := os.Getenv("NOTIFY_SOCKET")
	os.Unsetenv("NOTIFY_SOCKET")
	return func() {
		klog.Info("k3s is up and running")
		if socket == "" {
			return
		}
		os.Setenv("NOTIFY_SOCKET", socket)
		if _, err := daemon.SdNotify(true, daemon.SdNotifyReady); err != nil {
			klog.ErrorS(err, "Notifying systemd")
		}
	}
}

func logTo(file string) error {
	if file == "" {
		return nil
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("log: %w", err)
	}
	return syscall.Dup2(int(f.Fd()), int(os.Stderr.Fd()))
}
