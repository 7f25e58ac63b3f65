package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"
)

var archiveSuffixes = []string{".tar", ".tar.gz", ".tgz", ".tar.zst"}

// archive identifies the content of an image archive without reading it.
type archive struct {
	Size     int64
	Modified time.Time
}

// importImages loads agent/images/*.tar. The record of what was imported lies with containerd's images, so it
// goes when they go.
func (a *Agent) importImages(ctx context.Context) error {
	record := a.path("containerd", "imported.json")
	imported := map[string]archive{}
	if raw, err := os.ReadFile(record); err == nil {
		if err := json.Unmarshal(raw, &imported); err != nil {
			return fmt.Errorf("%s: %w", record, err)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(a.path("images"))
	if err != nil {
		return err
	}
	for _, e := range entries {
		file := a.path("images", e.Name())
		info, err := os.Stat(file) // follows a symbolic link
		if err != nil {
			return err
		}
		now := archive{info.Size(), info.ModTime().UTC()}
		isArchive := slices.ContainsFunc(archiveSuffixes, func(s string) bool { return strings.HasSuffix(file, s) })
		if !isArchive || imported[e.Name()] == now {
			continue
		}
		start := time.Now()
		out, err := a.ctr(ctx, "images", "import", "--snapshotter", a.opts.String("snapshotter"), file).CombinedOutput()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", file, err, strings.TrimSpace(string(out)))
		}
		klog.InfoS("Imported images", "file", filepath.Base(file), "after", time.Since(start).Round(time.Millisecond))
		imported[e.Name()] = now
	}
	raw, err := json.Marshal(imported)
	if err != nil {
		return err
	}
	return os.WriteFile(record, raw, 0o600)
}
