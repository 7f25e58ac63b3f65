package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"time"
)

// floods are what a noisy neighbour does, as fast as it can but no longer than it is told to, and bounded in number.
var floods = map[string]func(ctx context.Context, word string) error{
	"cpu":    floodCPU,
	"memory": floodMemory,
	"forks":  floodForks,
	"disk":   floodDisk,
	"lists":  floodLists,
}

const (
	mostForks    = 400
	mostMemory   = 4 << 30
	fileSize     = 16 << 20
	filesOfDisk  = 4
	listsAtATime = 8
)

func flood(ctx context.Context, words []string) error {
	run, known := floods[words[0]]
	seconds, err := strconv.ParseFloat(words[1], 64)
	if !known || err != nil {
		return fmt.Errorf("flood %s %s: give cpu, memory, forks, disk or lists, and a number of seconds", words[0], words[1])
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(seconds*float64(time.Second)))
	defer cancel()
	word := ""
	if len(words) > 2 {
		word = words[2]
	}
	return run(ctx, word)
}

func floodCPU(ctx context.Context, _ string) error {
	return inParallel(runtime.NumCPU(), func() error {
		for ctx.Err() == nil {
			for range 1 << 20 {
			}
		}
		return nil
	})
}

// floodMemory is killed by the limit of its pod long before it has taken all that it may.
func floodMemory(ctx context.Context, _ string) error {
	var taken [][]byte
	for size := 0; size < mostMemory && ctx.Err() == nil; size += fileSize {
		piece := make([]byte, fileSize)
		for at := 0; at < len(piece); at += 4096 {
			piece[at] = 1
		}
		taken = append(taken, piece)
	}
	<-ctx.Done()
	runtime.KeepAlive(taken)
	return nil
}

func floodForks(ctx context.Context, _ string) error {
	started, refused := 0, 0
	for ctx.Err() == nil {
		var children []*exec.Cmd
		for range mostForks {
			child := exec.CommandContext(ctx, os.Args[0], "sleep", "1")
			if child.Start() != nil {
				refused++
				continue
			}
			children = append(children, child)
		}
		started += len(children)
		for _, child := range children {
			_ = child.Wait()
		}
	}
	fmt.Println(started, "started,", refused, "refused")
	return nil
}

func floodDisk(ctx context.Context, folder string) error {
	piece := make([]byte, fileSize)
	for number := 0; ctx.Err() == nil; number++ {
		file, err := os.Create(filepath.Join(folder, strconv.Itoa(number%filesOfDisk)))
		if err != nil {
			return err
		}
		_, err = file.Write(piece)
		if err == nil {
			err = file.Sync()
		}
		file.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// floodLists asks the pod's own API server for everything under a path, again and again.
func floodLists(ctx context.Context, path string) error {
	var lock sync.Mutex
	answers := 0
	err := inParallel(listsAtATime, func() error {
		for ctx.Err() == nil {
			if askCluster(ctx, io.Discard, path) == nil {
				lock.Lock()
				answers++
				lock.Unlock()
			}
		}
		return nil
	})
	fmt.Println(answers, "answers")
	return err
}

func inParallel(number int, run func() error) error {
	var group sync.WaitGroup
	failures := make(chan error, number)
	for range number {
		group.Add(1)
		go func() {
			defer group.Done()
			failures <- run()
		}()
	}
	group.Wait()
	close(failures)
	for failure := range failures {
		if failure != nil {
			return failure
		}
	}
	return nil
}
