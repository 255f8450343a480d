package plan_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/schedules/pipeline"
	"orrery/sim/plan"
)

func towers(t require.TestingT, values map[string]any) *plan.Plan {
	all := map[string]any{
		"cluster.gpu": "h800", "cluster.gpus": int64(16), "model.name": "qwen3-30b-a3b", "parallel.pp": int64(4), "parallel.vp": int64(2), "parallel.ep": int64(4), "parallel.etp": int64(1),
		"training.sequence_length": int64(8192), "training.global_batch": int64(64), "schedule.name": "bigmac", "encoder.name": "vit-1.3b",
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

// Wherever a tower's stages are, they hold each of its parameters once; all of them
// are trained, or the connector's, or none.
func TestTowerParamsAreConserved(t *testing.T) {
	for _, schedule := range []string{"bigmac", "encoder_first", "optimus", "encoder_stages", "encoder_segments"} {
		values := map[string]any{"schedule.name": schedule, "generator.name": "mmdit-20b"}
		if schedule == "encoder_stages" {
			values["parallel.vp"], values["parallel.pp"], values["cluster.gpus"] = int64(1), int64(8), int64(32)
			values["encoder.devices"], values["generator.devices"] = int64(2), int64(3)
		}
		for _, trained := range []string{"all", "connector", "none"} {
			values["encoder.trained"], values["generator.trained"] = trained, trained
			p := towers(t, values)
			for _, tower := range p.Towers() {
				var all, changed int64
				for i, st := range p.Stages {
					if st.Module == tower.Module {
						a, c := p.TowerStageParams(i)
						all, changed = all+a, changed+c
					}
				}
				_, connector := tower.Model.EndParams(p.Model.Hidden)
				require.Equal(t, tower.Model.Params(p.Model.Hidden), all, "%s %v", schedule, tower.Module)
				require.Equal(t, map[string]int64{"all": all, "connector": connector, "none": 0}[trained], changed, "%s %v", schedule, tower.Module)
				ranks := int64(4) // of one stage's data-parallel peers
				if tower.Whole {
					ranks = 16
				}
				require.Equal(t, ranks, tower.Shard.Ranks, schedule)
			}
		}
	}
}

// Loads are the same in every run, whole groups of merged tokens within the sequence,
// about as many as was asked for, and as many pairs of a query and a key as items have.
func TestLoads(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		items := rapid.Int64Range(1, 6).Draw(t, "items")
		tokens := rapid.Int64Range(1, 1024).Draw(t, "groups") * 4
		values := map[string]any{
			"encoder.items_min": rapid.Int64Range(0, items).Draw(t, "least"), "encoder.items_max": items, "encoder.tokens": tokens,
			"encoder.spread": rapid.Float64Range(0, 1.5).Draw(t, "spread"), "encoder.seed": rapid.Int64Range(0, 1<<20).Draw(t, "seed"), "training.global_batch": int64(256),
		}
		p := towers(t, values)
		e := p.Tower(pipeline.Encoder)
		require.Equal(t, e.Loads, towers(t, values).Tower(pipeline.Encoder).Loads)
		require.Len(t, e.Loads, 64)
		for _, l := range e.Loads {
			require.Zero(t, l.Tokens%4)
			require.LessOrEqual(t, e.Merged(l), int64(8192))
			require.LessOrEqual(t, l.Items, items)
			require.GreaterOrEqual(t, l.Items*l.Length, l.Tokens, "the mean of squares is no less than the square of the mean")
			if values["encoder.spread"] == 0.0 {
				require.Equal(t, l.Items*tokens, l.Tokens)
			}
		}
	})
	// The mean of many is what was asked for, a little more for the busiest replica.
	p := towers(t, map[string]any{"encoder.spread": 0.7, "training.global_batch": int64(16384)})
	sum := 0.0
	for _, l := range p.Tower(pipeline.Encoder).Loads {
		sum += float64(l.Tokens)
	}
	require.InEpsilon(t, 1024, sum/4096, 0.05)
}

// Ranks that pool their items share them evenly: nothing is lost, and each has about
// as much as any.
func TestPooledLoads(t *testing.T) {
	// With one group of all replicas every one of them has the same loads.
	values := map[string]any{"encoder.cp": int64(4), "encoder.spread": 1.0, "encoder.items_max": int64(4)}
	pooled := towers(t, values).Tower(pipeline.Encoder)
	require.Equal(t, int64(4), pooled.Pool.Ranks)
	values["encoder.cp"] = int64(1)
	alone := towers(t, values).Tower(pipeline.Encoder)
	mean := func(e *plan.Tower) (sum, most float64) {
		for _, l := range e.Loads {
			sum += float64(l.Tokens) / float64(len(e.Loads))
			most = max(most, float64(l.Tokens))
		}
		return sum, most / sum
	}
	all, even := mean(pooled)
	most, uneven := mean(alone)
	require.Less(t, all, most, "the busiest replica alone has more than the mean of all")
	require.Less(t, even, uneven)

	// Whoever computes it, a step is as much work.
	flops := func(cp int64) float64 {
		values["encoder.cp"] = cp
		p := towers(t, values)
		return p.TowerStepFLOPs(p.Tower(pipeline.Encoder), false)
	}
	require.InEpsilon(t, flops(1), flops(2), 5e-3)
	require.InEpsilon(t, flops(1), flops(4), 5e-3)
}

// Samples of a file are taken in turn, over all replicas.
func TestSamplesOfAFile(t *testing.T) {
	samples, err := scenarios.ParseSamples("256 512\n1024\n\n")
	require.NoError(t, err)
	require.Equal(t, [][]int64{{256, 512}, {1024}, {}}, samples)
	res, err := scenarios.Resolve("test", map[string]any{
		"cluster.gpu": "h800", "cluster.gpus": int64(4), "model.name": "qwen3-4b", "parallel.pp": int64(4),
		"training.sequence_length": int64(8192), "training.global_batch": int64(8), "schedule.name": "bigmac", "encoder.name": "vit-1.3b",
	})
	require.NoError(t, err)
	s := &res.Scenario
	s.Encoder.Samples, s.Encoder.File = samples, "samples"
	p, err := plan.New(s)
	require.NoError(t, err)
	loads := p.Tower(pipeline.Encoder).Loads
	require.Equal(t, plan.Load{Items: 2, Tokens: 768, Length: 405}, loads[0])
	require.Equal(t, plan.Load{Items: 1, Tokens: 1024, Length: 1024}, loads[1])
	require.Equal(t, plan.Load{}, loads[2])
	require.Equal(t, loads[0], loads[3])
	s.Encoder.Samples = [][]int64{{1 << 20}}
	_, err = plan.New(s)
	require.ErrorContains(t, err, "encoder: sample 1 of samples has 1048576 tokens, merged by 4 more than the sequence's 8192")
}
