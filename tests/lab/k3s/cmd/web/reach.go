package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"
)

const (
	reachPatience = 3 * time.Second
	reachAgain    = 500 * time.Millisecond // a datagram may be lost without anybody's will
)

// question is what is sent as a datagram: a resolver answers it, and serve sends it back.
var question = []byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x0akubernetes\x07default\x00\x00\x01\x00\x01")

// reach tells of each target, tcp://ADDRESS:PORT or udp://ADDRESS:PORT, whether anything answers there.
func reach(ctx context.Context, targets []string) error {
	answers := make([]string, len(targets))
	var all sync.WaitGroup
	for i, target := range targets {
		all.Add(1)
		go func() {
			defer all.Done()
			answers[i] = "open"
			if err := try(ctx, target); err != nil {
				answers[i] = "closed " + err.Error()
			}
		}()
	}
	all.Wait()
	for i, target := range targets {
		fmt.Println(target, answers[i])
	}
	return nil
}

func try(ctx context.Context, target string) error {
	network, address, found := strings.Cut(target, "://")
	if !found || network != "tcp" && network != "udp" {
		return errors.New("not a target")
	}
	ctx, cancel := context.WithTimeout(ctx, reachPatience)
	defer cancel()
	connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	defer connection.Close()
	if network == "tcp" {
		return nil
	}
	for answer := make([]byte, 512); ; {
		if _, err := connection.Write(question); err != nil {
			return err
		}
		_ = connection.SetReadDeadline(time.Now().Add(reachAgain))
		_, err := connection.Read(answer)
		var timeout net.Error
		if err == nil || ctx.Err() != nil || !errors.As(err, &timeout) || !timeout.Timeout() {
			return err
		}
	}
}
