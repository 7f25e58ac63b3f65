package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tenantry.dev/lab/k3s/internal/bootstrap"
	"tenantry.dev/lab/k3s/internal/join"
)

// certificate is `k3s certificate rotate-ca`: it hands the CAs in a directory to the server that runs, which uses them
// from its next start on.
func certificate(args []string) error {
	if len(args) == 0 || args[0] != "rotate-ca" {
		return errors.New("of the commands of k3s certificate, the lab's k3s implements rotate-ca only")
	}
	flags := flag.NewFlagSet("rotate-ca", flag.ContinueOnError)
	dataDir := flags.String("data-dir", "/var/lib/rancher/k3s", "")
	server := flags.String("server", "https://127.0.0.1:6443", "")
	path := flags.String("path", "", "")
	force := flags.Bool("force", false, "")
	if err := flags.Parse(args[1:]); err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(*dataDir, "server", "token"))
	if err != nil {
		return err
	}
	files, err := bootstrap.Read(*path)
	if err != nil {
		return err
	}
	client, err := join.Connect(context.Background(), *server, strings.TrimSpace(string(token)))
	if err != nil {
		return err
	}
	if err := client.RotateCAs(context.Background(), files, *force); err != nil {
		return err
	}
	fmt.Println("certificates saved to datastore")
	return nil
}
