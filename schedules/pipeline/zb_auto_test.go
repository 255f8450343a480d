package pipeline

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// TestZBAutoVectors compares every row of vectors.csv of zb_auto.
func TestZBAutoVectors(t *testing.T) {
	compared := 0
	for _, row := range table(t, filepath.Join(sharedSchedules(t), "vectors.csv")) {
		if row["schedule"] != "zb_auto" {
			continue
		}
		var limit float64
		_, err := fmt.Sscanf(row["params"], "limit=%g", &limit)
		require.NoError(t, err)
		shape := Shape{Devices: number(t, row, "p"), Virtual: 1, Microbatches: number(t, row, "m"), Slices: 1}
		s, err := ZBAuto{Limit: limit}.Order(shape, rowCosts(t, row))
		require.NoError(t, err, "%v", row)
		r, err := Simulate(s, shape, rowCosts(t, row))
		require.NoError(t, err)
		require.EqualValues(t, number(t, row, "makespan"), r.Makespan, "%v", row)
		require.EqualValues(t, number(t, row, "max_device_span"), slices.Max(r.Span), "%v", row)
		require.Equal(t, row["peak_activations_per_stage"], strings.Trim(fmt.Sprint(r.Peak), "[]"), "%v", row)
		compared++
	}
	require.NotZero(t, compared)
	t.Logf("%d rows compared", compared)
}

// Whatever the costs, the order is whole, can be run, and holds its limit.
func TestZBAuto(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape := Shape{Devices: rapid.IntRange(1, 6).Draw(t, "p"), Virtual: 1, Microbatches: rapid.IntRange(1, 20).Draw(t, "m"), Slices: 1}
		limit := float64(rapid.IntRange(shape.Devices, 3*shape.Devices).Draw(t, "limit"))
		c := drawCosts(t)
		c.F, c.I, c.W = c.F+1, c.I+1, c.W+1 // ties would be ordered by phase
		s, err := ZBAuto{Limit: limit}.Order(shape, c)
		require.NoError(t, err)
		r, err := Simulate(s, shape, c)
		require.NoError(t, err)
		// the reference counts half of the activations as freed by I
		for d := range r.Peak {
			require.LessOrEqual(t, float64(r.PeakInputOnly[d]), limit)
		}
	})
	_, err := ZBAuto{Limit: 0.5}.Order(Shape{Devices: 2, Virtual: 1, Microbatches: 2}, Costs{F: 1, I: 1, W: 1})
	require.ErrorContains(t, err, "at least one is held")
}
