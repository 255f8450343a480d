package main

import (
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

var printedBlock = regexp.MustCompile(`(?s)(<!-- printed by: sim ([^\n]*?) -->\n).*?(<!-- end -->\n)`)

// What docs/schedules.md says that the program prints is what it prints: run this
// test with -update.
func TestScheduleDocsAreCurrent(t *testing.T) {
	var commands []string
	holdPage(t, "schedules.md", func(have string) string {
		return printedBlock.ReplaceAllStringFunc(have, func(block string) string {
			m := printedBlock.FindStringSubmatch(block)
			commands = append(commands, m[2])
			return m[1] + "\n" + simPrints(t, m[2]) + "\n" + m[3]
		})
	})
	require.Equal(t, []string{"schedule all --stages 4 --microbatches 8 --markdown", "schedule all --stages 8 --microbatches 32 --markdown"}, commands)
}
