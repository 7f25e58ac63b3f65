// Command web is the lab's workload: a web server, clients for it, and the small programs that tests run in pods.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const usage = `usage: web serve [--port N] [--text S]   web server, see serve.go
       web hook [--port N] [--certificate FILE] [--key FILE]   webhooks and an API of its own, see hook.go
       web get URL                      print what URL answers; exit 1 unless it is 200
       web fetch URL                    print status and body; exit 1 unless something answers
       web kube PATH                    GET PATH of the pod's own cluster with its service account; print as fetch
       web reach TARGET...              say of tcp://ADDRESS:PORT and udp://ADDRESS:PORT whether something answers
       web resolve NAME                 print the addresses of NAME, one a line
       web flood WHAT SECONDS [PATH]    be a noisy neighbour, see flood.go
       web sleep [SECONDS]              without SECONDS until SIGTERM
       web exit CODE
       web print TEXT...
       web echo                         copy standard input to standard output
       web env
       web cat FILE
       web write FILE TEXT`

// commands get their words and how many of them they need at least and take at most (-1: any number).
var commands = map[string]struct {
	run         func(ctx context.Context, words []string) error
	least, most int
}{
	"serve":   {serve, 0, -1},
	"hook":    {hook, 0, -1},
	"get":     {get, 1, 1},
	"fetch":   {fetch, 1, 1},
	"kube":    {kube, 1, 1},
	"reach":   {reach, 1, -1},
	"resolve": {resolve, 1, 1},
	"flood":   {flood, 2, 3},
	"sleep":   {sleep, 0, 1},
	"exit":    {exit, 1, 1},
	"print":   {printWords, 0, -1},
	"echo":    {echo, 0, 0},
	"env":     {environment, 0, 0},
	"cat":     {cat, 1, 1},
	"write":   {write, 2, 2},
}

func main() {
	// Process 1 of a container has no default action for SIGTERM.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if len(os.Args) < 2 {
		fail(errors.New(usage))
	}
	command, known := commands[os.Args[1]]
	words := os.Args[2:]
	if !known || len(words) < command.least || command.most >= 0 && len(words) > command.most {
		fail(errors.New(usage))
	}
	done := make(chan error, 1)
	go func() { done <- command.run(ctx, words) }()
	select {
	case err := <-done:
		if err != nil {
			fail(err)
		}
	case <-ctx.Done(): // also in the middle of reading standard input
	}
}

func sleep(ctx context.Context, words []string) error {
	if len(words) == 0 {
		<-ctx.Done()
		return nil
	}
	seconds, err := strconv.ParseFloat(words[0], 64)
	if err != nil {
		return err
	}
	time.Sleep(time.Duration(seconds * float64(time.Second)))
	return nil
}

func exit(_ context.Context, words []string) error {
	code, err := strconv.Atoi(words[0])
	if err != nil {
		return err
	}
	os.Exit(code)
	return nil
}

func printWords(_ context.Context, words []string) error {
	_, err := fmt.Println(strings.Join(words, " "))
	return err
}

func echo(context.Context, []string) error {
	_, err := io.Copy(os.Stdout, os.Stdin)
	return err
}

func environment(context.Context, []string) error {
	_, err := fmt.Println(strings.Join(os.Environ(), "\n"))
	return err
}

func cat(_ context.Context, words []string) error {
	return copyFile(os.Stdout, words[0])
}

func write(_ context.Context, words []string) error {
	return os.WriteFile(words[0], []byte(words[1]), 0o644)
}

func copyFile(w io.Writer, path string) error {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}

func fail(reason error) {
	fmt.Fprintln(os.Stderr, "web:", reason)
	os.Exit(1)
}
