package pipeline

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// Properties of the registered schedules beyond those that TestConformance holds
// each to: how one shape's order compares with another's.

// everySchedule runs a property over generated shapes that a schedule accepts.
func everySchedule(t *testing.T, property func(t *rapid.T, s Schedule, shape Shape)) {
	for _, s := range All() {
		shapes := smallShapes(s)
		t.Run(s.Name(), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) { property(t, s, rapid.SampledFrom(shapes).Draw(t, "shape")) })
		})
	}
}

// A stage's passes of a phase over a slice go through the microbatches from first to
// last, or all backwards from last to first: nothing is overtaken.
func TestMicrobatchesInOrder(t *testing.T) {
	everySchedule(t, func(t *rapid.T, s Schedule, shape Shape) {
		order, err := s.Order(shape)
		require.NoError(t, err)
		type row struct {
			device       int
			phase        Phase
			stage, slice int32
		}
		rows := map[row][]int32{}
		for d, slots := range order {
			for _, slot := range slots {
				phase := slot.Phase
				if phase == B {
					phase = I // a stage may have both
				}
				key := row{d, phase, slot.Stage, slot.Slice}
				rows[key] = append(rows[key], slot.Microbatch)
			}
		}
		reversed := false
		for key, list := range rows {
			if !slices.IsSorted(list) && key.phase != F {
				reversed = true
			}
		}
		for key, list := range rows {
			if reversed && key.phase != F {
				slices.Reverse(list)
			}
			require.True(t, slices.IsSorted(list), "%+v: %v", key, list)
		}
	})
}

// No pass starts before the shortest way to it, and the step is not over before the
// shortest way on from a backward.
func TestWaysToAndFromEveryPass(t *testing.T) {
	everySchedule(t, func(t *rapid.T, s Schedule, shape Shape) {
		c := drawCosts(t)
		r, err := Simulate(s, shape, c)
		require.NoError(t, err)
		// way is the transfers below a stage, for a microbatch.
		way := func(slot Slot) unit.Time {
			hops := unit.Time(0)
			for at := slot; at.Stage > 0; {
				on := s.Device(shape, at)
				if at.Stage--; s.Device(shape, at) != on {
					hops += c.Comm
				}
			}
			return hops
		}
		for d, slots := range r.Order {
			for i, slot := range slots {
				switch slot.Phase {
				case F:
					require.GreaterOrEqual(t, r.Start[d][i], unit.Time(slot.Stage)*c.F+way(slot), "%v", slot)
				case B, I:
					require.GreaterOrEqual(t, r.Makespan, r.End[d][i]+unit.Time(slot.Stage)*c.I+way(slot), "%v", slot)
				}
			}
		}
	})
}

// Not only do dearer phases never end earlier (TestConformance): no pass that takes
// longer, and no slower transfer, makes any pass of a fixed order start earlier.
func TestOneDearerPass(t *testing.T) {
	everySchedule(t, func(t *rapid.T, s Schedule, shape Shape) {
		c := drawCosts(t)
		was, err := Simulate(s, shape, c)
		require.NoError(t, err)
		device := rapid.SampledFrom(was.Order).Draw(t, "device")
		dear, more := rapid.SampledFrom(device).Draw(t, "pass"), unit.Time(size(t, "more", 1, 100))
		slower := c
		slower.Vary = func(slot Slot) unit.Time {
			if slot == dear {
				return c.of(slot.Phase) + more
			}
			return c.of(slot.Phase)
		}
		slower.Comm += unit.Time(size(t, "more comm", 0, 9))
		is, err := Simulate(s, shape, slower)
		require.NoError(t, err)
		for d := range was.Order {
			for i := range was.Order[d] {
				require.GreaterOrEqual(t, is.Start[d][i], was.Start[d][i], "%v", was.Order[d][i])
			}
		}
		require.LessOrEqual(t, is.Makespan, was.Makespan+more+unit.Time(2*shape.passes())*(slower.Comm-c.Comm))
	})
}

// More microbatches are never held by fewer activations; from some number on a
// device holds as many whatever their number, unless a schedule runs all forwards
// first, when it holds all of them, or all of the encoder's. Memory is freed to the last.
func TestPeakAgainstMicrobatches(t *testing.T) {
	c := Costs{F: 1, I: 1, W: 1}
	for _, s := range All() {
		t.Run(s.Name(), func(t *testing.T) {
			for _, base := range []Shape{{Devices: 1, Virtual: 1, Slices: 1}, {Devices: 2, Virtual: 1, Slices: 1}, {Devices: 4, Virtual: 1, Slices: 1},
				{Devices: 2, Virtual: 2, Slices: 1}, {Devices: 4, Virtual: 2, Slices: 1}, {Devices: 3, Virtual: 3, Slices: 1}, {Devices: 4, Virtual: 1, Slices: 4}, {Devices: 4, Virtual: 2, Slices: 4}} {
				var before *Timing
				var peaks [][]int
				for m := 1; m <= 40; m++ {
					shape := base
					shape.Microbatches = m
					if s.Check(shape) != nil || strings.HasPrefix(s.Name(), "torch_") && m%base.Devices != 0 {
						continue // PyTorch's rounds of m/(m/p) microbatches differ in size
					}
					r, err := Simulate(s, shape, c)
					require.NoError(t, err)
					for d := range r.Peak {
						if before != nil {
							require.GreaterOrEqual(t, r.Peak[d], before.Peak[d], "%+v device %d", shape, d)
						}
						held := 0
						for _, slot := range r.Order[d] {
							switch slot.Phase {
							case F:
								held++
							case B, W:
								held--
							}
							require.GreaterOrEqual(t, held, 0)
						}
						require.Zero(t, held)
					}
					before = r
					if m >= 24 {
						peaks = append(peaks, r.Peak)
					}
				}
				if before == nil || s.Name() == "encoder_first" || s.Name() == "optimus" { // see TestNestedMemory
					continue
				}
				everything := 40 * base.Virtual * base.Slices / Replicas(s)
				for _, peak := range peaks {
					if before.Peak[0] < everything {
						require.Equal(t, before.Peak, peak, "%+v", base)
					}
				}
				if before.Peak[0] >= everything {
					require.True(t, all(before.Peak, everything))
				}
			}
		})
	}
}

// Megatron's order with one chunk has twice the warm-up of 1F1B: the same time
// without transfers, at peaks of 2(p-d)-1. With groups of all microbatches its
// forwards are those of the breadth-first order.
func TestInterleavedLimits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, m, c := size(t, "p", 2, 8), size(t, "m", 1, 24), drawCosts(t)
		c.Comm = 0
		shape := whole(p, 1, m)
		r, err := Simulate(forced{oneFOneB{}, sliced{group: p, hop: 2}.order(shape)}, shape, c)
		require.NoError(t, err)
		require.Equal(t, simulated(t, "1f1b", shape, c).Makespan, r.Makespan)
		for d, peak := range r.Peak {
			require.Equal(t, min(m, 2*(p-d)-1), peak)
		}

		shape = whole(p, size(t, "v", 2, 4), p+m)
		shape.Group = shape.Microbatches
		order, err := interleaved{}.Order(shape)
		require.NoError(t, err)
		shape.Group = 0
		breadth, err := breadthFirst{}.Order(shape)
		require.NoError(t, err)
		forwards := func(slots []Slot) []Slot {
			return slices.DeleteFunc(slices.Clone(slots), func(s Slot) bool { return s.Phase != F })
		}
		for d := range order {
			require.Equal(t, forwards(breadth[d]), forwards(order[d]))
		}
	})
}

// Without transfers no step is longer than with them; blocking ones are longer still
// (TestBlockingAgainstAsynchronous).
func TestTransfersOnlyCost(t *testing.T) {
	everySchedule(t, func(t *rapid.T, s Schedule, shape Shape) {
		c := drawCosts(t)
		with, err := Simulate(s, shape, c)
		require.NoError(t, err)
		c.Comm = 0
		without, err := Simulate(s, shape, c)
		require.NoError(t, err)
		require.GreaterOrEqual(t, with.Makespan, without.Makespan)
		require.Equal(t, with.Peak, without.Peak, "memory follows from the order alone")
		require.Equal(t, with.Busy, without.Busy)
	})
}
