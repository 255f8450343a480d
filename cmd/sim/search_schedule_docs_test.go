package main

import (
	"encoding/json"
	"fmt"
	"os"
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
	holdPage(t, "better-schedule.md", func(have string) string {
		t.Chdir(t.TempDir())
		files := fileBlock.FindAllStringSubmatch(have, -1)
		require.NotEmpty(t, files)
		for _, f := range files {
			require.NoError(t, os.WriteFile(f[1], []byte(f[2]), 0o644))
		}
		commands := 0
		page := consoleBlock.ReplaceAllStringFunc(have, func(block string) string {
			m := consoleBlock.FindStringSubmatch(block)
			commands++
			return m[1] + simPrints(t, m[2]) + m[4]
		})
		require.Equal(t, 6, commands)
		return between(t, page, "memory", memoryTable(t))
	})
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
