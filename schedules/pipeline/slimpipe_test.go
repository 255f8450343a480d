package pipeline

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Claims S1 to S5 of SlimPipe's artifact (Cuiym715/Megatron-LM at 8e42108).

func TestSlimPipeGroups(t *testing.T) {
	require.Equal(t, 6, slimPipe{}.group(Shape{Devices: 5, Slices: 12, Virtual: 2}))
	require.Equal(t, 8, slimPipe{}.group(Shape{Devices: 8, Slices: 16, Virtual: 2}))
}

func TestSlimPipeRefusesAnUnfilledWarmup(t *testing.T) {
	require.NoError(t, slimPipe{}.Check(Shape{Devices: 4, Slices: 4, Virtual: 1, Microbatches: 3}))
	err := slimPipe{}.Check(Shape{Devices: 4, Slices: 4, Virtual: 1, Microbatches: 2})
	require.ErrorContains(t, err, "warm-up of n x v + 2(p-1) = 10")
}

// Bubble (p-1)/(nvm+p-1) and n*v + 2(p-1-d) live slices on device d.
func TestSlimPipeBubbleAndPeak(t *testing.T) {
	for _, c := range []struct {
		s      Shape
		bubble float64
	}{
		{Shape{Devices: 4, Slices: 8, Virtual: 2, Microbatches: 4}, .0448},
		{Shape{Devices: 8, Slices: 16, Virtual: 5, Microbatches: 8}, .0108},
		{Shape{Devices: 16, Slices: 16, Virtual: 5, Microbatches: 8}, .0229},
		{Shape{Devices: 8, Slices: 32, Virtual: 4, Microbatches: 4}, .0135},
	} {
		r, err := Simulate(slimPipe{}, c.s, Costs{F: 1, I: 1, W: 1})
		require.NoError(t, err)
		p, work := float64(c.s.Devices), float64(c.s.Slices*c.s.Virtual*c.s.Microbatches)
		require.InDelta(t, c.bubble, r.Bubble(), 5e-5, "%+v", c.s)
		require.InDelta(t, (p-1)/(work+p-1), r.Bubble(), 1e-12)
		for d, peak := range r.Peak {
			require.EqualValues(t, c.s.Slices*c.s.Virtual+2*(c.s.Devices-1-d), peak)
		}
	}
}

// Mean and largest volume inside a microbatch, where lengths grow by one from
// device to device: (p-2)/4 and p/2-1 slices.
func TestContextExchangeInside(t *testing.T) {
	for _, p := range []int{4, 8, 16} {
		s := Shape{Devices: p, Virtual: 1, Slices: 4 * p, Microbatches: 2}
		ex, err := ContextExchange(s, 0)
		require.NoError(t, err)
		order, err := slimPipe{}.Order(s)
		require.NoError(t, err)
		sum, most, n := 0.0, 0.0, 0
		for d := range ex {
			for i, slot := range order[d] {
				if slot.Phase == F && int(slot.Slice) >= p-1-d && int(slot.Slice)+d < s.Slices && slot.Microbatch == 0 {
					v := math.Abs(float64(ex[d][i]))
					sum, most, n = sum+v, max(most, v), n+1
				}
			}
		}
		require.InDelta(t, float64(p-2)/4, sum/float64(n), 1e-12, "p=%d", p)
		require.Equal(t, float64(p/2-1), most)
	}
}

// Mean over all forward passes with the wraps from microbatch to microbatch, once
// the pipeline is full.
func TestContextExchangeWithWraps(t *testing.T) {
	for _, c := range []struct {
		p, n, v int
		mean    float64
	}{{4, 4, 1, .5}, {4, 16, 1, 1.25}, {8, 8, 1, 1.5}, {8, 16, 1, 2.5}, {8, 32, 1, 3.0}, {16, 64, 1, 6.5}, {8, 16, 10, 1.6}, {16, 32, 5, 3.9}} {
		s := Shape{Devices: c.p, Virtual: c.v, Slices: c.n, Microbatches: 8}
		ex, err := ContextExchange(s, 0)
		require.NoError(t, err)
		order, err := slimPipe{}.Order(s)
		require.NoError(t, err)
		sum, n := 0.0, 0
		for d := range ex {
			for i, slot := range order[d] {
				if slot.Phase == F && slot.Microbatch > 0 && slot.Microbatch < 7 {
					sum, n = sum+math.Abs(float64(ex[d][i])), n+1
				}
			}
		}
		require.InDelta(t, c.mean, sum/float64(n), 0.05, "%+v", c)
	}
}

// What is handed over in a tick is taken over, nobody hands over more than it
// has, and a tick is never less even than before.
func TestContextExchangeConserves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := Shape{Devices: rapid.IntRange(2, 8).Draw(t, "p"), Virtual: rapid.IntRange(1, 3).Draw(t, "v"), Microbatches: rapid.IntRange(2, 4).Draw(t, "m")}
		s.Slices = s.Devices * rapid.IntRange(1, 4).Draw(t, "n/p")
		most := rapid.SampledFrom([]int{0, 1, 100}).Draw(t, "most")
		ex, err := ContextExchange(s, most)
		if err != nil {
			t.Skip(err)
		}
		order, _ := slimPipe{}.Order(s)
		for _, phase := range []Phase{F, B} {
			lens, vols := make([][]int, s.Devices), make([][]int, s.Devices)
			for d := range order {
				for i, slot := range order[d] {
					if slot.Phase == phase {
						lens[d] = append(lens[d], int(slot.Slice))
						vols[d] = append(vols[d], int(ex[d][i]))
					}
				}
			}
			for tick := range len(lens[0]) {
				sum, before, after := 0, 0, 0
				for d := range order {
					k := tick - d
					if phase == B {
						k = tick - (s.Devices - 1 - d)
					}
					if k < 0 {
						continue
					}
					sum += vols[d][k]
					before, after = max(before, lens[d][k]), max(after, lens[d][k]+vols[d][k])
					require.LessOrEqual(t, -vols[d][k], lens[d][k])
				}
				require.Zero(t, sum, "tick %d", tick)
				require.LessOrEqual(t, after, before)
			}
		}
	})
}
