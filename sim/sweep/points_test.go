package sweep

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestGridOrder(t *testing.T) {
	require.Equal(t, []string{
		"parallel.tp = 1, parallel.pp = 1",
		"parallel.tp = 1, parallel.pp = 2",
		"parallel.tp = 2, parallel.pp = 1",
		"parallel.tp = 2, parallel.pp = 2",
	}, described(t, "scenario = \"small\"\n[[axis]]\nkey = \"parallel.tp\"\nvalues = [1, 2]\n[[axis]]\nkey = \"parallel.pp\"\nvalues = [1, 2]\n"))
}

func axis(lines ...string) string {
	return "scenario = \"small\"\n[[axis]]\n" + strings.Join(lines, "\n") + "\n"
}

func TestAxisValues(t *testing.T) {
	for name, c := range map[string]struct {
		axis string
		want []string
	}{
		"range with step":    {axis(`key = "training.micro_batch"`, "range = { from = 1, to = 7, step = 3 }"), []string{"1", "4", "7"}},
		"range with count":   {axis(`key = "schedule.offload"`, "range = { from = 0, to = 0.3, count = 4 }"), []string{"0", "0.1", "0.2", "0.3"}},
		"step short of end":  {axis(`key = "training.micro_batch"`, "range = { from = 1, to = 6, step = 3 }"), []string{"1", "4"}},
		"tenths reach end":   {axis(`key = "schedule.offload"`, "range = { from = 0, to = 0.3, step = 0.1 }"), []string{"0", "0.1", "0.2", "0.3"}},
		"log with factor":    {axis(`key = "parallel.tp"`, "log_range = { from = 1, to = 8, factor = 2 }"), []string{"1", "2", "4", "8"}},
		"log with count":     {axis(`key = "cluster.override.nic_gbps"`, "log_range = { from = 1, to = 100, count = 3 }"), []string{"1", "10", "100"}},
		"rounded, each once": {axis(`key = "parallel.tp"`, "log_range = { from = 1, to = 4, count = 9 }"), []string{"1", "2", "3", "4"}},
		"text file":          {axis(`key = "training.global_batch"`, `file = "batches.txt"`), []string{"16", "32"}},
		"formula of a list":  {axis(`key = "parallel.tp"`, `formula = "divisors(cluster.gpus)"`), []string{"1", "2", "4", "8"}},
		"formula of a value": {axis(`key = "parallel.tp"`, `formula = "cluster.gpus / 2"`), []string{"4"}},
		"powers":             {axis(`key = "training.global_batch"`, `formula = "powers(2, training.global_batch, 100)"`), []string{"16", "32", "64"}},
		"names":              {axis(`key = "training.precision"`, `values = ["bf16", "fp8"]`), []string{"bf16", "fp8"}},
	} {
		var got []string
		for _, d := range described(t, c.axis) {
			_, v, _ := strings.Cut(d, " = ")
			got = append(got, v)
		}
		require.Equal(t, c.want, got, name)
	}
	require.Equal(t, []string{"cluster.gpu = h100, cluster.override.nic_gbps = 50", "cluster.gpu = h200, cluster.override.nic_gbps = 50.5"},
		described(t, axis(`file = "machines.csv"`)))
	require.Equal(t, []string{"parallel.tp = 1, parallel.pp = 2", "parallel.tp = 4, parallel.pp = 1"},
		described(t, axis(`keys = ["parallel.tp", "parallel.pp"]`, "values = [[1, 2], [4, 1]]")))
	require.Equal(t, []string{"parallel.layers_per_stage = [3 5]", "parallel.layers_per_stage = [4 4]"},
		described(t, axis(`key = "parallel.layers_per_stage"`, "values = [[3, 5], [4, 4]]")))
}

// An axis that does not apply leaves its key alone; a later one sees what an
// earlier one chose.
func TestConditionalAndDependentAxes(t *testing.T) {
	text := axis(`key = "parallel.pp"`, "values = [1, 2, 4]") +
		"[[axis]]\nkey = \"parallel.vp\"\nwhen = \"parallel.pp > 1\"\nformula = \"divisors(model.layers / parallel.pp)\"\n" +
		"[[exclude]]\nwhen = \"(parallel.vp ?? 1) == 4\"\n"
	require.Equal(t, []string{
		"parallel.pp = 1",
		"parallel.pp = 2, parallel.vp = 1", "parallel.pp = 2, parallel.vp = 2",
		"parallel.pp = 4, parallel.vp = 1", "parallel.pp = 4, parallel.vp = 2",
	}, described(t, text))
	p, err := mustParse(t, text).Points()
	require.NoError(t, err)
	require.Equal(t, []Excluded{{"(parallel.vp ?? 1) == 4", 1}}, p.Excluded)
}

func TestErrorsAtAPoint(t *testing.T) {
	for text, want := range map[string]string{
		axis(`key = "parallel.tp"`, `formula = "[]"`):                                                                                                 "gives no value",
		axis(`key = "parallel.tp"`, `formula = "cluster.gpus / 3"`):                                                                                   "not whole",
		axis(`key = "parallel.tp"`, `formula = "-1"`):                                                                                                 "out of range",
		axis(`key = "parallel.tp"`, `formula = "{'a': 1}"`):                                                                                           "must give a value",
		axis(`key = "parallel.tp"`, "values = [1]", `when = "cluster.gpus"`):                                                                          "must be true or false",
		axis(`key = "parallel.pp"`, "values = [1]", `when = "false"`) + "[[axis]]\nkey = \"parallel.tp\"\nformula = \"parallel.pp + 1\"\n":            "parallel.pp has no value here",
		axis(`key = "parallel.pp"`, "values = [1]", `when = "true"`) + "[[axis]]\nkey = \"parallel.pp\"\nvalues = [2]\nwhen = \"parallel.tp == 1\"\n": "two axes of parallel.pp apply",
		axis(`key = "parallel.tp"`, "values = [1]") + "[[exclude]]\nwhen = \"true\"\n":                                                                "every point is excluded",
		axis(`key = "cluster.gpus"`, "range = { from = 1, to = 90000, step = 1 }") +
			"[[axis]]\nkey = \"parallel.tp\"\nrange = { from = 1, to = 100, step = 1 }\n": "more than 1000000 points",
	} {
		s, err := parse(text)
		require.NoError(t, err, text)
		_, err = s.Points()
		require.ErrorContains(t, err, want, text)
	}
}

// A grid has the product of its axes' sizes, less what is excluded, and no point
// twice.
func TestGridSize(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		keys := []string{"parallel.tp", "parallel.pp", "parallel.cp", "training.micro_batch"}[:rapid.IntRange(1, 4).Draw(t, "axes")]
		limit := rapid.IntRange(1, 40).Draw(t, "limit")
		text, total, product := "scenario = \"small\"\n", 1, []string{}
		sizes := make([]int, len(keys))
		for i, k := range keys {
			sizes[i] = rapid.IntRange(1, 4).Draw(t, k)
			total *= sizes[i]
			text += fmt.Sprintf("[[axis]]\nkey = %q\nformula = \"1..%d\"\n", k, sizes[i])
			product = append(product, k)
		}
		text += fmt.Sprintf("[[exclude]]\nwhen = \"%s > %d\"\n", strings.Join(product, " * "), limit)
		out := 0
		for n := range total {
			p := 1
			for _, s := range sizes {
				p *= n%s + 1
				n /= s
			}
			if p > limit {
				out++
			}
		}
		points, err := mustParse(t, text).Points()
		require.NoError(t, err)
		require.Len(t, points.List, total-out)
		require.Equal(t, out, points.Excluded[0].Points)
		seen := map[string]bool{}
		for _, p := range points.List {
			seen[Describe(p.Values)] = true
		}
		require.Len(t, seen, total-out)
	})
}

// Every stratum of every axis of a Latin hypercube has exactly one point; values
// are inside their range, and of lists each comes as often as the others.
func TestLatinHypercube(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 200).Draw(t, "points")
		s := &Spec{Sample: LatinHypercube, Samples: n, Seed: rapid.Uint64().Draw(t, "seed"), Axes: make([]*Axis, rapid.IntRange(1, 5).Draw(t, "axes"))}
		for _, us := range s.draw() {
			hit := make([]bool, n)
			for _, u := range us {
				require.True(t, u >= 0 && u < 1)
				k := int(u * float64(n))
				require.False(t, hit[k], "stratum %d of %d twice", k, n)
				hit[k] = true
			}
		}
	})
	text := "sample = \"latin_hypercube\"\npoints = 40\nseed = 7\n" + axis(`key = "cluster.override.nic_gbps"`, "log_range = { from = 1, to = 100 }") +
		"[[axis]]\nkey = \"training.precision\"\nvalues = [\"bf16\", \"fp8\"]\n[[axis]]\nkey = \"parallel.tp\"\nrange = { from = 1, to = 8 }\n"
	s := mustParse(t, text)
	p, err := s.Points()
	require.NoError(t, err)
	require.Len(t, p.List, 40)
	fp8, decade := 0, 0
	for _, pt := range p.List {
		m := pt.Map()
		if m["training.precision"] == "fp8" {
			fp8++
		}
		x := m["cluster.override.nic_gbps"].(float64)
		require.True(t, x >= 1 && x <= 100)
		if math.Log10(x) < 1 {
			decade++
		}
		tp := m["parallel.tp"].(int64)
		require.True(t, tp >= 1 && tp <= 8)
	}
	require.Equal(t, 20, fp8)
	require.Equal(t, 20, decade)
}

// A seed decides a sample; another gives another; one more axis moves none.
func TestSampleSeed(t *testing.T) {
	sample := func(kind string, seed int, more string) []string {
		return described(t, fmt.Sprintf("sample = %q\npoints = 20\nseed = %d\n", kind, seed)+axis(`key = "cluster.override.nic_gbps"`, "range = { from = 1, to = 100 }")+more)
	}
	for _, kind := range []string{LatinHypercube, Random} {
		a := sample(kind, 1, "")
		require.Equal(t, a, sample(kind, 1, ""))
		require.NotEqual(t, a, sample(kind, 2, ""))
		for i, d := range sample(kind, 1, "[[axis]]\nkey = \"parallel.tp\"\nvalues = [1, 2]\n") {
			require.True(t, strings.HasPrefix(d, a[i]+","))
		}
	}
}

// Shards part the points: each belongs to exactly one, and no two shards differ
// by more than one.
func TestShardsPartition(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, of := rapid.IntRange(0, 300).Draw(t, "points"), rapid.IntRange(1, 20).Draw(t, "shards")
		sizes := make([]int, of)
		for k := range n {
			owners := 0
			for i := range of {
				if (Shard{i, of}).owns(k) {
					owners++
					sizes[i]++
				}
			}
			require.Equal(t, 1, owners)
		}
		require.LessOrEqual(t, slices.Max(sizes)-slices.Min(sizes), 1)
	})
}

func TestShardOf(t *testing.T) {
	slurm := map[string]string{"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "0"}
	for _, c := range []struct {
		name string
		text string
		of   int
		env  map[string]string
		want Shard
		fail string
	}{
		{name: "nothing is the whole"},
		{name: "flag", text: "2/5", want: Shard{2, 5}},
		{name: "flag before Slurm", text: "2/5", env: slurm, want: Shard{2, 5}},
		{name: "Slurm", env: slurm, want: Shard{3, 8}},
		{name: "Slurm from 1", env: map[string]string{"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "8", "SLURM_ARRAY_TASK_MIN": "1"}, want: Shard{2, 8}},
		{name: "Slurm by twos", env: map[string]string{"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "2"}, want: Shard{3, 4}},
		{name: "Slurm, one requeued alone", of: 8, env: map[string]string{"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "1", "SLURM_ARRAY_TASK_MIN": "5"}, want: Shard{5, 8}},
		{name: "Kubernetes", of: 4, env: map[string]string{"JOB_COMPLETION_INDEX": "3"}, want: Shard{3, 4}},
		{name: "Kubernetes does not tell how many", env: map[string]string{"JOB_COMPLETION_INDEX": "3"}, fail: "--shards"},
		{name: "out of range", of: 3, env: map[string]string{"JOB_COMPLETION_INDEX": "3"}, fail: "from 0"},
		{name: "not a number", of: 3, env: map[string]string{"SLURM_ARRAY_TASK_ID": "x"}, fail: "must be an integer"},
		{name: "which", of: 3, fail: "but which"},
		{name: "past the end", text: "5/5", fail: "i from 0 to n-1"},
		{name: "two numbers differ", text: "1/5", of: 3, fail: "not one of 3"},
		{name: "no shard", text: "1", fail: "must be i/n"},
	} {
		got, _, err := ShardOf(c.text, c.of, func(k string) string { return c.env[k] })
		if c.fail != "" {
			require.ErrorContains(t, err, c.fail, c.name)
			continue
		}
		require.NoError(t, err, c.name)
		require.Equal(t, c.want, got, c.name)
	}
}
