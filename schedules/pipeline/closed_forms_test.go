package pipeline

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// The closed forms of the papers: F is a forward, D a forward and its backward,
// c the transfer, all of one chunk.

func simulated(t *rapid.T, name string, shape Shape, c Costs) *Timing {
	s, err := Lookup(name)
	require.NoError(t, err)
	timing, err := Simulate(s, shape, c)
	require.NoError(t, err)
	return timing
}

func size(t *rapid.T, name string, low, high int) int {
	return rapid.IntRange(low, high).Draw(t, name)
}

// T = (m+p-1) D + 2(p-1)c, peak m (GPipe, arXiv:1811.06965, section 2.3).
func TestGPipeClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, m, c := size(t, "p", 1, 12), size(t, "m", 1, 30), drawCosts(t)
		for _, name := range []string{"gpipe", "gpipe_lifo"} {
			r := simulated(t, name, Shape{Devices: p, Virtual: 1, Microbatches: m}, c)
			require.Equal(t, unit.Time(m+p-1)*(c.F+c.I+c.W)+unit.Time(2*(p-1))*c.Comm, r.Makespan, name)
			for _, peak := range r.Peak {
				require.Equal(t, m, peak)
			}
			if c.Comm == 0 && c.F > 0 {
				require.InDelta(t, float64(p-1)/float64(m+p-1), r.Bubble(), 1e-12)
			}
		}
	})
}

// T = (m+p-1) D without transfers for any m; peak of device d is min(m, p-d)
// (Megatron-LM, arXiv:2104.04473, section 2.2).
func TestOneFOneBClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, m, c := size(t, "p", 1, 12), size(t, "m", 1, 30), drawCosts(t)
		c.Comm = 0
		r := simulated(t, "1f1b", Shape{Devices: p, Virtual: 1, Microbatches: m}, c)
		require.Equal(t, unit.Time(m+p-1)*(c.F+c.I+c.W), r.Makespan)
		for d, peak := range r.Peak {
			require.Equal(t, min(m, p-d), peak)
		}
	})
}

// With transfers the p microbatches in flight share one round trip: T grows by
// c (2(p-1)m/p + 2(p-2)) where p divides m and c is small beside a pass.
func TestOneFOneBAsynchronousTransfers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := size(t, "p", 2, 8)
		m := p * size(t, "m/p", 1, 4)
		c := Costs{F: 1000, I: 1000, W: 1000, Comm: unit.Time(size(t, "c", 0, 20))}
		r := simulated(t, "1f1b", Shape{Devices: p, Virtual: 1, Microbatches: m}, c)
		require.Equal(t, unit.Time(m+p-1)*3000+c.Comm*unit.Time(2*(p-1)*m/p+2*(p-2)), r.Makespan)
	})
}

// T = (mv+p-1) D for any group size N without transfers; + 2(pv-1)c for N = p
// and small c; peak of device d is min(mv, 2(p-1-d)+(v-1)N+1) chunks.
func TestInterleavedClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, v := size(t, "p", 2, 6), size(t, "v", 2, 4)
		n := size(t, "N", p, 3*p)
		m := n * size(t, "groups", 1, 3)
		if rest := size(t, "rest", 0, n-1); rest >= p {
			m += rest
		}
		shape, c := Shape{Devices: p, Virtual: v, Microbatches: m, Group: n}, drawCosts(t)
		c.Comm = 0
		r := simulated(t, "interleaved_1f1b", shape, c)
		base := unit.Time(m*v+p-1) * (c.F + c.I + c.W)
		require.Equal(t, base, r.Makespan)
		for d, peak := range r.Peak {
			require.Equal(t, min(m*v, 2*(p-1-d)+(v-1)*n+1), peak)
		}
		if n == p {
			c.F, c.I, c.W = c.F+1000, c.I+1000, c.W+1000
			c.Comm = unit.Time(size(t, "c", 0, 10))
			r = simulated(t, "interleaved_1f1b", shape, c)
			require.Equal(t, unit.Time(m*v+p-1)*(c.F+c.I+c.W)+unit.Time(2*(p*v-1))*c.Comm, r.Makespan)
		}
	})
}

// The example in Megatron-LM's get_schedule_table (p=2, N=3, m=5, v=2): chunks
// of device 0, from 1, backwards negative.
func TestInterleavedMegatronExample(t *testing.T) {
	order, err := interleaved{}.Order(Shape{Devices: 2, Virtual: 2, Microbatches: 5, Group: 3})
	require.NoError(t, err)
	var signed []int
	for _, s := range order[0] {
		chunk := int(s.Stage)/2 + 1
		if s.Phase == B {
			chunk = -chunk
		}
		signed = append(signed, chunk)
	}
	require.Equal(t, []int{1, 1, 1, 2, 2, 2, -2, 1, -2, 1, -2, 2, -1, 2, -1, -1, -2, -2, -1, -1}, signed)
}

// Megatron-LM's conditions on the group size.
func TestInterleavedRefuses(t *testing.T) {
	for _, c := range []struct {
		shape Shape
		want  string
	}{
		{Shape{Devices: 1, Virtual: 2, Microbatches: 4}, "use none"},
		{Shape{Devices: 4, Virtual: 1, Microbatches: 4}, "use 1f1b"},
		{Shape{Devices: 4, Virtual: 2, Microbatches: 3}, "fewer than the 4 devices"},
		{Shape{Devices: 4, Virtual: 2, Microbatches: 8, Group: 3}, "not between"},
		{Shape{Devices: 4, Virtual: 2, Microbatches: 8, Group: 9}, "not between"},
		{Shape{Devices: 4, Virtual: 2, Microbatches: 7}, "last group of 3"},
		{Shape{Devices: 4, Virtual: 2, Microbatches: 8, Slices: 2}, "slices"},
	} {
		require.ErrorContains(t, interleaved{}.Check(c.shape), c.want, "%+v", c.shape)
	}
	require.NoError(t, interleaved{}.Check(Shape{Devices: 4, Virtual: 2, Microbatches: 9, Group: 5}), "a last group of p is allowed")
}

// A pipeline of one device is no pipeline.
func TestNoneIsOneDevice(t *testing.T) {
	for m := 1; m < 9; m++ {
		shape := Shape{Devices: 1, Virtual: 1, Microbatches: m}
		alone, err := none{}.Order(shape)
		require.NoError(t, err)
		piped, err := oneFOneB{}.Order(shape)
		require.NoError(t, err)
		require.Equal(t, piped, alone)
	}
	require.ErrorContains(t, none{}.Check(Shape{Devices: 2, Virtual: 1, Microbatches: 1}), "1f1b")
}

// Blocking transfers of Megatron-LM's 1F1B: T grows by (2m+2p-5)c for p >= 3 and
// by (m+1)c for p = 2, where m >= p and a transfer is no longer than a pass.
func TestBlockingClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := size(t, "p", 2, 10)
		m := size(t, "m", p, 4*p)
		pass := unit.Time(size(t, "pass", 1, 50))
		c := Costs{F: pass, I: pass, W: pass, Comm: unit.Time(size(t, "c", 0, int(pass)))}
		r, err := SimulateBlocking(oneFOneB{}, Shape{Devices: p, Virtual: 1, Microbatches: m}, c, BlockingOptions{})
		require.NoError(t, err)
		extra := 2*m + 2*p - 5
		if p == 2 {
			extra = m + 1
		}
		require.Equal(t, unit.Time(m+p-1)*3*pass+unit.Time(extra)*c.Comm, r.Makespan)
	})
}
