package lower_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim/cost"
	"orrery/sim/lower"
	"orrery/sim/plan"
)

// routedStep lowers a small mixture of experts under the first balancer of a list.
func routedStep(t *testing.T, values map[string]any) *lower.Step {
	all := map[string]any{
		"cluster.gpu": "h100", "cluster.gpus": 8, "training.sequence_length": 1024, "training.microbatches": 2,
		"model.layers": 2, "model.hidden": 1024, "model.heads": 8, "model.vocab": 32000, "model.experts": 16, "model.top_k": 2, "model.moe_ffn": 512,
		"model.shared_ffn": 512, "parallel.ep": 8, "framework.moe_dispatcher": "deepep", "routing.load": "zipf:s=0.9", "routing.slots": 2,
	}
	for k, v := range values {
		all[k] = v
	}
	res, err := scenarios.Resolve("routed", all)
	require.NoError(t, err)
	p, err := plan.New(&res.Scenario)
	require.NoError(t, err)
	routings, err := p.Route(plan.Balancers(&res.Scenario))
	require.NoError(t, err)
	s, err := lower.NewStep(p.Use(routings[0]))
	require.NoError(t, err)
	require.NoError(t, s.Program.Check())
	return s
}

// blockNamed is the first block of a name that has experts.
func blockNamed(t *testing.T, s *lower.Step, name string) *lower.Block {
	for _, w := range s.Works {
		for _, u := range w.Blocks {
			if u.Block.Name == name {
				return u.Block
			}
		}
	}
	require.Fail(t, "no block "+name)
	return nil
}

func names(b *lower.Block) (out []string) {
	for _, op := range b.Ops {
		out = append(out, op.Name)
	}
	return out
}

func at(t *testing.T, b *lower.Block, name string) int {
	i := slices.Index(names(b), name)
	require.GreaterOrEqual(t, i, 0, "%s is not among %q", name, names(b))
	return i
}

// UltraEP plans, sends weights, and then dispatches; in the backward pass it sends
// them again behind the gradient that does not need them, and adds up the replicas'
// gradients behind what follows the experts.
func TestStreamedReplicas(t *testing.T) {
	s := routedStep(t, map[string]any{"routing.balancer": "ultraep"})
	f := blockNamed(t, s, "layer forward")
	planned, sent, dispatch := at(t, f, "plan replicas"), at(t, f, "send expert weights"), at(t, f, "dispatch")
	require.Less(t, planned, sent)
	require.Less(t, sent, dispatch)
	require.Equal(t, lower.Comm, f.Ops[sent].Lane)
	require.Contains(t, f.Ops[sent].After, planned, "sending waits for the plan; the dispatch is next on its lane")

	b := blockNamed(t, s, "layer backward")
	again, wgrad, dgrad := at(t, b, "send expert weights again"), at(t, b, "wgrad expert fc2"), at(t, b, "dgrad expert fc2")
	require.Less(t, wgrad, dgrad)
	require.NotContains(t, b.Ops[wgrad].After, again)
	require.Contains(t, b.Ops[dgrad].After, again)
	sum := at(t, b, "add up replica gradients")
	require.Contains(t, b.Ops[sum].After, at(t, b, "combine"))
	for _, op := range b.Ops {
		require.NotContains(t, op.After, sum, "nothing in the layer waits for the sum")
	}

	// A layer that is computed again has its weights already.
	s = routedStep(t, map[string]any{"routing.balancer": "ultraep", "training.recompute": "full"})
	b = blockNamed(t, s, "layer backward")
	require.True(t, b.Ops[at(t, b, "send expert weights")].Recompute)
	require.NotContains(t, names(b), "send expert weights again")
	require.NotContains(t, names(b), "plan replicas")
}

// What does not balance sends nothing; a placement that lasts sends nothing anew.
func TestLastingReplicas(t *testing.T) {
	for _, balancer := range []string{"none", "ideal", "eplb"} {
		s := routedStep(t, map[string]any{"routing.balancer": balancer, "routing.history": 1})
		for _, w := range s.Works {
			for _, u := range w.Blocks {
				require.NotContains(t, names(u.Block), "plan replicas", balancer)
				require.NotContains(t, names(u.Block), "send expert weights again", balancer)
				require.NotContains(t, names(u.Block), "add up replica gradients", balancer)
			}
		}
	}
	optimizer := func(balancer string) *lower.Block {
		return blockNamed(t, routedStep(t, map[string]any{"routing.balancer": balancer, "routing.history": 1}), "optimizer")
	}
	for _, balancer := range []string{"none", "ultraep", "fastermoe"} {
		require.NotContains(t, names(optimizer(balancer)), "add up lasting replicas", balancer)
	}
	b := optimizer("eplb") // once a step, before and after the update
	sum, adam, renew := at(t, b, "add up lasting replicas"), at(t, b, "adam"), at(t, b, "renew lasting replicas")
	require.IsIncreasing(t, []int{sum, adam, renew})
	gradients, weights := b.Ops[sum].Kernel.(cost.Reported), b.Ops[renew].Kernel.(cost.Reported)
	require.Positive(t, weights.Bytes)
	require.Equal(t, 2*weights.Bytes, gradients.Bytes, "fp32 and bf16")

	s := routedStep(t, map[string]any{"routing.balancer": "fastermoe"})
	b = blockNamed(t, s, "layer backward")
	at(t, b, "add up shadow gradients")
}

// Every microbatch has works of its own, and every group of ranks that hold the same
// experts; an even load has neither.
func TestWorksOfLoads(t *testing.T) {
	s := routedStep(t, map[string]any{"cluster.gpus": 16, "framework.overlap_param_gather": false, "framework.overlap_grad_reduce": false})
	require.Equal(t, 2, s.Groups())
	require.Len(t, s.Others, 4, "a forward and a backward pass of two microbatches")
	for first, others := range s.Others {
		require.Len(t, others, 1)
		require.Equal(t, s.Program.Works[first].Kind, s.Program.Works[others[0]].Kind)
		require.Equal(t, others[0], s.WorkOf(1, first))
		require.Equal(t, first, s.WorkOf(0, first))
	}
	e := s.ByGroup()
	require.NoError(t, e.Program.Check())
	require.Len(t, e.Lanes, 2)
}

// With overlap_shared the two halves of the shared experts run while tokens travel.
func TestSharedExpertsBeside(t *testing.T) {
	plain, beside := routedStep(t, nil), routedStep(t, map[string]any{"framework.overlap_shared": true})
	for _, name := range []string{"layer forward", "layer backward"} {
		a, b := names(blockNamed(t, plain, name)), names(blockNamed(t, beside, name))
		slices.Sort(a)
		slices.Sort(b)
		require.Equal(t, a, b, "the same kernels")
	}
	f := blockNamed(t, beside, "layer forward")
	up, down := at(t, f, "shared fc1"), at(t, f, "shared fc2")
	dispatch, combine := at(t, f, "dispatch"), at(t, f, "combine")
	require.Equal(t, [2]int{dispatch + 1, combine + 1}, [2]int{up, down})
	require.Empty(t, f.Ops[up].After)
	require.Empty(t, f.Ops[down].After)
	require.Contains(t, f.Ops[at(t, f, "expert fc1")].After, dispatch)
	require.Contains(t, f.Ops[at(t, f, "unpermute")].After, combine)
}
