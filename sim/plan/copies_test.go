package plan_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/sim/cost"
	"orrery/sim/plan"
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

// Copies of stages that are in other combinations elsewhere are refused: whose
// gradients are summed where is not known then.
func TestCopiesInOtherCombinations(t *testing.T) {
	dir := t.TempDir()
	order := "0F0,1F1,1B1,0B0\n1F0,2F1,2B1,1B0\n2F0,2B0,0F1,0B1\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "order.csv"), []byte(order), 0o644))
	text := "cluster = { gpu = \"h100\", gpus = 3 }\nmodel.name = \"llama3-8b\"\ntraining = { sequence_length = 4096, global_batch = 2 }\n" +
		"parallel = { pp = 3, vp = 2 }\nschedule = { name = \"file\", file = \"order.csv\" }\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "s.toml"), []byte(text), 0o644))
	res, err := scenarios.Load(filepath.Join(dir, "s.toml"), nil)
	require.NoError(t, err)
	_, err = plan.New(&res.Scenario)
	require.ErrorContains(t, err, "the stages of rank 0 have 2 copies, and 1 of the ranks hold all of them")
}
