package pipeline

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// The pipeline fills once a run: T = (batches*m + p-1)(F+B), with p-d microbatches
// held however many batches there are.
func TestPipeDream2BW(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.IntRange(1, 8).Draw(t, "p")
		m := rapid.IntRange(p, 3*p).Draw(t, "m")
		batches := rapid.IntRange(1, 5).Draw(t, "batches")
		c := drawCosts(t)
		c.Comm = 0
		r, err := PipeDream2BW(Shape{Devices: p, Virtual: 1, Microbatches: m}, batches, c)
		require.NoError(t, err)
		require.Equal(t, unit.Time(batches*m+p-1)*(c.F+c.I+c.W), r.Makespan)
		for d, peak := range r.Peak {
			require.Equal(t, p-d, peak)
		}
	})
	require.Equal(t, []int{0, 0, 1, 2}, []int{WeightVersion2BW(0), WeightVersion2BW(1), WeightVersion2BW(2), WeightVersion2BW(3)})
	_, err := PipeDream2BW(Shape{Devices: 4, Virtual: 1, Microbatches: 3}, 2, Costs{})
	require.ErrorContains(t, err, "3 microbatches a batch are fewer than the 4 devices")
	_, err = PipeDream2BW(Shape{Devices: 4, Virtual: 1, Microbatches: 4}, 0, Costs{})
	require.ErrorContains(t, err, "batches: 0")
	_, err = PipeDream2BW(Shape{Devices: 4, Virtual: 1, Microbatches: 4}, 1<<60, Costs{})
	require.ErrorContains(t, err, "more than")
}
