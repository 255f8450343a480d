package ordersearch

import (
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// small is a problem whose optimum can be found.
type small struct {
	p, v, m, n int
	place      Placement
	cost       pipeline.Costs
	stage      []float64 // factors
	fused      bool
	limit      int
}

func (s small) problem(t testing.TB) Problem {
	shape := pipeline.Shape{Devices: s.p, Virtual: s.v, Microbatches: s.m, Slices: s.n}
	c := s.cost
	if s.stage != nil {
		var err error
		c, err = c.Varied(pipeline.Variation{Stage: s.stage}, shape, s.p*s.v)
		require.NoError(t, err)
	}
	return Problem{Shape: shape, Placement: s.place, Costs: c, Fused: s.fused, Limit: s.limit}
}

func (s small) String() string {
	return fmt.Sprintf("p=%d v=%d m=%d n=%d %s F,I,W=%d,%d,%d comm=%d factors=%v fused=%t limit=%d",
		s.p, s.v, s.m, s.n, s.place, int64(s.cost.F), int64(s.cost.I), int64(s.cost.W), int64(s.cost.Comm), s.stage, s.fused, s.limit)
}

var even, uneven = pipeline.Costs{F: 2, I: 2, W: 2}, pipeline.Costs{F: 10, I: 13, W: 7, Comm: 3}

func found(t testing.TB, s small, steps int) *Result {
	r, err := Search(context.Background(), s.problem(t), Options{Seed: 1, Steps: steps})
	require.NoError(t, err, "%v", s)
	return r
}

var objective = regexp.MustCompile(`^Optimal - objective value ([0-9.]+)`)

// The search finds the optimum of the integer program that WriteLP writes, which a
// solver finds from nothing but the program, and the bound is below it.
func TestOptimumBySolver(t *testing.T) {
	if testing.Short() {
		t.Skip("seconds of a solver: not with -short")
	}
	cbc, err := exec.LookPath("cbc")
	if err != nil {
		t.Skip("cbc is missing: install Debian's package coinor-cbc")
	}
	for _, s := range []small{
		{2, 1, 4, 1, Looped, even, nil, false, 0},
		{2, 1, 4, 1, Looped, uneven, nil, false, 0},
		{2, 1, 4, 1, Looped, uneven, nil, false, 2},
		{2, 1, 4, 1, Looped, uneven, []float64{1, 1.4}, false, 2},
		{3, 1, 3, 1, Looped, even, nil, false, 2},
		{3, 1, 4, 1, Looped, uneven, nil, false, 3},
		{3, 1, 4, 1, Looped, uneven, []float64{1, 0.8, 1.3}, false, 3},
		{3, 1, 4, 1, Looped, uneven, nil, true, 0},
		{3, 1, 4, 1, Looped, uneven, nil, true, 2},
		{2, 2, 2, 1, V, uneven, nil, false, 3},
		{2, 2, 3, 1, V, uneven, nil, true, 3},
		{2, 2, 3, 1, Looped, uneven, nil, false, 4}, // local search alone is stuck at 216, the optimum is 213
		{2, 1, 2, 2, Looped, uneven, nil, false, 3},
		{2, 1, 2, 3, Looped, uneven, nil, true, 4},
	} {
		r := found(t, s, 4000)
		dir := t.TempDir()
		lp, out := filepath.Join(dir, "order.lp"), filepath.Join(dir, "out")
		f, err := os.Create(lp)
		require.NoError(t, err)
		require.NoError(t, WriteLP(f, s.problem(t), r.Timing.Makespan))
		require.NoError(t, f.Close())
		log, err := exec.Command(cbc, lp, "-solve", "-solution", out).CombinedOutput()
		require.NoError(t, err, "%s", log)
		text, err := os.ReadFile(out)
		require.NoError(t, err, "%s", log)
		m := objective.FindSubmatch(text)
		require.NotNil(t, m, "%v: %.200s\n%s", s, text, log)
		optimum, err := strconv.ParseFloat(string(m[1]), 64)
		require.NoError(t, err)
		require.InDelta(t, optimum, float64(r.Timing.Makespan), 1e-4, "%v", s)
		require.LessOrEqual(t, float64(r.Bound.Time), optimum+1e-4, "%v", s)
	}
}

// The search finds the shortest of all orders, each of which is simulated.
func TestOptimumByEnumeration(t *testing.T) {
	for _, s := range []small{
		{1, 1, 2, 1, Looped, uneven, nil, false, 1},
		{2, 1, 3, 1, Looped, uneven, nil, false, 0},
		{2, 1, 3, 1, Looped, uneven, nil, false, 1},
		{2, 1, 3, 1, Looped, uneven, nil, false, 2},
		{2, 1, 3, 1, Looped, uneven, []float64{1, 1.5}, false, 2},
		{2, 1, 3, 1, Looped, pipeline.Costs{F: 3, I: 9, W: 2, Comm: 5}, nil, false, 2},
		{2, 1, 4, 1, Looped, uneven, nil, false, 2},
		{2, 1, 4, 1, Looped, uneven, []float64{1.3, 1}, true, 0},
		{3, 1, 2, 1, Looped, uneven, nil, false, 0},
		{3, 1, 3, 1, Looped, uneven, []float64{1, 1.2, 0.9}, true, 0},
		{2, 2, 2, 1, V, uneven, nil, true, 0},
		{2, 2, 2, 1, Looped, uneven, nil, true, 3},
		{2, 2, 2, 1, V, uneven, nil, false, 2},
		{2, 2, 2, 1, V, uneven, nil, false, 3},
	} {
		m, err := newModel(s.problem(t))
		require.NoError(t, err)
		words := make([][][]pipeline.Slot, s.p)
		for d := range words {
			words[d] = wordsOf(m, d)
		}
		best := unit.Time(math.MaxInt64)
		orders := 0
		order := make([][]pipeline.Slot, s.p)
		var try func(d int)
		try = func(d int) {
			if d < s.p {
				for _, order[d] = range words[d] {
					try(d + 1)
				}
				return
			}
			orders++
			if r, err := pipeline.Simulate(&Order{m.Problem, order}, m.Shape, m.Costs); err == nil {
				best = min(best, r.Makespan)
			}
		}
		try(0)
		r := found(t, s, 2000)
		require.Equal(t, int64(best), int64(r.Timing.Makespan), "%v: the best of %d orders", s, orders)
		require.LessOrEqual(t, r.Bound.Time, best, "%v", s)
	}
}

// wordsOf is all orders of a device's passes, microbatches in turn, that keep to the
// limit and in which no pass comes before what a microbatch runs earlier on the device.
func wordsOf(m *model, d int) [][]pipeline.Slot {
	var needs [][]int // by kind: kinds of which as many must be over
	var kinds []int
	for s, on := range m.device {
		if int(on) != d {
			continue
		}
		for phase := range m.phases {
			var before []int
			for t, also := range m.device {
				switch {
				case int(also) != d:
				case phase == 0 && t < s, phase == 1:
					before = append(before, t*m.phases)
				}
				if int(also) == d && phase == 1 && t > s {
					before = append(before, t*m.phases+1)
				}
			}
			if phase == 2 {
				before = []int{s*m.phases + 1}
			}
			kinds, needs = append(kinds, s*m.phases+phase), append(needs, before)
		}
	}
	var out [][]pipeline.Slot
	done := make([]int, m.stages*m.phases)
	var word []pass
	held := 0
	var extend func()
	extend = func() {
		if len(word) == len(m.work[d]) {
			out = append(out, m.slots([][]pass{slices.Clone(word)})[0])
			return
		}
		for i, kind := range kinds {
			x := pass(kind*m.each + done[kind])
			if done[kind] == m.each || m.Limit > 0 && held+m.holds(x) > m.Limit ||
				slices.ContainsFunc(needs[i], func(k int) bool { return done[k] <= done[kind] }) {
				continue
			}
			done[kind]++
			held += m.holds(x)
			word = append(word, x)
			extend()
			word = word[:len(word)-1]
			held -= m.holds(x)
			done[kind]--
		}
	}
	extend()
	return out
}
