package sim_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
)

func simulate(t *testing.T, file string, opt sim.Options, sets ...string) *sim.Run {
	t.Helper()
	res, err := scenarios.Load(file, sets)
	require.NoError(t, err)
	run, err := sim.Simulate(context.Background(), &res.Scenario, opt)
	require.NoError(t, err)
	return run
}

const quickstart = "../scenarios/quickstart.toml"

// The rows of the breakdown add up to the step, and the critical path to one.
func TestRowsAddUp(t *testing.T) {
	for _, file := range []string{quickstart, "../scenarios/deepseek-v3-h100.toml", "../scenarios/llama3-8b-h200-fsdp.toml"} {
		r := simulate(t, file, sim.Options{}).Result
		sum := 0.0
		for _, v := range r.BreakdownS {
			require.GreaterOrEqual(t, v, 0.0)
			sum += v
		}
		require.InEpsilon(t, r.StepTimeS, sum, 1e-9, file)
		sum = 0
		for _, v := range r.CriticalPath {
			sum += v
		}
		require.InDelta(t, 1, sum, 0.02, file)
	}
}

// Over a slow network the longest chain is the collectives of parameters and
// gradients, under their own names.
func TestCriticalPathNamesGradients(t *testing.T) {
	r := simulate(t, "../scenarios/llama3-8b-h200-fsdp.toml", sim.Options{}, "cluster.override.nic_gbps=2", "cluster.override.nvlink_gbps=2").Result
	require.Greater(t, r.CriticalPath["grad_reduce"], 0.3)
	require.Greater(t, r.CriticalPath["param_gather"], 0.3)
	require.Zero(t, r.CriticalPath["attention"])
}

// Every rank simulated gives the same bytes as one of each kind.
func TestFoldingChangesNoNumber(t *testing.T) {
	folded, err := json.Marshal(simulate(t, quickstart, sim.Options{}).Result)
	require.NoError(t, err)
	expanded, err := json.Marshal(simulate(t, quickstart, sim.Options{Expand: true}).Result)
	require.NoError(t, err)
	require.Equal(t, string(folded), string(expanded))
}

// A job that does not fit says by how much, and names a change that does fit.
func TestAdviceFits(t *testing.T) {
	r := simulate(t, quickstart, sim.Options{}, "cluster.override.hbm_gib=48").Result
	require.False(t, r.Fits)
	require.Contains(t, r.FitAdvice, "does not fit by")
	require.Contains(t, r.FitAdvice, "cheapest change that fits: ")
}

// Memory on one rank goes up with forward passes and is back at the end.
func TestMemoryCurveReturns(t *testing.T) {
	run := simulate(t, quickstart, sim.Options{})
	for rank := range run.Step.Lanes {
		curve := run.MemoryCurve(rank)
		first, last := curve[0], curve[len(curve)-1]
		require.Equal(t, first.Bytes, last.Bytes)
		for _, p := range curve {
			require.GreaterOrEqual(t, p.Bytes, first.Bytes)
		}
	}
}

// One step of 256 GPUs, 61 layers and 32 microbatches of UltraEP's DeepSeek-V3 runs,
// loads drawn and balanced for each layer and microbatch, beside an ideal router's.
func BenchmarkBalancedStep(b *testing.B) {
	res, err := scenarios.Load("moe/deepseek-v3-ep64-pp4", nil)
	require.NoError(b, err)
	s := &res.Scenario
	s.Routing.Compare, s.Expect = nil, nil
	b.ReportAllocs()
	for b.Loop() {
		_, err := sim.Simulate(context.Background(), s, sim.Options{})
		require.NoError(b, err)
	}
}

// One step of 16,384 GPUs (Llama-3.1 405B, TP 8, PP 16, DP 128).
func BenchmarkStep16384(b *testing.B) {
	res, err := scenarios.Load("../scenarios/llama3.1-405b-16384-h100.toml", nil)
	require.NoError(b, err)
	for _, bench := range []struct {
		name string
		opt  sim.Options
	}{{"folded", sim.Options{}}, {"expanded", sim.Options{Expand: true}}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := sim.Simulate(context.Background(), &res.Scenario, bench.opt)
				require.NoError(b, err)
			}
		})
	}
}
