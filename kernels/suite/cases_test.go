package suite

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"orrery/kernels/bench"
	"orrery/kernels/measure"
	"orrery/sim/cost"
)

// Every case has a name of its own, bytes, a reference and code; the most
// informative come first.
func TestCases(t *testing.T) {
	seen := map[string]bool{}
	total := 0
	for _, s := range bench.Suites() {
		require.NoError(t, s.Missing(), s.Name)
		cases := s.Cases()
		require.NotEmpty(t, cases, s.Name)
		for i, c := range cases {
			require.False(t, seen[c.ID()], "%s twice", c.ID())
			seen[c.ID()] = true
			require.Len(t, c.Hash, 12, c.ID())
			require.NotNil(t, c.Prepare)
			require.Positive(t, c.Weight, c.ID())
			if c.Family == "memory_bound" {
				require.Positive(t, c.Bytes, c.ID())
				require.Contains(t, string(c.Shape), "read=")
			}
			if i > 0 {
				require.LessOrEqual(t, c.Weight, cases[i-1].Weight, c.ID())
			}
		}
		total += len(cases)
	}
	require.Greater(t, total, 300)
}

// Ops that steps are priced with have cases, but for those that no kernel of
// this project is.
func TestOpsOfStepsAreMeasured(t *testing.T) {
	measured := map[string]bool{}
	for _, s := range bench.Suites() {
		for _, c := range s.Cases() {
			op := c.Kernel
			measured[op] = true
			for _, pair := range strings.Fields(string(c.Shape)) {
				if v, ok := strings.CutPrefix(pair, "op="); ok {
					op = v
				}
			}
			measured[op] = true
		}
	}
	foreign := map[string]bool{"rmsnorm_vllm": true, "gelu": true, "layernorm": true, "layernorm_bwd": true, "scale": true, "transpose_cast_fp8": true}
	for _, op := range cost.MemoryOps() {
		require.True(t, measured[op] || foreign[op], "%s has no case", op)
	}
}

// A case of each suite runs whole on the emulator: checked, warmed up, timed.
func TestSuitesRun(t *testing.T) {
	dev := emulated(t)
	at := time.Unix(0, 0)
	opt := measure.Options{Now: func() time.Time { at = at.Add(time.Second); return at }, MinSamples: 2, MaxSamples: 2}
	for _, want := range []string{"memory_bound/hbm_copy/bf16/read=4096 write=4096 op=copy", "launch/nothing/none/kind=event", "launch/nothing/none/kind=graph"} {
		found := false
		for _, s := range bench.Suites() {
			for _, c := range s.Cases() {
				if c.ID() != want {
					continue
				}
				found = true
				row, err := measure.Case(context.Background(), dev, c, opt)
				require.NoError(t, err)
				require.Equal(t, want, row.ID())
				require.Positive(t, row.Median)
			}
		}
		require.True(t, found, want)
	}
	for _, c := range clockCases() {
		if strings.Contains(string(c.Shape), "kind=clock") {
			p, err := c.Prepare(context.Background(), dev, 1)
			require.NoError(t, err)
			require.NoError(t, p.Close())
		}
	}
}
