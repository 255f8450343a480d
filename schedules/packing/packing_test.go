package packing

import (
	"slices"
	"strings"
	"testing"

	"orrery/sim/unit"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// testJob is Llama-3 8B on samples of a named distribution.
func testJob(t testing.TB, dist string, n, dp, pp, cp, context int, seed uint64) *Job {
	t.Helper()
	lengths, err := Draw(dist, n, context, seed)
	require.NoError(t, err)
	c, f := Llama8B(pp)
	j := &Job{Lengths: lengths, DP: dp, PP: pp, CP: cp, Context: context, Cost: c, Footprint: f}
	require.NoError(t, j.Check())
	return j
}

func TestRegistry(t *testing.T) {
	require.NoError(t, packers.Err())
	var names []string
	for _, p := range All() {
		names = append(names, p.Name())
		require.Equal(t, unit.NameKey(p.Name()), p.Name(), "names are written as they are looked up")
		require.NotEmpty(t, p.Describe())
		require.NotContains(t, p.Describe(), "\n")
		found, err := Lookup(strings.ToUpper(strings.ReplaceAll(p.Name(), "_", "-")))
		require.NoError(t, err)
		require.Equal(t, p, found)
	}
	require.True(t, slices.IsSorted(names), "%v", names)
	require.Subset(t, names, []string{"fixed", "greedy", "slimpack", "wlb_llm"})
	_, err := Lookup("slimpac")
	require.ErrorContains(t, err, `did you mean "slimpack"?`)
	_, err = Lookup("knapsack")
	require.ErrorContains(t, err, "known are bfd, chunkflow")
}

// A decreasing fit by its definition, row by row.
func slowFit(lengths []int, order []int32, capacity int, best bool) [][]int32 {
	var rows [][]int32
	var room []int
	for _, i := range order {
		at := -1
		for r := range rows {
			if room[r] >= lengths[i] && (at < 0 || best && room[r] < room[at]) {
				at = r
				if !best {
					break
				}
			}
		}
		if at < 0 {
			rows, room, at = append(rows, nil), append(room, capacity), len(rows)
		}
		rows[at] = append(rows[at], i)
		room[at] -= lengths[i]
	}
	return rows
}

func TestFirstAndBestFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.SampledFrom([]int{1, 10, 63, 64, 65, 5000, 300000}).Draw(t, "capacity")
		lengths := rapid.SliceOfN(rapid.IntRange(1, capacity), 1, 80).Draw(t, "lengths")
		order := descending(lengths)
		require.True(t, slices.IsSortedFunc(order, func(a, b int32) int { return lengths[b] - lengths[a] }))
		require.Equal(t, slowFit(lengths, order, capacity, false), firstFit(lengths, order, capacity))
		// Of equally full rows best fit may take another: the rows' fill is the same.
		fill := func(rows [][]int32) (out []int) {
			for _, row := range rows {
				n := 0
				for _, i := range row {
					n += lengths[i]
				}
				out = append(out, n)
			}
			slices.Sort(out)
			return out
		}
		require.Equal(t, fill(slowFit(lengths, order, capacity, true)), fill(bestFit(lengths, order, capacity)))
	})
}

// The cut into n units has the shortest longest unit that any consecutive cut has,
// within a thousandth: dynamic programming over all cuts says the same.
func TestEvenCutIsOptimal(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := &Job{DP: 1, PP: 1, CP: 1, Context: 40, Cost: Cost{TokenS: 1e-6, PairS: 2e-7, BackToken: 2, BackPair: 3},
			Lengths: rapid.SliceOfN(rapid.IntRange(1, 40), 1, 5).Draw(t, "lengths")}
		n, forward := rapid.IntRange(1, 6).Draw(t, "n"), rapid.Bool().Draw(t, "forward")
		order := descending(j.Lengths)
		c := cutter{job: j, unit: Unit{Width: 1}, forward: forward, quantum: 1}
		units := c.even(order, n)
		require.LessOrEqual(t, len(units), n)
		time := func(u *Unit) float64 {
			f, b := j.Cost.lanes(u)
			if forward {
				return f
			}
			return b
		}
		longest := 0.0
		for i := range units {
			longest = max(longest, time(&units[i]))
		}
		// Tokens in the order that they are cut.
		var tokens []float64
		for _, s := range order {
			l := j.Lengths[s]
			for x := range l {
				if !forward {
					x = l - 1 - x
				}
				tokens = append(tokens, time(&Unit{Width: 1, Slices: []Slice{{Sample: s, X0: int32(x), X1: int32(x + 1)}}}))
			}
		}
		best := leastLongest(tokens, n)
		require.InDelta(t, best, longest, 1.5e-3*best)
	})
}

// leastLongest is the least longest sum of a cut of x into at most n parts.
func leastLongest(x []float64, n int) float64 {
	best := make([]float64, len(x)+1) // of the first i, into the parts so far
	for i := range x {
		best[i+1] = best[i] + x[i]
	}
	for range n - 1 {
		next := slices.Clone(best)
		for i := 1; i <= len(x); i++ {
			sum := 0.0
			for k := i; k > 0; k-- {
				sum += x[k-1]
				next[i] = min(next[i], max(best[k-1], sum))
			}
		}
		best = next
	}
	return best[len(x)]
}

// Sharding a unit over lanes keeps its work: no way is faster than perfect sharing,
// and one lane is the plain sum.
func TestShardingKeepsWork(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		u := Unit{Width: int32(rapid.IntRange(1, 8).Draw(t, "width"))}
		f, b := 0.0, 0.0
		for i := range j.Lengths {
			u.Slices = append(u.Slices, j.whole(int32(i)))
			x, y := j.Cost.Sample(j.Lengths[i])
			f, b = f+x, b+y
		}
		w := float64(u.Width)
		for _, s := range []Sharding{PerSample, PerUnit, Blocks} {
			u.Sharding = s
			x, y := j.Cost.lanes(&u)
			require.GreaterOrEqual(t, x*(1+1e-9), f/w, "%d", s)
			require.GreaterOrEqual(t, y*(1+1e-9), b/w, "%d", s)
			if u.Width == 1 {
				require.InEpsilon(t, f, x, 1e-9)
			}
		}
	})
}

// One outlier beside short samples: SlimPack merges replicas for it, ByteScale's
// parallelism gives it more ranks, ChunkFlow cuts and recomputes it.
func TestWhatPackersDoWithAnOutlier(t *testing.T) {
	j := testJob(t, "wikipedia", 200, 8, 2, 1, 262144, 1)
	j.Lengths = append(j.Lengths, 262144)
	j.MemoryTokens = 100000 // a rank cannot hold it
	for name, check := range map[string]func(m *Metrics){
		"slimpack": func(m *Metrics) {
			require.True(t, m.Fits)
			require.Positive(t, m.Merged)
			require.Positive(t, m.Sliced)
		},
		"hybrid_dp": func(m *Metrics) { require.True(t, m.Fits); require.Positive(t, m.Merged); require.Zero(t, m.Sliced) },
		"chunkflow": func(m *Metrics) {
			require.True(t, m.Fits)
			require.Zero(t, m.Merged)
			require.Positive(t, m.Recomputed)
		},
		"ffd": func(m *Metrics) { require.False(t, m.Fits, "a whole sample on one rank") },
	} {
		p, err := Lookup(name)
		require.NoError(t, err)
		plan, err := p.Pack(j)
		require.NoError(t, err)
		m, err := Measure(j, plan)
		require.NoError(t, err)
		check(m)
	}
}
