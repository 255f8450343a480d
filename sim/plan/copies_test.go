package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/cost"
)

// The ranks of Chimera's pipeline hold the model twice, and the rank opposite holds
// what a rank does.
func TestCopiesHoldTheModelTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pp := rapid.SampledFrom([]int64{2, 4, 8}).Draw(t, "pp")
		tp := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "tp")
		values := map[string]any{"cluster.gpus": max(pp*tp, 8), "parallel.pp": pp, "parallel.tp": tp, "training.global_batch": int64(64), "training.vocab_pad": int64(1)}
		once := newPlan(t, values)
		values["parallel.vp"], values["schedule.name"] = int64(2), "chimera"
		twice := newPlan(t, values)
		require.Equal(t, once.Stages, twice.Stages)
		require.Nil(t, once.Copies)
		for r := range int(pp) {
			opposite := int(pp) - 1 - r
			dense, _ := twice.RankParams(r)
			down, _ := once.RankParams(r)
			up, _ := once.RankParams(opposite)
			require.Equal(t, down+up, dense)
			require.Equal(t, []int{min(r, opposite), max(r, opposite)}, twice.Copies[r].Ranks)
		}
	})
}

// Copies are in one NVLink domain where their ranks are: of 16 GPUs on two nodes
// with 4 pipeline ranks of 4 GPUs each, all copies are apart.
func TestCopiesSitInDomains(t *testing.T) {
	values := map[string]any{"cluster.gpus": int64(16), "parallel.pp": int64(4), "parallel.tp": int64(4), "parallel.vp": int64(2),
		"schedule.name": "chimera", "training.global_batch": int64(8)}
	for _, c := range newPlan(t, values).Copies {
		require.Equal(t, cost.Group{Ranks: 2, PerDomain: 1}, c.Group)
	}
	values["cluster.gpus"], values["parallel.tp"] = int64(8), int64(2)
	for _, c := range newPlan(t, values).Copies {
		require.Equal(t, cost.Group{Ranks: 2, PerDomain: 2}, c.Group)
	}
}
