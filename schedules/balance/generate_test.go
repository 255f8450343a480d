package balance

import (
	"encoding/csv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func generator(t require.TestingT, spec string, seed uint64) *Generator {
	g, err := ParseGenerator(spec)
	require.NoError(t, err)
	g.Ranks, g.Experts, g.TopK, g.Tokens, g.Seed = 16, 64, 4, 512, seed
	return g
}

// Every kind gives each source its tokens, no expert more than there are, and the
// same seed the same load.
func TestGeneratorsConserve(t *testing.T) {
	for name := range kinds {
		t.Run(name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				g := generator(t, name, rapid.Uint64().Draw(t, "seed"))
				g.TopK = rapid.IntRange(1, 8).Draw(t, "k")
				l, err := g.Generate()
				require.NoError(t, err)
				again, err := g.Generate()
				require.NoError(t, err)
				require.Equal(t, l, again)
				for r := range l.Ranks {
					sum := int64(0)
					for _, n := range l.Tokens[r*l.Experts : (r+1)*l.Experts] {
						require.True(t, n >= 0 && n <= 512)
						sum += n
					}
					require.EqualValues(t, 512*g.TopK, sum)
				}
				g.Seed++
				other, err := g.Generate()
				require.NoError(t, err)
				require.NotEqual(t, l, other)
			})
		})
	}
}

// Sampling k different experts by weight and counting by inclusion agree in the
// mean; for two of three experts the chances are known exactly.
func TestTopKChances(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	counts := make([]int64, 3)
	newAlias([]float64{1, 2, 3}).topK(200000, 2, rng, counts)
	// P(not 0) = P(1 then 2) + P(2 then 1) = 2/6 x 3/4 + 3/6 x 2/3
	for e, missing := range []float64{2. / 6 * 3 / 4 * 1, 1. / 6 * 3 / 5, 1. / 6 * 2 / 5} {
		switch e {
		case 0:
			missing += 3. / 6 * 2 / 3
		case 1:
			missing += 3. / 6 * 1 / 3
		case 2:
			missing += 2. / 6 * 1 / 4
		}
		require.InDelta(t, 1-missing, float64(counts[e])/200000, 0.005, "expert %d", e)
	}
	// Where one expert takes nearly all, the second is still drawn by weight.
	counts = make([]int64, 3)
	newAlias([]float64{1e9, 1, 3}).topK(20000, 2, rng, counts)
	require.EqualValues(t, 20000, counts[0])
	require.InDelta(t, 0.75, float64(counts[2])/20000, 0.02)
	require.InDelta(t, 2, sum(inclusion([]float64{1, 2, 3}, 2)), 1e-9)
	require.InDelta(t, 1, inclusion([]float64{1, 2, 3}, 3)[0], 1e-3, "all are chosen")
}

// medians are what data/moe_load holds of a law: the medians over layers.
func medians(t *testing.T, kind string) map[string]float64 {
	of := map[string][]float64{}
	for seed := range uint64(200) {
		g := generator(t, kind, seed)
		g.Experts = 256
		x, err := g.Weights()
		require.NoError(t, err)
		total, squares, top := sum(x), 0.0, 0.0
		for _, v := range x {
			squares += (v*256/total - 1) * (v*256/total - 1)
		}
		for _, n := range []int{8, 16, 32, 64, 128} {
			most := 0.0
			for i := range n {
				most = max(most, sum(x[i*256/n:(i+1)*256/n])*float64(n)/total)
			}
			of["ep"+strconv.Itoa(n)+"_max"] = append(of["ep"+strconv.Itoa(n)+"_max"], most)
		}
		slices.Sort(x)
		for _, v := range x[256-26:] {
			top += v / total
		}
		of["expert_max_over_mean"] = append(of["expert_max_over_mean"], x[255]*256/total)
		of["top10pct_share"] = append(of["top10pct_share"], top)
		of["cv"] = append(of["cv"], math.Sqrt(squares/256))
	}
	out := map[string]float64{}
	for k, v := range of {
		slices.Sort(v)
		out[k] = v[len(v)/2]
	}
	return out
}

// The fitted laws against the published statistics they are fitted to: a law of
// three numbers meets the mean of every column within 15 %.
func TestR1Laws(t *testing.T) {
	rows := sharedMoELoad(t)
	for _, phase := range []string{"prefill", "decode"} {
		want, n := map[string]float64{}, 0.0
		for _, row := range rows {
			if !strings.HasPrefix(row["file"], phase) {
				continue
			}
			n++
			for column, text := range row {
				if x, err := strconv.ParseFloat(text, 64); err == nil {
					want[column] += x
				}
			}
		}
		require.NotZero(t, n)
		for column, got := range medians(t, "deepseek_r1_"+phase) {
			t.Logf("%s %s: published %.3f, generated %.3f", phase, column, want[column]/n, got)
			require.InEpsilon(t, want[column]/n, got, 0.15, "%s %s", phase, column)
		}
	}
}

// sharedMoELoad reads ../shared/data/moe_load beside the repository.
func sharedMoELoad(t *testing.T) []map[string]string {
	t.Helper()
	path := filepath.Join("..", "..", "..", "shared", "data", "moe_load", "deepseek_r1_statistics.csv")
	f, err := os.Open(path)
	if err != nil {
		t.Skipf("../shared/data/moe_load is not here (%v): the fitted laws are not checked", err)
	}
	defer f.Close()
	rows, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	var out []map[string]string
	for _, row := range rows[1:] {
		m := map[string]string{}
		for i, name := range rows[0] {
			m[name] = row[i]
		}
		out = append(out, m)
	}
	return out
}

// The scaled law has the imbalance that it was asked for, within its counts' noise.
func TestLognormalImbalance(t *testing.T) {
	for _, want := range []float64{1.3, 2.23, 2.86} {
		g := generator(t, "lognormal:imbalance="+strconv.FormatFloat(want, 'g', -1, 64), 7)
		g.Ranks, g.Experts, g.TopK, g.Tokens = 64, 128, 8, 8192
		l, err := g.Generate()
		require.NoError(t, err)
		require.InEpsilon(t, want, Imbalance(l.HomeLoads(Setup{Ranks: 64, Experts: 128})), 0.02)
	}
	g := generator(t, "lognormal:imbalance=100", 7)
	_, err := g.Generate()
	require.ErrorContains(t, err, "allow 1 to")
}

func TestParseGenerator(t *testing.T) {
	g, err := ParseGenerator("Power-Law:alpha=1.01,ratio=50")
	require.NoError(t, err)
	require.Equal(t, "power_law", g.Kind)
	require.Equal(t, map[string]string{"alpha": "1.01", "ratio": "50"}, g.Values)
	for text, want := range map[string]string{
		"zipff":            `no kind of load is called "zipff"; did you mean "zipf"?`,
		"":                 "known are balanced, deepseek_r1_decode,",
		"zipf:1.2":         `"1.2" is not of the form key=value`,
		"zipf:t=1":         `load zipf has no parameter "t"; it has s`,
		"balanced:t=1":     "it has none",
		"zipf:s=1,s=2":     "is there twice",
		"zipf:s=":          "is not of the form key=value",
		"rank_skew:s=2,,=": "has no parameter",
	} {
		_, err := ParseGenerator(text)
		require.ErrorContains(t, err, want, text)
	}
	g = generator(t, "zipf:s=nine", 1)
	_, err = g.Generate()
	require.ErrorContains(t, err, `parameter s of load zipf is "nine", must be a number of 0 to 8`)
	g = generator(t, "rank_skew:imbalance=500", 1)
	_, err = g.Generate()
	require.ErrorContains(t, err, "allow 1 to")
	g = generator(t, "zipf", 1)
	g.TopK = 65
	_, err = g.Generate()
	require.ErrorContains(t, err, "top-k is 65")
}

// A drift is stationary, remembers by rho, and stands still at rho 1.
func TestDrift(t *testing.T) {
	law := generator(t, "balanced", 3)
	correlation := func(rho float64) float64 {
		s, err := Drift{Law: law, Sigma: 0.5, Rho: rho}.Start(0)
		require.NoError(t, err)
		num, den := 0.0, 0.0
		for range 300 {
			before := slices.Clone(s.x)
			s.Next()
			for e := range before {
				num += before[e] * s.x[e]
				den += before[e] * before[e]
			}
		}
		require.InDelta(t, 0.25, den/300/64, 0.05, "variance sigma^2")
		return num / den
	}
	require.InDelta(t, 0.9, correlation(0.9), 0.02)
	require.InDelta(t, 0, correlation(0), 0.03)
	s, err := Drift{Law: law, Sigma: 0.5, Rho: 1}.Start(2)
	require.NoError(t, err)
	before := slices.Clone(s.x)
	s.Next()
	require.Equal(t, before, s.x)
	// what is skipped changes nothing after it, and groups share the law only
	drawn, err := Drift{Law: law, Sigma: 0.5, Rho: 0.9}.Start(1)
	require.NoError(t, err)
	skipped, err := Drift{Law: law, Sigma: 0.5, Rho: 0.9}.Start(1)
	require.NoError(t, err)
	other, err := Drift{Law: law, Sigma: 0.5, Rho: 0.9, Group: 1}.Start(1)
	require.NoError(t, err)
	first := drawn.Next()
	skipped.Skip()
	require.Equal(t, drawn.Next(), skipped.Next())
	past, next := drawn.Past(), skipped.Next() // the same law, other draws
	require.Equal(t, next.Total(), past.Total())
	seen, drew := past.PerExpert(nil), next.PerExpert(nil)
	for e := range seen {
		require.InDelta(t, drew[e], seen[e], 6*math.Sqrt(float64(drew[e])+1))
	}
	require.NotEqual(t, first, other.Next())
	require.Equal(t, drawn.law, other.law)

	_, err = Drift{Law: law, Sigma: -1}.Start(0)
	require.ErrorContains(t, err, "sigma -1")
}

// What EPLB does with the past is worth less the faster loads drift; UltraEP does
// not care.
func TestStaleEPLBOnDrift(t *testing.T) {
	law := generator(t, "deepseek_r1_prefill", 1)
	law.Experts, law.Tokens, law.TopK = 128, 4096, 8
	mean := func(name string, rho float64) float64 {
		s, err := Drift{Law: law, Sigma: 0.7, Rho: rho}.Start(0)
		require.NoError(t, err)
		setup := Setup{Ranks: 16, Experts: 128, Slots: 2, Params: map[string]string{}}
		if name == "eplb" {
			setup.Params["interval"], setup.Params["window"] = "10", "10"
		}
		planner, p, total := start(t, name, setup), new(Plan), 0.0
		for i := range 110 {
			load := s.Next()
			require.NoError(t, planner.Plan(load, p))
			if i >= 10 {
				total += Imbalance(p.Loads) / 100
			}
			if l, ok := planner.(Learner); ok {
				require.NoError(t, l.Observe(load))
			}
		}
		return total
	}
	still, slow, fast := mean("eplb", 1), mean("eplb", 0.98), mean("eplb", 0.5)
	t.Log(still, slow, fast, mean("none", 0.5), mean("ultraep", 0.5))
	require.Less(t, still, slow)
	require.Less(t, slow, fast)
	require.Less(t, mean("ultraep", 0.5), 1.05)
}

func TestCapacity(t *testing.T) {
	load, err := NewLoad([][]int64{{8, 0, 0, 0}, {1, 2, 3, 2}})
	require.NoError(t, err)
	out, dropped, padded, err := Capacity{Factor: 1.25}.Apply(load) // ceil(1.25 x 8 / 4) = 3
	require.NoError(t, err)
	require.Equal(t, []int64{3, 0, 0, 0, 1, 2, 3, 2}, out.Tokens)
	require.EqualValues(t, 5, dropped)
	require.Zero(t, padded)
	out, dropped, padded, err = Capacity{Factor: 1, Pad: true}.Apply(load)
	require.NoError(t, err)
	require.Equal(t, []int64{2, 2, 2, 2, 2, 2, 2, 2}, out.Tokens)
	require.EqualValues(t, 7, dropped)
	require.EqualValues(t, 7, padded)
	_, _, _, err = Capacity{}.Apply(load)
	require.ErrorContains(t, err, "must be above 0")

	rapid.Check(t, func(t *rapid.T) {
		s := drawSetup(t)
		l := drawLoad(t, s)
		c := Capacity{Factor: rapid.Float64Range(0.1, 4).Draw(t, "factor"), Pad: rapid.Bool().Draw(t, "pad")}
		out, dropped, padded, err := c.Apply(l)
		require.NoError(t, err)
		require.Equal(t, l.Total()-dropped+padded, out.Total())
		require.True(t, c.Pad || padded == 0)
	})
}
