package report_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/compare"
	"orrery/sim/report"
)

// Comparisons of scenarios that have little in common fit 80 columns.
func TestCompare(t *testing.T) {
	side := func(name string) compare.Side {
		res, err := scenarios.Load(name, nil)
		require.NoError(t, err)
		run, err := sim.Simulate(context.Background(), &res.Scenario, sim.Options{})
		require.NoError(t, err)
		return compare.Side{Result: run.Result, Inputs: res.Origins}
	}
	a := side("llama3-8b-h200-fsdp")
	for _, name := range []string{"deepseek-v3-gb200", "quickstart", "long-context/llama-70b-512k-256-slimpipe"} {
		var b bytes.Buffer
		require.NoError(t, report.Compare(&b, compare.Compare(a, side(name)), false))
		require.Contains(t, b.String(), "note: ")
		for line := range strings.Lines(b.String()) {
			require.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), report.Width, line)
		}
	}
}
