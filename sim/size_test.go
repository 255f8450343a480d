package sim_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/schedules/pipeline"
	"orrery/sim"
)

// Ops is no less than what a step comes to, whatever is drawn (TestCatalogue holds it to
// the catalogue), and a limit just below refuses it before it is planned.
func TestOps(t *testing.T) {
	var names []string
	for _, s := range pipeline.All() {
		names = append(names, s.Name())
	}
	ran := 0
	rapid.Check(t, func(t *rapid.T) {
		pp := rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "pp")
		values := map[string]any{
			"cluster.gpu": "h100", "cluster.gpus": 16, "model.name": "llama3-8b", "training.sequence_length": 4096,
			"training.micro_batch": rapid.IntRange(1, 2).Draw(t, "micro_batch"), "training.microbatches": rapid.IntRange(1, 40).Draw(t, "microbatches"),
			"parallel.pp": pp, "parallel.tp": rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "tp"), "parallel.zero": rapid.SampledFrom([]int{0, 1, 3}).Draw(t, "zero"),
			"framework.bucket_mib": rapid.SampledFrom([]float64{0, 1, 1000}).Draw(t, "bucket_mib"),
		}
		if pp > 1 {
			values["schedule.name"] = rapid.SampledFrom(names).Draw(t, "schedule")
			values["parallel.vp"] = rapid.SampledFrom([]int{1, 2}).Draw(t, "vp")
		}
		res, err := scenarios.Resolve("case", values)
		if err != nil {
			return // of those that are left about a third run
		}
		s := &res.Scenario
		run, err := sim.Simulate(context.Background(), s, sim.Options{NoAdvice: true})
		if err != nil {
			return
		}
		ran++
		ops := sim.Ops(s)
		require.GreaterOrEqual(t, ops, float64(run.Program.Len()))
		_, err = sim.Simulate(context.Background(), s, sim.Options{NoAdvice: true, MaxOps: ops * 0.999, Phase: func(sim.Phase) { t.Fatal("it was begun") }})
		var large *sim.TooLarge
		require.ErrorAs(t, err, &large)
		require.Equal(t, ops, large.Ops)
	})
	require.Positive(t, ran)
}

// A run tells its phases in their order, and one that is cancelled ends with the next.
func TestPhases(t *testing.T) {
	res, err := scenarios.Load("quickstart", nil)
	require.NoError(t, err)
	var phases []sim.Phase
	note := func(p sim.Phase) { phases = append(phases, p) }
	_, err = sim.Simulate(context.Background(), &res.Scenario, sim.Options{Phase: note})
	require.NoError(t, err)
	require.Equal(t, []sim.Phase{sim.PhasePlan, sim.PhaseLower, sim.PhasePrice, sim.PhaseSimulate, sim.PhaseSummarise}, phases)
	for i, last := range phases {
		ctx, cancel := context.WithCancel(context.Background())
		var seen []sim.Phase
		_, err = sim.Simulate(ctx, &res.Scenario, sim.Options{Phase: func(p sim.Phase) {
			if seen = append(seen, p); p == last {
				cancel()
			}
		}})
		cancel()
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, phases[:i+1], seen)
	}
}
