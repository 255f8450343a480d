package pipeline

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// starts are those of forwards and of backwards for inputs, or of fused ones.
func starts(t *Timing) map[Slot]unit.Time {
	out := map[Slot]unit.Time{}
	for d, slots := range t.Order {
		for i, slot := range slots {
			if slot.Phase == I {
				slot.Phase = B
			}
			out[slot] = t.Start[d][i]
		}
	}
	return out
}

func drawPieces(t *rapid.T) (Shape, Costs, int) {
	shape := Shape{Devices: size(t, "p", 1, 6), Virtual: size(t, "v", 1, 3), Microbatches: size(t, "m", 1, 6), Slices: size(t, "n", 1, 6)}
	return shape, drawCosts(t), size(t, "pieces", 1, 5)
}

// Whatever is drawn: every weight gradient runs in so many pieces behind its
// backward, passes do not overlap and work is conserved; the forwards and
// backwards are the schedule's and start no later than where backwards are fused;
// a device ends later by no more than it waited with pieces at hand that did not fit.
func TestMEPipePieces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		shape, c, pieces := drawPieces(t)
		fused, err := Simulate(mePipe{}, shape, c)
		if err != nil {
			t.Skip(err)
		}
		limit := 0
		if size(t, "limited", 0, 1) == 1 {
			limit = fused.Peak[0] + size(t, "more", 0, 20)
		}
		r, err := MEPipePieces(shape, pieces, limit, c)
		require.NoError(t, err)
		if limit == 0 {
			limit = fused.Peak[0]
		}
		is := starts(r)
		for slot, start := range starts(fused) {
			require.LessOrEqual(t, is[slot], start, "%v", slot)
		}
		for d, slots := range r.Order {
			var kept []Slot
			free, cut, held, most, due := unit.Time(0), map[Slot]int{}, 0, 0, 0
			var waited unit.Time
			for i, slot := range slots {
				require.GreaterOrEqual(t, r.Start[d][i], free)
				if due > 0 {
					waited += r.Start[d][i] - free
					require.LessOrEqual(t, r.Start[d][i]-free, c.W/unit.Time(pieces)+1, "a piece would have fit")
				}
				free = r.End[d][i]
				switch slot.Phase {
				case W:
					due--
					require.GreaterOrEqual(t, due, 0, "%v runs before its backward", slot)
					if cut[slot]++; cut[slot] == pieces {
						held--
					}
				case I:
					due += pieces
					slot.Phase = B
					kept = append(kept, slot)
				default:
					held++
					most = max(most, held)
					kept = append(kept, slot)
				}
			}
			require.Equal(t, fused.Order[d], kept)
			require.Len(t, cut, len(kept)/2)
			for slot, n := range cut {
				require.Equal(t, pieces, n, "%v", slot)
			}
			require.Equal(t, fused.Busy[d], r.Busy[d], "work is not conserved")
			require.Equal(t, most, r.Peak[d])
			require.LessOrEqual(t, most, limit)
			require.Equal(t, fused.PeakInputOnly[d], r.PeakInputOnly[d])
			was := fused.End[d][len(fused.End[d])-1]
			require.LessOrEqual(t, free, was+waited)
			require.LessOrEqual(t, free, r.Makespan)
		}
	})
}

// Put off where they would delay the stages before, weight gradients leave the
// bubble of ZB-H1 at its memory.
func TestMEPipePiecesFillBubbles(t *testing.T) {
	shape, c := Shape{Devices: 4, Virtual: 1, Microbatches: 8, Slices: 1}, Costs{F: 10, I: 10, W: 10}
	fused, err := Simulate(mePipe{}, shape, c)
	require.NoError(t, err)
	require.EqualValues(t, 11*30, fused.Makespan)
	r, err := MEPipePieces(shape, 5, 0, c)
	require.NoError(t, err)
	h1, err := Simulate(zbH1{}, shape, c)
	require.NoError(t, err)
	require.Equal(t, h1.Makespan, r.Makespan)
	require.Equal(t, h1.Peak, r.Peak)
}

// Where a device waits for less than a piece at a time its pieces are left for the
// end, and the step may take longer than with fused backwards. Smaller pieces fit.
func TestMEPipePiecesTooLarge(t *testing.T) {
	shape, c := Shape{Devices: 2, Virtual: 3, Microbatches: 1, Slices: 3}, Costs{W: 5, Comm: 2}
	fused, err := Simulate(mePipe{}, shape, c)
	require.NoError(t, err)
	whole, err := MEPipePieces(shape, 1, 0, c)
	require.NoError(t, err)
	require.Greater(t, whole.Makespan, fused.Makespan)
	cut, err := MEPipePieces(shape, 5, 0, c)
	require.NoError(t, err)
	require.Less(t, cut.Makespan, fused.Makespan)
}

func TestMEPipePiecesRefuses(t *testing.T) {
	shape, c := Shape{Devices: 4, Virtual: 2, Microbatches: 4, Slices: 4}, Costs{F: 1, I: 1, W: 1}
	_, err := MEPipePieces(shape, 0, 0, c)
	require.ErrorContains(t, err, "0 pieces")
	_, err = MEPipePieces(shape, 1<<40, 0, c)
	require.ErrorContains(t, err, "no more than 33554432 in all")
	_, err = MEPipePieces(shape, 2, 10, c)
	require.ErrorContains(t, err, "a limit of 10 slices is below the 11")
	_, err = MEPipePieces(shape, 2, 0, Costs{W: -1})
	require.ErrorContains(t, err, "negative")
	_, err = MEPipePieces(Shape{Devices: 4, Virtual: 3, Microbatches: 9, Group: 1}, 2, 0, c)
	require.ErrorContains(t, err, "fewer passes than the 4 devices")
}
