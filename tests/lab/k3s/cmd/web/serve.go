package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/ipv4"
)

// serve answers: /env, /hostname, /file?path=, /resolve?name=, /fetch?url= with what the commands of these names print;
// /print?text= by printing the text to standard output; everything else with a greeting. What comes to the same port by UDP is sent back.
func serve(ctx context.Context, words []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	port := flags.Int("port", 8080, "port to listen on")
	text := flags.String("text", "hello", "the greeting")
	_ = flags.Parse(words)
	address := ":" + strconv.Itoa(*port)
	datagrams, err := net.ListenPacket("udp4", address)
	if err != nil {
		return err
	}
	go sendBack(ipv4.NewPacketConn(datagrams))
	server := &http.Server{
		Addr:              address,
		ReadHeaderTimeout: 5 * time.Second,
		Handler:           pages(*text),
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// sendBack answers from the address that was asked, which of a machine with several is not a matter of course.
func sendBack(datagrams *ipv4.PacketConn) {
	_ = datagrams.SetControlMessage(ipv4.FlagDst, true)
	content := make([]byte, 512)
	for {
		if size, asked, sender, err := datagrams.ReadFrom(content); err == nil {
			_, _ = datagrams.WriteTo(content[:size], &ipv4.ControlMessage{Src: asked.Dst}, sender)
		}
	}
}

func pages(greeting string) http.Handler {
	mux := http.NewServeMux()
	page := func(path string, answer func(w io.Writer, r *http.Request) error) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if err := answer(w, r); err != nil {
				http.Error(w, err.Error(), http.StatusBadGateway)
			}
		})
	}
	page("/", func(w io.Writer, r *http.Request) error {
		host, _ := os.Hostname()
		_, err := fmt.Fprintf(w, "%s from %s to %s\n", greeting, host, r.RemoteAddr)
		return err
	})
	page("/env", func(w io.Writer, _ *http.Request) error {
		_, err := fmt.Fprintln(w, strings.Join(os.Environ(), "\n"))
		return err
	})
	page("/hostname", func(w io.Writer, _ *http.Request) error {
		host, err := os.Hostname()
		fmt.Fprintln(w, host)
		return err
	})
	page("/file", func(w io.Writer, r *http.Request) error { return copyFile(w, r.FormValue("path")) })
	page("/fetch", func(w io.Writer, r *http.Request) error {
		return show(r.Context(), w, plain, r.FormValue("url"), nil)
	})
	page("/resolve", func(w io.Writer, r *http.Request) error {
		addresses, err := lookup(r.Context(), r.FormValue("name"))
		if err == nil {
			_, err = fmt.Fprint(w, addresses)
		}
		return err
	})
	page("/print", func(_ io.Writer, r *http.Request) error {
		_, err := fmt.Println(r.FormValue("text"))
		return err
	})
	return mux
}
