// Command web is the lab's workload: a web server, a client for it, and something that only waits.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"
)

const usage = `usage: web serve [--port N] [--text S]   answer every request with S, host name and client address
       web get URL                      print what URL answers; exit 1 unless it is 200
       web sleep
`

func main() {
	if len(os.Args) < 2 {
		fail(usage)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	switch os.Args[1] {
	case "serve":
		serve(ctx, os.Args[2:])
	case "get":
		if len(os.Args) != 3 {
			fail(usage)
		}
		get(ctx, os.Args[2])
	case "sleep":
		<-ctx.Done()
	default:
		fail(usage)
	}
}

func serve(ctx context.Context, args []string) {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	port := flags.Int("port", 8080, "port to listen on")
	text := flags.String("text", "hello", "what to answer")
	_ = flags.Parse(args)
	host, _ := os.Hostname()
	server := &http.Server{
		Addr:              ":" + strconv.Itoa(*port),
		ReadHeaderTimeout: 5 * time.Second,
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			fmt.Fprintf(w, "%s from %s to %s\n", *text, host, r.RemoteAddr)
		}),
	}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		fail(err)
	}
}

func get(ctx context.Context, url string) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		fail(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		fail(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		fail(err)
	}
	if response.StatusCode != http.StatusOK {
		fail(response.Status)
	}
}

func fail(reason any) {
	fmt.Fprintln(os.Stderr, "web:", reason)
	os.Exit(1)
}
