package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/sim/cost"
	"orrery/sim/plan"
	"orrery/sim/unit"
)

func newPlan(t require.TestingT, values map[string]any) *plan.Plan {
	all := map[string]any{
		"name": "test", "cluster.gpu": "h100", "model.name": "llama3-8b", "training.sequence_length": int64(4096),
		"training.micro_batch": int64(1), "training.precision": "bf16", "framework.preset": "megatron",
	}
	for k, v := range values {
		all[k] = v
	}
	res, err := scenarios.Resolve("test", all)
	require.NoError(t, err)
	p, err := plan.New(&res.Scenario)
	require.NoError(t, err)
	return p
}

// What the ranks of a pipeline hold together, over tensor and expert parallel
// ranks, is the model: nothing is lost or held twice but what tensor
// parallelism replicates (norms and routers).
func TestRanksHoldTheModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pp := rapid.SampledFrom([]int64{1, 2, 4, 8}).Draw(t, "pp")
		tp := rapid.SampledFrom([]int64{1, 2, 4, 8}).Draw(t, "tp")
		p := newPlan(t, map[string]any{"cluster.gpus": max(pp*tp, 8) / (pp * tp) * pp * tp, "parallel.pp": pp, "parallel.tp": tp,
			"training.global_batch": 64, "training.vocab_pad": int64(1)})
		sum := int64(0)
		for r := range int(pp) {
			dense, expert := p.RankParams(r)
			require.Zero(t, expert)
			sum += dense * tp
		}
		norms := p.Model.Layers*p.Model.LayerParams(0).Norms + p.Model.FinalNormParams()
		require.Equal(t, p.Model.Params()+(tp-1)*norms, sum)
	})
}

// ZeRO shards what it says: states fall with the stage, and the optimizer's
// share over all data-parallel ranks is the whole.
func TestZeROShards(t *testing.T) {
	var last float64
	for _, zero := range []int64{0, 1, 3} {
		p := newPlan(t, map[string]any{"cluster.gpus": int64(8), "training.global_batch": int64(8), "parallel.zero": zero})
		l := p.Static(0)
		if zero > 0 {
			require.Less(t, l.Sum(), last)
		}
		last = l.Sum()
	}
	p := newPlan(t, map[string]any{"cluster.gpus": int64(8), "training.global_batch": int64(8), "parallel.zero": int64(1)})
	require.InEpsilon(t, 12*float64(p.Model.Params()), 8*p.Static(0).Optimizer, 0.001) // padding of the vocabulary
}

// The activations of a microbatch equal the conformance figure of Llama-3 8B:
// 139,392 bytes per token and layer (activation_modern.csv).
func TestActivationBytes(t *testing.T) {
	p := newPlan(t, map[string]any{"cluster.gpus": int64(8), "training.global_batch": int64(8)})
	perLayer := (p.ActivationBytes(0) - 2*2*4096*4096) / 32 / 4096 // less the final norm's input and output
	require.InDelta(t, 139392, perLayer, 1e-6)
}

// A ring crosses an oversubscribed fabric with one flow a rail, an all-to-all
// with most of its traffic.
func TestOversubscription(t *testing.T) {
	p := newPlan(t, map[string]any{"cluster.gpus": int64(1024), "training.global_batch": int64(1024),
		"cluster.override.oversubscription": 8.0})
	g := p.Groups.Shard
	require.Equal(t, cost.Group{Ranks: 1024, PerDomain: 8}, g)
	require.InDelta(t, 50, p.NIC(g, cost.AllGather), 1e-6)
	require.Less(t, p.NIC(g, cost.AllToAll), 25.0)
	flat := newPlan(t, map[string]any{"cluster.gpus": int64(1024), "training.global_batch": int64(1024)})
	require.InDelta(t, 50, flat.NIC(g, cost.AllToAll), 1e-6)
}

// Groups stay in their NVLink domain while they fit it, tensor parallelism first.
func TestGroupsSitInDomains(t *testing.T) {
	p := newPlan(t, map[string]any{"cluster.gpus": int64(64), "parallel.tp": int64(4), "parallel.cp": int64(2), "parallel.pp": int64(4),
		"training.global_batch": int64(64)})
	require.Equal(t, cost.Group{Ranks: 4, PerDomain: 4}, p.Groups.TP)
	require.Equal(t, cost.Group{Ranks: 2, PerDomain: 2}, p.Groups.CP)
	require.Equal(t, cost.Group{Ranks: 4, PerDomain: 2}, p.Groups.Shard) // dp x cp over two nodes
	require.Equal(t, []bool{true, true, true, true}, p.Groups.CrossStage)
	require.Less(t, p.Static(0).Sum(), float64(80*unit.GiB))
}
