package report_test

import (
	"bytes"
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim/capacity"
	"orrery/sim/report"
)

// What is printed fits 80 columns, names every machine, and says why one is not
// possible and where assumptions are from.
func TestCapacity(t *testing.T) {
	for text, want := range map[string][]string{
		"train.tokens = 2e11\n[[option]]\ngpus = [8, 64]":                                         {"<- cheapest", "not possible: 8 x h100", "where the time goes", "1 % more than", "Llama 3, arXiv:2407.21783"},
		"[train]\ntokens = 1e12\nstart = 2026-01-01\nby = 2026-02-01":                             {"<- cheapest in time", "too late", "deadline", "from 2026-01-01"},
		"train.days = 0.5\ntrain.tokens = 1e13":                                                   {"no machine of the plan can run the job within 0.5 days"},
		"train.days = 3\n[failures]\npreset = \"none\"\n[[expect]]\nmetric = \"days\"\nvalue = 3": {"nothing fails", "held against"},
	} {
		c, err := scenarios.ParseCapacity("case.toml", []byte("scenario = \"quickstart\"\ncheckpoint.storage_gbps = 100\n"+text))
		require.NoError(t, err)
		r, err := capacity.Plan(context.Background(), c)
		require.NoError(t, err)
		var b bytes.Buffer
		require.NoError(t, report.Capacity(&b, r, c.Start, false))
		for _, w := range want {
			require.Contains(t, b.String(), w)
		}
		for line := range strings.Lines(b.String()) {
			require.LessOrEqual(t, len([]rune(strings.TrimSuffix(line, "\n"))), report.Width, line)
		}
	}
}
