package pipeline

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// Whatever the size and the costs, each device runs every pass once, none deadlocks,
// gradients of the output layer start together where devices are free, and half as
// many microbatches again as with 1F1B are held (3p/2 - d).
func TestInterlacedRunsToItsEnd(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, m := rapid.IntRange(2, 9).Draw(t, "p"), rapid.IntRange(1, 30).Draw(t, "m")
		c := drawCosts(t)
		logits, gradients := unit.Time(rapid.IntRange(0, 60).Draw(t, "logits")), unit.Time(rapid.IntRange(0, 60).Draw(t, "gradients"))
		r, err := InterlacedVocabulary(Shape{Devices: p, Virtual: 1, Microbatches: m}, c, logits, gradients)
		require.NoError(t, err)
		started := map[int32]unit.Time{}
		for d, slots := range r.Order {
			require.Len(t, slots, 4*m)
			require.EqualValues(t, unit.Time(m)*(c.F+c.I+c.W+logits+gradients), r.Busy[d])
			require.LessOrEqual(t, r.Peak[d], min(m, p*3/2-d))
			for i, s := range slots {
				if s.Phase != S || s.Slice == 0 {
					continue
				}
				at, known := started[s.Microbatch]
				if !known {
					at = r.Start[d][i]
				}
				started[s.Microbatch] = at
				require.Equal(t, at, r.Start[d][i], "all devices are in S at once")
			}
		}
		require.Len(t, started, m)
	})
}

// T = m(F+B+S) + (p-1)(F+B) where F : B is 1 : 2, and 3p/2 - d microbatches are held.
func TestInterlacedClosedForm(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.IntRange(2, 16).Draw(t, "p")
		m := rapid.IntRange(2*p, 5*p).Draw(t, "m")
		f := unit.Time(rapid.IntRange(1, 20).Draw(t, "F"))
		s := unit.Time(rapid.IntRange(0, 20).Draw(t, "S"))
		r, err := InterlacedVocabulary(Shape{Devices: p, Virtual: 1, Microbatches: m}, Costs{F: f, I: f, W: f}, s, 2*s)
		require.NoError(t, err)
		require.Equal(t, unit.Time(m)*(3*f+3*s)+unit.Time(p-1)*3*f, r.Makespan)
		for d, peak := range r.Peak {
			require.Equal(t, p*3/2-d, peak)
		}
	})
}

func TestInterlacedRefuses(t *testing.T) {
	good := Shape{Devices: 2, Virtual: 1, Microbatches: 4}
	for want, run := range map[string]func() (*Timing, error){
		"negative": func() (*Timing, error) { return InterlacedVocabulary(good, Costs{}, 1, -1) },
		"one device": func() (*Timing, error) {
			return InterlacedVocabulary(Shape{Devices: 1, Virtual: 1, Microbatches: 4}, Costs{}, 1, 1)
		},
		"range of time": func() (*Timing, error) { return InterlacedVocabulary(good, Costs{}, 1<<62, 1) },
		"not known": func() (*Timing, error) {
			return InterlacedVocabulary(good, Costs{Vary: func(Slot) unit.Time { return 1 }}, 1, 1)
		},
	} {
		_, err := run()
		require.ErrorContains(t, err, want)
	}
}
