package sim

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/schedules/pipeline"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/program"
	"orrery/sim/unit"
)

func autoRun(t require.TestingT, values map[string]any) *Run {
	all := map[string]any{"cluster.gpu": "h100", "cluster.gpus": int64(8), "model.name": "llama3-8b", "training.sequence_length": int64(4096),
		"parallel.pp": int64(4), "training.global_batch": int64(16), "training.micro_batch": int64(1), "schedule.name": "zb_auto"}
	for k, v := range values {
		all[k] = v
	}
	res, err := scenarios.Resolve("auto", all)
	require.NoError(t, err)
	r, err := Simulate(context.Background(), &res.Scenario, Options{NoAdvice: true})
	require.NoError(t, err)
	return r
}

// The order of an automatic schedule is the one for the costs that the result
// names, whatever the machine; the same scenario gives the same.
func TestAutoIsFittedToItsOwnPrices(t *testing.T) {
	for _, values := range []map[string]any{
		{}, {"schedule.name": "zbv_auto", "parallel.vp": int64(2)}, {"cluster.gpu": "a100"}, {"training.sequence_length": int64(32768)}, {"schedule.memory_limit": 6.5},
	} {
		r, again := autoRun(t, values), autoRun(t, values)
		require.Equal(t, r.Result, again.Result)
		require.Equal(t, r.Plan.Order, again.Plan.Order)
		fit := r.Result.ScheduleFit
		require.NotNil(t, fit)
		auto, _ := pipeline.LookupAuto(r.Scenario.Schedule.Name)
		want, err := auto.Order(r.Plan.Shape, pipeline.Costs{F: unit.Seconds(fit.ForwardS), I: unit.Seconds(fit.BackwardInputS), W: unit.Seconds(fit.BackwardWeightS), Comm: unit.Seconds(fit.SendS)}, fit.MemoryLimit)
		require.NoError(t, err)
		order, err := want.Order(r.Plan.Shape)
		require.NoError(t, err)
		require.Equal(t, order, r.Plan.Order)
	}
	require.Nil(t, autoRun(t, map[string]any{"schedule.name": "zb_h1"}).Result.ScheduleFit)
}

// Without a limit the order takes what the GPU's memory leaves, and fits in it.
func TestAutoTakesTheMemoryThatIsLeft(t *testing.T) {
	last := 0.0
	for _, gib := range []float64{46, 60, 80} {
		r := autoRun(t, map[string]any{"cluster.override.hbm_gib": gib, "training.sequence_length": int64(8192)}).Result
		require.True(t, r.Fits, "%g GiB", gib)
		require.GreaterOrEqual(t, r.PeakMemoryGiB, last)
		last = r.PeakMemoryGiB
	}
	small, large := autoRun(t, map[string]any{"schedule.memory_limit": 4.0}).Result, autoRun(t, map[string]any{"schedule.memory_limit": 8.0}).Result
	require.Less(t, small.PeakMemoryGiB, large.PeakMemoryGiB)
	require.Equal(t, 4.0, small.ScheduleFit.MemoryLimit)
}

// A limit that the schedule cannot hold is an error that names its key.
func TestAutoRefusesATightLimit(t *testing.T) {
	res, err := scenarios.Resolve("tight", map[string]any{"cluster.gpu": "h100", "cluster.gpus": int64(8), "model.name": "llama3-8b", "training.sequence_length": int64(4096),
		"parallel.pp": int64(8), "parallel.vp": int64(2), "training.global_batch": int64(16), "schedule.name": "zbv_auto", "schedule.memory_limit": 1.0})
	require.NoError(t, err)
	_, err = Simulate(context.Background(), &res.Scenario, Options{NoAdvice: true})
	require.ErrorContains(t, err, "schedule.memory_limit: zbv_auto: a limit of 1 microbatches is too tight")
}

// Where all passes of a phase take the same, that is what is typical of them.
func TestTypicalCosts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pp := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "p")
		res, err := scenarios.Resolve("auto", map[string]any{"cluster.gpu": "h100", "cluster.gpus": 4 * pp, "model.name": "llama3-8b", "training.sequence_length": int64(4096),
			"parallel.pp": pp, "parallel.dp": int64(4), "training.global_batch": int64(16), "schedule.name": "zb_auto"})
		require.NoError(t, err)
		p, err := plan.New(&res.Scenario)
		require.NoError(t, err)
		s, err := lower.NewStep(p)
		require.NoError(t, err)
		want := pipeline.Costs{F: 7, I: 5, W: 3, Comm: 2}
		if pp == 1 {
			want.Comm = 0
		}
		dur := make([]unit.Time, len(s.Works)) // passes with data-parallel buckets are in pieces
		pieces := map[lower.Tag]int64{}
		for id, w := range s.Program.Work {
			if k := s.Program.Works[w].Kind; k == program.Forward || k == program.Backward {
				pieces[s.Tags[id]]++
			}
		}
		for id, w := range s.Program.Work {
			switch s.Program.Works[w].Kind {
			case program.Send:
				dur[w] = want.Comm
			case program.Forward, program.Backward:
				dur[w] = map[pipeline.Phase]unit.Time{pipeline.F: want.F, pipeline.I: want.I, pipeline.W: want.W}[s.Tags[id].Phase] * 60 / unit.Time(pieces[s.Tags[id]])
			}
		}
		got := typicalCosts(s, dur)
		require.Equal(t, want.Comm, got.Comm)
		require.InEpsilon(t, float64(60*want.F), float64(got.F), 0.02)
		require.InEpsilon(t, float64(60*want.I), float64(got.I), 0.02)
		require.InEpsilon(t, float64(60*want.W), float64(got.W), 0.02)
	})
}

// The costs of stages are means: over all passes they add up to what the compute
// lanes are busy with between the step's own ops, whatever the schedule; stages with
// an embedding or an output layer are dearer than the others.
func TestStageCosts(t *testing.T) {
	for _, values := range []map[string]any{
		{"schedule.name": "zb_h1"}, {"schedule.name": "zbv", "parallel.vp": int64(2)}, {"schedule.name": "1f1b"},
	} {
		r := autoRun(t, values)
		stages, send, split := r.StageCosts()
		require.Equal(t, values["schedule.name"] != "1f1b", split)
		require.Positive(t, send)
		require.Len(t, stages, r.Plan.Shape.Devices*r.Plan.Shape.Virtual)
		sum, busy := 0.0, 0.0
		for _, c := range stages {
			require.Positive(t, c.F)
			require.Positive(t, c.I)
			require.Equal(t, split, c.W > 0)
			sum += float64(c.F+c.I+c.W) * float64(r.Plan.Microbatches)
		}
		for id, w := range r.Step.Program.Work {
			lane, tag := r.Step.Program.Lane[id], r.Step.Tags[id]
			if rank := r.Step.Program.Lanes[lane].Rank; tag.Microbatch >= 0 && lane == r.Step.Lanes[rank].Compute {
				busy += float64(r.prices.dur[w])
			}
		}
		require.InEpsilon(t, busy, sum, 1e-6)
		last := len(stages) - 1
		require.Greater(t, stages[last].F, stages[last-1].F)
	}
}
