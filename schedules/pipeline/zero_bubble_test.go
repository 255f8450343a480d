package pipeline

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// Closed forms of the schedules with split backward, without transfers: F, I and W
// are passes of one chunk, D = F+I+W, the span is the longest of a device.

func drawPositive(t *rapid.T) Costs {
	return Costs{F: unit.Time(size(t, "F", 1, 50)), I: unit.Time(size(t, "I", 1, 50)), W: unit.Time(size(t, "W", 1, 50))}
}

func whole(p, v, m int) Shape { return Shape{Devices: p, Virtual: v, Microbatches: m, Slices: 1} }

// all reports whether each of list is x.
func all(list []int, x int) bool {
	return !slices.ContainsFunc(list, func(y int) bool { return y != x })
}

// T = mD + (p-1)(F+I-W) for m >= p where W is the shortest, as the paper has it
// (arXiv:2401.10241, section 2.2); min(m, p) held on every device, and min(m, p-d) if
// I frees them. Never longer than 1F1B, which it equals where there are no weight
// gradients.
func TestZBH1ClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, m, c := size(t, "p", 1, 10), size(t, "m", 1, 30), drawPositive(t)
		r := simulated(t, "zb_h1", whole(p, 1, m), c)
		require.True(t, all(r.Peak, min(m, p)), "%v", r.Peak)
		for d, peak := range r.PeakInputOnly {
			require.Equal(t, min(m, p-d), peak)
		}
		if m >= p && c.W <= min(c.F, c.I) {
			require.Equal(t, unit.Time(m)*(c.F+c.I+c.W)+unit.Time(p-1)*(c.F+c.I-c.W), r.Makespan)
		}
		require.LessOrEqual(t, r.Makespan, simulated(t, "1f1b", whole(p, 1, m), c).Makespan)
		c.W = 0
		require.Equal(t, simulated(t, "1f1b", whole(p, 1, m), c).Makespan, simulated(t, "zb_h1", whole(p, 1, m), c).Makespan)
	})
}

// The span is mD + (p-1) max(0, F+I-2W, I-F) for m >= 2p-1: none is idle where
// F = I = W. min(m, 2p-1) held on every device, min(m, 2(p-d)-1) if I frees them.
func TestZBH2ClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, c := size(t, "p", 1, 10), drawPositive(t)
		m := size(t, "m", 1, 40)
		r := simulated(t, "zb_h2", whole(p, 1, m), c)
		require.True(t, all(r.Peak, min(m, 2*p-1)), "%v", r.Peak)
		for d, peak := range r.PeakInputOnly {
			require.Equal(t, min(m, 2*(p-d)-1), peak)
		}
		if m < 2*p-1 {
			return
		}
		require.Equal(t, unit.Time(m)*(c.F+c.I+c.W)+unit.Time(p-1)*max(0, c.F+c.I-2*c.W, c.I-c.F), slices.Max(r.Span))
		even := simulated(t, "zb_h2", whole(p, 1, m), Costs{F: c.F, I: c.F, W: c.F})
		require.Equal(t, 3*unit.Time(m)*c.F, slices.Max(even.Span))
		require.Equal(t, 3*unit.Time(m)*c.F+unit.Time(p-1)*c.F, even.Makespan)
	})
}

// T = mvD + (p-1)(F+I-W) where W is the shortest and p | m; vp chunks held.
func TestInterleavedZBClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, v, c := size(t, "p", 2, 6), size(t, "v", 2, 4), drawPositive(t)
		m := p * size(t, "m/p", 1, 4)
		c.W = min(c.F, c.I, c.W)
		r := simulated(t, "torch_interleaved_zb", whole(p, v, m), c)
		require.Equal(t, unit.Time(m*v)*(c.F+c.I+c.W)+unit.Time(p-1)*(c.F+c.I-c.W), r.Makespan)
		require.True(t, all(r.Peak, v*p), "%v", r.Peak)
	})
}

// For m >= 2p-1 the span is 2mD + 2(p-1)(I-W) where I >= F >= W and at most
// 2mD + 2(p-1)(F-W) where F > I >= W: none is idle where F = I = W, and T is a
// forward a device more. 2p chunks held on every device (arXiv:2405.15362).
func TestZBVClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, c := size(t, "p", 1, 8), drawPositive(t)
		m := size(t, "m", 2*p-1, 4*p+3)
		cost := []unit.Time{c.F, c.I, c.W}
		slices.Sort(cost)
		c.F, c.I, c.W = cost[1], cost[2], cost[0]
		r := simulated(t, "zbv", whole(p, 2, m), c)
		work := 2 * unit.Time(m) * (c.F + c.I + c.W)
		require.Equal(t, work+2*unit.Time(p-1)*(c.I-c.W), slices.Max(r.Span))
		require.True(t, all(r.Peak, min(2*p, 2*m)), "%v", r.Peak)

		c.F, c.I = c.I, c.F
		r = simulated(t, "zbv", whole(p, 2, m), c)
		require.LessOrEqual(t, slices.Max(r.Span), work+2*unit.Time(p-1)*(c.F-c.W))

		r = simulated(t, "zbv", whole(p, 2, m), Costs{F: c.F, I: c.F, W: c.F})
		require.Equal(t, 6*unit.Time(m)*c.F, slices.Max(r.Span))
		require.Equal(t, 6*unit.Time(m)*c.F+unit.Time(p-1)*c.F, r.Makespan)
	})
}

// Peaks of 2 floor((p+2)/2) and 2 floor((p+4)/3) chunks; where F = I = W = 1 and
// m >= 2p the span's bubble is 6 floor((p-1)/2) - 1 and 4p-5, or 4p-7 where 3 | p.
func TestControllableMemoryClosedForms(t *testing.T) {
	for p := 3; p <= 12; p++ {
		for m := 2 * p; m <= 2*p+4; m++ {
			c := Costs{F: 1, I: 1, W: 1}
			for name, want := range map[string]struct{ peak, bubble int }{
				"vhalf": {2 * ((p + 2) / 2), 6*((p-1)/2) - 1},
				"vmin":  {2 * ((p + 4) / 3), 4*p - 5},
			} {
				if name == "vmin" && p%3 == 0 {
					want.bubble -= 2
				}
				s, err := Lookup(name)
				require.NoError(t, err)
				r, err := Simulate(s, whole(p, 2, m), c)
				require.NoError(t, err)
				require.Equal(t, want.peak, slices.Max(r.Peak), "%s p=%d m=%d", name, p, m)
				require.EqualValues(t, 6*m+want.bubble, slices.Max(r.Span), "%s p=%d m=%d", name, p, m)
			}
		}
	}
}

// T = ideal + (p-1)(pair + B - 3W) where F = I >= W and a pair takes F+I+W; 2p+1 chunks
// held on every device (deepseek-ai/DualPipe, README, with 2p stages).
func TestDualPipeVClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, c := size(t, "p", 1, 8), drawPositive(t)
		c.I, c.W = c.F, min(c.F, c.W)
		m := size(t, "m", 2*p, 4*p)
		r := simulated(t, "dualpipev", whole(p, 2, m), c)
		d := c.F + c.I + c.W
		require.Equal(t, 2*unit.Time(m)*d+unit.Time(p-1)*(d+c.I+c.W-3*c.W), r.Makespan)
		require.True(t, all(r.Peak, min(2*p+1, 2*m)), "%v", r.Peak)
	})
}

// Under the memory of ZB-H1, the heuristic takes as long where F = I = W; under
// that of ZB-H2, its span is no longer (research note 2.5).
func TestAutoAgainstHandcrafted(t *testing.T) {
	for p := 2; p <= 8; p++ {
		for m := 2 * p; m <= 3*p; m++ {
			shape, c := whole(p, 1, m), Costs{F: 1, I: 1, W: 1}
			for limit, h := range map[int]Schedule{p: zbH1{}, 2 * p: zbH2{}} {
				s, err := zbAuto{}.Order(shape, c, float64(limit))
				require.NoError(t, err)
				auto, err := Simulate(s, shape, c)
				require.NoError(t, err)
				hand, err := Simulate(h, shape, c)
				require.NoError(t, err)
				require.LessOrEqual(t, slices.Max(auto.Span), slices.Max(hand.Span), "%+v limit %d", shape, limit)
			}
		}
	}
}
