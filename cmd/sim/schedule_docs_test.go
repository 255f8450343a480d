package main

import (
	"bytes"
	"context"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var printedBlock = regexp.MustCompile(`(?s)(<!-- printed by: sim ([^\n]*?) -->\n).*?(<!-- end -->\n)`)

// What docs/schedules.md says that the program prints is what it prints: run this
// test with -update.
func TestScheduleDocsAreCurrent(t *testing.T) {
	const path = "../../docs/schedules.md"
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	var commands []string
	want := printedBlock.ReplaceAllStringFunc(string(have), func(block string) string {
		m := printedBlock.FindStringSubmatch(block)
		commands = append(commands, m[2])
		var out, errs bytes.Buffer
		code := runMain(context.Background(), strings.Fields(m[2]), &streams{out: &out, err: &errs})
		require.Zero(t, code, "%s: %s", m[2], errs.String())
		return m[1] + "\n" + out.String() + "\n" + m[3]
	})
	require.Equal(t, []string{"schedule all --stages 4 --microbatches 8 --markdown", "schedule all --stages 8 --microbatches 32 --markdown"}, commands)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(have), "docs/schedules.md is not current: go test ./cmd/sim -run Docs -update")
}
