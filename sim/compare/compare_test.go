package compare

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/lower"
	"orrery/sim/unit"
)

func side(t testing.TB, name string, sets ...string) Side {
	t.Helper()
	res, err := scenarios.Load(name, sets)
	require.NoError(t, err)
	run, err := sim.Simulate(context.Background(), &res.Scenario, sim.Options{})
	require.NoError(t, err)
	return Side{run.Result, res.Origins}
}

// Integers that add up to the whole, each the share rounded down or up.
func TestApportion(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.MapOfN(rapid.StringMatching("[a-f]{1,3}"), rapid.Float64Range(0, 100), 1, 12).Draw(t, "rows")
		whole, sum := rapid.Int64Range(0, 1e15).Draw(t, "whole"), 0.0
		for _, x := range rows {
			sum += x
		}
		out := apportion(rows, whole)
		if sum == 0 {
			require.Empty(t, out)
			return
		}
		var total int64
		for name, n := range out {
			share := rows[name] / sum * float64(whole)
			require.InDelta(t, share, n, 1+1e-12*share)
			require.NotZero(t, rows[name])
			total += n
		}
		require.Equal(t, whole, total)
	})
}

// holds checks what is true of every comparison.
func holds(t testing.TB, c *Comparison, a, b Side) {
	t.Helper()
	require.Equal(t, int64(unit.Seconds(a.Result.StepTimeS)), c.Step.A)
	require.Equal(t, int64(unit.Seconds(b.Result.StepTimeS)), c.Step.B)
	require.Equal(t, wholeBytes(a.Result.PeakMemoryGiB), c.Memory.A)
	require.Equal(t, wholeBytes(b.Result.PeakMemoryGiB), c.Memory.B)
	for _, s := range []Split{c.Step, c.Memory} {
		require.Equal(t, s.B-s.A, s.Change)
		var sumA, sumB, change int64
		for _, g := range s.Groups {
			var rows int64
			for _, r := range g.Rows {
				require.Equal(t, r.B-r.A, r.Change)
				rows += r.Change
			}
			require.Equal(t, g.Change, rows)
			sumA, sumB, change = sumA+g.A, sumB+g.B, change+g.Change
		}
		require.Equal(t, []int64{s.A, s.B, s.Change}, []int64{sumA, sumB, change})
	}
}

// Scenarios of all kinds, each with the next: parts sum to the difference, the
// other way round is its negative, and a run does not differ from itself.
func TestPartsSumToTheDifference(t *testing.T) {
	names := []string{"quickstart", "llama3-70b-h100-fp8", "deepseek-v3-gb200", "llama3-8b-h200-fsdp", "long-context/llama-13b-128k-128-slimpipe", "nlp/co-gat-mastodon"}
	var sides []Side
	for _, n := range names {
		sides = append(sides, side(t, n))
	}
	for i, a := range sides {
		b := sides[(i+1)%len(sides)]
		c := Compare(a, b)
		holds(t, c, a, b)
		back := Compare(b, a)
		require.Equal(t, c.Step.Change, -back.Step.Change)
		for g := range c.Step.Groups {
			require.Equal(t, c.Step.Groups[g].Change, -back.Step.Groups[g].Change)
		}
		same := Compare(a, a)
		require.Zero(t, same.Step.Change)
		require.Empty(t, same.Inputs)
		for _, g := range append(same.Step.Groups, same.Memory.Groups...) {
			require.Zero(t, g.Change)
		}
	}
}

// Every class of kernels and messages has its group.
func TestGroups(t *testing.T) {
	for c := range lower.NumClasses {
		name, want := c.String(), kernels
		if strings.HasSuffix(name, "_comm") {
			name, want = name+"_exposed", communication
		}
		require.Equal(t, want, groupOf(name), name)
	}
	for row, want := range map[string]string{"pipeline_send": communication, "grad_reduce_exposed": communication, "bubble": bubbles,
		"recompute": memorySaved, "offload_exposed": memorySaved, "host": other, "jitter": other} {
		require.Equal(t, want, groupOf(row), row)
	}
}

// A change of one key is named with what follows from it, and lands where it
// belongs.
func TestAttribution(t *testing.T) {
	base := side(t, "quickstart")
	change := func(sets ...string) (map[string]int64, *Comparison) {
		b := side(t, "quickstart", sets...)
		c := Compare(base, b)
		holds(t, c, base, b)
		out := map[string]int64{}
		for _, g := range c.Step.Groups {
			out[g.Name] = g.Change
		}
		return out, c
	}
	by, c := change("training.recompute=full")
	require.Equal(t, []Input{{"training.recompute", "none", "full", "default", "--set"}}, c.Inputs)
	require.Greater(t, by["memory saved"], c.Step.Change/2)
	require.Negative(t, c.Memory.Change)

	by, c = change("cluster.override.nic_gbps=5")
	require.Greater(t, by["communication"], c.Step.Change/2)
	require.Greater(t, by["communication"]+by["bubbles"], 97*c.Step.Change/100, "ranks wait for others that wait")
	require.Zero(t, c.Memory.Change)

	by, c = change("parallel.vp=1")
	require.Greater(t, by["bubbles"], c.Step.Change/2)
	var keys []string
	for _, in := range c.Inputs {
		keys = append(keys, in.Key)
	}
	require.Equal(t, []string{"parallel.vp", "parallel.layers_per_stage", "schedule.name", "schedule.group_size", "framework.overlap_p2p"}, keys)

	_, c = change("cluster.gpus=128")
	require.Contains(t, c.Notes, "B runs on 128 GPUs, A on 64")
	_, c = change("training.global_batch=64")
	require.Contains(t, c.Notes[0], "5.243e+05 tokens")
}

// A result that was written and read again compares as the run itself.
func TestReadBack(t *testing.T) {
	a, b := side(t, "quickstart"), side(t, "quickstart", "training.precision=fp8")
	text, err := json.Marshal(b.Result)
	require.NoError(t, err)
	back, err := Read("b.json", text)
	require.NoError(t, err)
	fromFile := Compare(a, Side{Result: back})
	require.False(t, fromFile.B.InputsKnown)
	require.Empty(t, fromFile.Inputs)
	require.Equal(t, Compare(a, b).Step, fromFile.Step)
}

func TestReadRefuses(t *testing.T) {
	for text, want := range map[string]string{
		`{`:                     "unexpected EOF",
		`{"step_time": 1}`:      `unknown field "step_time"`,
		`{"step_time_s": 0}`:    "step_time_s is 0",
		`{"step_time_s": 1} {}`: "text follows",
		`{"step_time_s": 1}`:    "adds up to 0 instead of 1",
		`{"step_time_s": 1, "breakdown_s": {"mlp": 2, "bubble": -1}}`:                                                  "bubble = -1",
		`{"step_time_s": 1, "breakdown_s": {"mlp": 1}, "memory_gib_by_stage": [{"peak_gib": 3, "breakdown_gib": {}}]}`: "memory_gib_by_stage[0]: breakdown_gib adds up to 0 instead of 3",
	} {
		_, err := Read("r.json", []byte(text))
		require.ErrorContains(t, err, want)
		require.ErrorContains(t, err, "r.json: not a result of `sim run --json`")
	}
}

// FuzzRead: no text panics, and what is read compares with itself and with a
// known result in parts that sum to the whole.
func FuzzRead(f *testing.F) {
	base := side(f, "quickstart")
	text, err := json.Marshal(base.Result)
	require.NoError(f, err)
	f.Add(string(text))
	f.Add(`{"step_time_s": 1e-12, "breakdown_s": {"mlp": 5e-13, "bubble": 5e-13}, "gpus": 1}`)
	f.Add(`{"step_time_s": 8e6, "breakdown_s": {"new": 8e6}, "memory_gib_by_stage": [{"stage": 1, "peak_gib": 1, "breakdown_gib": {"x": 1}}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := Read("r.json", []byte(text))
		if err != nil {
			return
		}
		r.PeakMemoryGiB = peak(r).PeakGiB
		other := Side{Result: r}
		holds(t, Compare(base, other), base, other)
		for _, m := range Compare(other, base).Metrics {
			require.False(t, math.IsNaN(m.Change), m.Name)
		}
	})
}
