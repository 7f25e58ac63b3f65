package options

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// readConfig reads FILE and then FILE.d/*.yaml in lexical order. A later file replaces a key of an earlier
// one; written as "key+" it appends to it.
func readConfig(cmd command, file string, mustExist bool) (map[string][]string, error) {
	dropIns, err := filepath.Glob(filepath.Join(file+".d", "*.y*ml"))
	if err != nil {
		return nil, err
	}
	slices.Sort(dropIns)
	merged := map[string][]string{}
	for i, path := range append([]string{file}, dropIns...) {
		raw, err := os.ReadFile(path)
		if i == 0 && !mustExist && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("config: %w", err)
		}
		if err := mergeConfig(cmd, path, raw, merged); err != nil {
			return nil, err
		}
	}
	return merged, nil
}

func mergeConfig(cmd command, path string, raw []byte, into map[string][]string) error {
	var content map[string]any
	if err := yaml.UnmarshalStrict(raw, &content); err != nil {
		return fmt.Errorf("%s: %s", path, strings.Join(strings.Fields(err.Error()), " ")) // on one line
	}
	for key, value := range content {
		name, appends := strings.CutSuffix(key, "+")
		if err := checkName(cmd, name, fmt.Sprintf("%s: %s", path, name)); err != nil {
			return err
		}
		values, err := scalars(value)
		if err != nil {
			return fmt.Errorf("%s: %s: %w", path, name, err)
		}
		if appends {
			values = append(slices.Clone(into[name]), values...)
		}
		into[name] = values
	}
	return nil
}

func scalars(value any) ([]string, error) {
	list, ok := value.([]any)
	if !ok {
		list = []any{value}
	}
	var out []string
	for _, item := range list {
		switch v := item.(type) {
		case nil:
		case map[string]any, []any:
			return nil, fmt.Errorf("takes a value or a list of values")
		case float64: // every JSON number arrives as one
			out = append(out, strconv.FormatFloat(v, 'f', -1, 64))
		default:
			out = append(out, fmt.Sprint(v))
		}
	}
	return out, nil
}
