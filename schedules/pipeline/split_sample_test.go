package pipeline

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/sim/unit"
)

// Rows of vectors.csv of schedules with split backward or two copies of each stage, transcribed so that they
// are tested everywhere: makespan, longest device span and peak activations, which
// its authors computed with the reference code of each schedule.
var splitSample = []struct {
	name           string
	shape          Shape
	costs          Costs
	makespan, span unit.Time
	peak           []int
}{
	{"zb_h1", Shape{Devices: 4, Virtual: 1, Microbatches: 8}, Costs{F: 1, I: 1, W: 1, Comm: 0}, 27, 27, []int{4, 4, 4, 4}},
	{"zb_h1", Shape{Devices: 4, Virtual: 1, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 0}, 282, 282, []int{4, 4, 4, 4}},
	{"zb_h1", Shape{Devices: 4, Virtual: 1, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 294, 294, []int{4, 4, 4, 4}},
	{"zb_h2", Shape{Devices: 4, Virtual: 1, Microbatches: 8}, Costs{F: 1, I: 1, W: 1, Comm: 0}, 27, 24, []int{7, 7, 7, 7}},
	{"zb_h2", Shape{Devices: 4, Virtual: 1, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 0}, 270, 258, []int{7, 7, 7, 7}},
	{"zb_h2", Shape{Devices: 4, Virtual: 1, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 273, 264, []int{7, 7, 7, 7}},
	{"zbv", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 1, I: 1, W: 1, Comm: 0}, 51, 48, []int{8, 8, 8, 8}},
	{"zbv", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 0}, 516, 504, []int{8, 8, 8, 8}},
	{"zbv", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 529, 520, []int{8, 8, 8, 8}},
	{"vhalf", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 1, I: 1, W: 1, Comm: 0}, 53, 53, []int{6, 6, 6, 6}},
	{"vhalf", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 0}, 558, 558, []int{6, 6, 6, 6}},
	{"vhalf", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 576, 576, []int{6, 6, 6, 6}},
	{"vmin", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 1, I: 1, W: 1, Comm: 0}, 59, 59, []int{4, 4, 4, 4}},
	{"vmin", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 0}, 688, 688, []int{4, 4, 4, 4}},
	{"vmin", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 728, 728, []int{4, 4, 4, 4}},
	{"torch_interleaved_zb", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 1, I: 1, W: 1, Comm: 0}, 51, 51, []int{8, 8, 8, 8}},
	{"torch_interleaved_zb", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 0}, 522, 522, []int{8, 8, 8, 8}},
	{"torch_interleaved_zb", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 538, 538, []int{8, 8, 8, 8}},
	{"dualpipev", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 1, I: 1, W: 1, Comm: 0}, 54, 54, []int{9, 9, 9, 9}},
	{"dualpipev", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 0}, 552, 552, []int{9, 9, 9, 9}},
	{"dualpipev", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 570, 570, []int{9, 9, 9, 9}},
	{"dualpipe", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 1, I: 1, W: 1, Comm: 0}, 26, 26, []int{5, 5, 5, 5}},
	{"dualpipe", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 0}, 264, 264, []int{5, 5, 5, 5}},
	{"dualpipe", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 273, 273, []int{5, 5, 5, 5}},
	{"dualpipe", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 2, I: 3, W: 1, Comm: 0}, 54, 54, []int{5, 5, 5, 5}},
	{"chimera", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 1, I: 1, W: 1, Comm: 0}, 30, 30, []int{3, 4, 4, 3}},
	{"chimera", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 0}, 300, 300, []int{3, 4, 4, 3}},
	{"chimera", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 10, I: 12, W: 8, Comm: 1}, 311, 311, []int{3, 4, 4, 3}},
	{"chimera", Shape{Devices: 4, Virtual: 2, Microbatches: 8}, Costs{F: 2, I: 3, W: 1, Comm: 0}, 60, 60, []int{3, 4, 4, 3}},
}

func TestSplitSample(t *testing.T) {
	for _, row := range splitSample {
		s, err := Lookup(row.name)
		require.NoError(t, err)
		r, err := Simulate(s, row.shape, row.costs)
		require.NoError(t, err, "%+v", row)
		require.Equal(t, row.makespan, r.Makespan, "%+v", row)
		require.Equal(t, row.span, slices.Max(r.Span), "%+v", row)
		require.Equal(t, row.peak, r.Peak, "%+v", row)
	}
}
