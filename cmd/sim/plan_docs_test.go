package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// elided stands for any lines of a command's output.
const elided = "…"

// fenced finds the code blocks of a page: language, what follows it, content.
var fenced = regexp.MustCompile("(?ms)^```(\\w+) ?([^\n]*)\n(.*?)^```$")

// anchor is the start of a line up to its first figure, which finds it again when
// figures have changed.
func anchor(line string) string {
	if i := strings.IndexAny(line, "0123456789"); i >= 0 {
		line = line[:i]
	}
	return strings.TrimRight(line, " ─$")
}

// fill is what a page shows, taken from an output: chunks between elisions keep
// their length and begin where their first line does. ok is false where an output
// has no such line.
func fill(want, output []string) (lines []string, ok bool) {
	at := 0
	for i := 0; i < len(want); {
		if want[i] == elided {
			lines = append(lines, elided)
			i++
			continue
		}
		n := 1
		for i+n < len(want) && want[i+n] != elided {
			n++
		}
		start := slices.IndexFunc(output[at:], func(l string) bool { return strings.HasPrefix(l, anchor(want[i])) })
		if start < 0 || at+start+n > len(output) || i == 0 && start > 0 {
			return nil, false
		}
		at += start
		lines = append(lines, output[at:at+n]...)
		at, i = at+n, i+n
	}
	return lines, at == len(output) || want[len(want)-1] == elided
}

// Every command of the page is run in a folder with the page's files, and prints
// what the page shows: run this test with -update after results have changed.
func TestPlanAClusterDocs(t *testing.T) {
	path, err := filepath.Abs("../../docs/plan-a-cluster.md")
	require.NoError(t, err)
	page, err := os.ReadFile(path)
	require.NoError(t, err)
	t.Chdir(t.TempDir())
	commands := 0
	out := fenced.ReplaceAllStringFunc(string(page), func(block string) string {
		m := fenced.FindStringSubmatch(block)
		switch m[1] {
		case "toml":
			require.NoError(t, os.WriteFile(m[2], []byte(m[3]), 0o644))
			return block
		case "console":
		default:
			t.Fatalf("a block of %q, which nothing tests", m[1])
		}
		commands++
		lines := strings.Split(strings.TrimSuffix(m[3], "\n"), "\n")
		args, found := strings.CutPrefix(lines[0], "$ sim ")
		require.True(t, found, lines[0])
		var output, errs bytes.Buffer
		code := runMain(context.Background(), strings.Fields(args), &streams{out: &output, err: &errs})
		require.Zero(t, code, "%s: %s", args, errs.String())
		have, ok := fill(lines[1:], strings.Split(strings.TrimRight(output.String(), "\n"), "\n"))
		require.True(t, ok, "sim %s does not print what the page shows:\n%s", args, output.String())
		if !*update {
			require.Equal(t, lines[1:], have, "docs/plan-a-cluster.md is not current: go test ./cmd/sim -run Docs -update")
		}
		return "```console\n" + lines[0] + "\n" + strings.Join(have, "\n") + "\n```"
	})
	require.GreaterOrEqual(t, commands, 5)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(out), 0o644))
	}
}
