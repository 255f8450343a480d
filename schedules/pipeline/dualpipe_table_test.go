package pipeline

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// The comparison table of deepseek-ai/DualPipe, for PP stages: bubbles of
// (PP-1)(F+B) in 1F1B, (PP-1)(F+B-2W) in ZB1P and (PP/2-1)(F&B+B-3W) in
// DualPipeV, which holds two of the PP stages on each of PP/2 devices (parameters
// 2x); activations of PP, PP and PP+1 stages. A pair F&B is timed as F+B here.
// The forms are exact where W takes no longer than F, and DualPipeV's where F
// and I take the same, as the table's single B beside F has it.
func TestDualPipeTable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		half := size(t, "PP/2", 1, 6)
		pp, m := 2*half, 2*half+size(t, "more microbatches", 0, 12)
		f := unit.Time(size(t, "F", 1, 40))
		w := unit.Time(size(t, "W", 0, int(f)))
		c := Costs{F: f, I: f, W: w}
		b := c.I + c.W
		for _, row := range []struct {
			name         string
			shape        Shape
			bubble       unit.Time
			stages, held int
		}{
			{"1f1b", Shape{Devices: pp, Virtual: 1, Microbatches: m}, unit.Time(pp-1) * (f + b), pp, 1},
			{"zb_h1", Shape{Devices: pp, Virtual: 1, Microbatches: m}, unit.Time(pp-1) * (f + b - 2*w), pp, 1},
			{"dualpipev", Shape{Devices: half, Virtual: 2, Microbatches: m}, unit.Time(half-1) * ((f + b) + b - 3*w), pp + 1, 2},
		} {
			r := simulated(t, row.name, row.shape, c)
			require.Equal(t, row.bubble, r.Makespan-r.Busy[0], row.name)
			require.Equal(t, row.stages, r.Peak[0], row.name)
			held := map[int32]bool{}
			for _, slot := range r.Order[0] {
				held[slot.Stage] = true
			}
			require.Len(t, held, row.held, row.name)
		}
	})
}
