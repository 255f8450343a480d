package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	consoleBlock = regexp.MustCompile("(?s)(```console\n\\$ sim ((?:[^\n]*\\\\\n)*[^\n]*)\n)(.*?)(```\n)")
	fileBlock    = regexp.MustCompile("(?s)<!-- file: ([a-z.]+) -->\n```[a-z]*\n(.*?)```\n")
)

// docs/better-schedule.md shows what its commands print, run one after the other in a
// folder with its files: run this test with -update.
func TestOrderSearchDocsAreCurrent(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of searching: not with -short")
	}
	path, err := filepath.Abs("../../docs/better-schedule.md")
	require.NoError(t, err)
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	files := fileBlock.FindAllStringSubmatch(string(have), -1)
	require.NotEmpty(t, files)
	for _, f := range files {
		require.NoError(t, os.WriteFile(f[1], []byte(f[2]), 0o644))
	}
	commands := 0
	want := consoleBlock.ReplaceAllStringFunc(string(have), func(block string) string {
		m := consoleBlock.FindStringSubmatch(block)
		commands++
		return m[1] + simPrints(t, m[2]) + m[4]
	})
	require.Equal(t, 6, commands)
	want = between(t, want, "memory", memoryTable(t))
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(have), "docs/better-schedule.md is not current: go test ./cmd/sim -run Docs -update")
}

// simPrints runs a command line of a page.
func simPrints(t *testing.T, line string) string {
	var out, errs bytes.Buffer
	args := strings.Fields(strings.ReplaceAll(line, "\\\n", " "))
	code := runMain(context.Background(), args, &streams{out: &out, err: &errs})
	require.Zero(t, code, "%s: %s", line, errs.String())
	return out.String()
}

// memoryTable is the order found and the best named schedule by memory.
func memoryTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("\n| activations | found | over the bound | best named | makespan | longer by |\n|--:|--:|--:|---|--:|--:|\n")
	for _, limit := range []int{10, 12, 14, 16} {
		text := simPrints(t, fmt.Sprintf("search --schedule --stages 8 --virtual 2 --placement v --microbatches 24 --cost 18.522,18.086,9.337 --comm 0.601 --memory-limit %d --budget 4000 --json", limit))
		r := searchReport{scheduleReport: &scheduleReport{}} // its own pointer json cannot set
		require.NoError(t, json.Unmarshal([]byte(text), &r))
		for _, n := range r.Compared {
			if n.Fits { // the first is the shortest
				fmt.Fprintf(&b, "| %d | %.1f | %.2f %% | `%s` | %.1f | %.2f %% |\n", limit, r.Makespan, 100*r.Gap, n.Schedule, n.Makespan, 100*n.Over)
				break
			}
		}
	}
	return b.String() + "\n"
}
