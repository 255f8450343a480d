package orrery_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// quoted is a Go block of CONTRIBUTING.md that names the file it quotes.
var quoted = regexp.MustCompile("(?ms)^```go (\\S+)\n(.*?)^```$")

// TestContributingQuotes: the guide's code is the code. Whole files are quoted,
// so that a reader can start from a copy.
func TestContributingQuotes(t *testing.T) {
	guide, err := os.ReadFile("CONTRIBUTING.md")
	require.NoError(t, err)
	blocks := quoted.FindAllStringSubmatch(string(guide), -1)
	require.Equal(t, strings.Count(string(guide), "```go"), len(blocks), "a Go block names no file")
	require.GreaterOrEqual(t, len(blocks), 4)
	for _, b := range blocks {
		file, err := os.ReadFile(b[1])
		require.NoError(t, err)
		require.Equal(t, string(file), b[2], "CONTRIBUTING.md quotes %s: quote it anew", b[1])
	}
}

// TestLintVersion: the pinned version is the same wherever it is named.
func TestLintVersion(t *testing.T) {
	version := regexp.MustCompile(`v2\.\d+\.\d+`)
	run, err := os.ReadFile(".ci/run")
	require.NoError(t, err)
	pinned := regexp.MustCompile(`GOLANGCI_VERSION=(v[0-9.]+)`).FindSubmatch(run)
	require.NotNil(t, pinned)
	for _, name := range []string{".golangci.yml", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Equal(t, string(pinned[1]), version.FindString(string(text)), name)
	}
}
