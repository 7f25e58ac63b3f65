package componentargs

import (
	"slices"
	"testing"
)

func TestMerge(t *testing.T) {
	defaults := map[string]string{"v": "0", "profiling": "false"}
	got := Merge(defaults, []string{"profiling", "--system-reserved=cpu=1,memory=2Mi", "feature-gates=A=true", "feature-gates=B=true"})
	want := []string{"--v=0", "--profiling=true", "--system-reserved=cpu=1,memory=2Mi", "--feature-gates=A=true", "--feature-gates=B=true"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if defaults["profiling"] != "false" {
		t.Error("the defaults were changed")
	}
}
