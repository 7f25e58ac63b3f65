// Package componentargs merges what k3s passes to a Kubernetes component with what its administrator adds.
package componentargs

import (
	"maps"
	"slices"
	"strings"
)

// Merge renders args as flags. Each extra is "name=value", or "name" for "name=true"; it replaces k3s's own
// value, and repeated extras are all passed on.
func Merge(args map[string]string, extra []string) []string {
	args = maps.Clone(args)
	var added []string
	for _, e := range extra {
		name, value := split(e)
		delete(args, name)
		added = append(added, "--"+name+"="+value)
	}
	var flags []string
	for _, name := range slices.Sorted(maps.Keys(args)) {
		flags = append(flags, "--"+name+"="+args[name])
	}
	return append(flags, added...)
}

// Names says whether one of the extras sets the flag.
func Names(extra []string, flag string) bool {
	return slices.ContainsFunc(extra, func(e string) bool {
		name, _ := split(e)
		return name == flag
	})
}

func split(extra string) (name, value string) {
	name, value, hasValue := strings.Cut(strings.TrimLeft(extra, "-"), "=")
	if !hasValue {
		value = "true"
	}
	return name, value
}
