package lower_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
	"orrery/sim/engine"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// towers draws a small multimodal scenario of qwen3-30b-a3b on h800.
func towers(t *rapid.T, schedule string) map[string]any {
	p := rapid.SampledFrom([]int64{2, 4}).Draw(t, "p")
	v := rapid.Int64Range(1, 2).Draw(t, "v")
	generator := rapid.Bool().Draw(t, "generator")
	if schedule == "encoder_stages" {
		v, p = 1, 4
	}
	dp := rapid.SampledFrom([]int64{1, 2}).Draw(t, "dp")
	values := map[string]any{
		"cluster.gpu": "h800", "cluster.gpus": p * dp, "model.name": "qwen3-30b-a3b", "parallel.pp": p, "parallel.vp": v, "parallel.ep": int64(1), "parallel.etp": int64(1),
		"training.global_batch": dp * p * rapid.Int64Range(1, 4).Draw(t, "units"), "schedule.name": schedule,
		"encoder.name": "clip-vit-l", "encoder.layers": int64(4), "encoder.tokens": int64(256), "encoder.zero": rapid.SampledFrom([]int64{0, 1, 3}).Draw(t, "zero"),
		"encoder.trained": rapid.SampledFrom([]string{"all", "connector", "none"}).Draw(t, "trained"), "encoder.spread": 0.5,
	}
	if schedule == "optimus" {
		values["encoder.pieces"] = int64(2)
		values["encoder.zero"] = int64(1)
	}
	if values["encoder.zero"] == int64(3) {
		values["encoder.pull"] = rapid.Bool().Draw(t, "pull")
	}
	if generator {
		values["generator.name"], values["generator.layers"], values["generator.trained"] = "mmdit-20b", int64(4), rapid.SampledFrom([]string{"all", "connector", "none"}).Draw(t, "generator trained")
		values["generator.zero"] = int64(3)
	}
	return values
}

var multimodal = []string{"bigmac", "encoder_first", "optimus", "encoder_stages", "encoder_segments"}

// A step with towers runs as its schedule does under the costs of this package's
// passes, whatever parameters are gathered and wherever tokens vary: one duration for
// each module's pass, all else free.
func TestTowersRunAsSimulated(t *testing.T) {
	for _, schedule := range multimodal {
		t.Run(schedule, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := step(t, towers(t, schedule))
				draw := func(name string) unit.Time { return unit.Time(rapid.Int64Range(1, 40).Draw(t, name)) }
				of := map[pipeline.Module][2]unit.Time{pipeline.LLM: {draw("F"), draw("B")}, pipeline.Encoder: {draw("EF"), draw("EB")}, pipeline.Generator: {draw("GF"), draw("GB")}}
				at := func(stage int32, phase pipeline.Phase) unit.Time {
					times := of[s.Plan.Stages[stage].Module]
					if phase == pipeline.F {
						return times[0]
					}
					return times[1]
				}
				// A pass in segments takes its time in the last.
				last := map[pipeline.Slot]program.OpID{}
				for id, tag := range s.Tags {
					if lane := s.Program.Lane[id]; tag.Microbatch >= 0 && lane == s.Lanes[s.Program.Lanes[lane].Rank].Compute {
						last[pipeline.Slot{Phase: tag.Phase, Stage: tag.Stage, Microbatch: tag.Microbatch}] = program.OpID(id)
					}
				}
				copyOf := *s.Program
				copyOf.Work = make([]program.WorkID, len(s.Program.Work))
				copyOf.Works = make([]program.Work, len(s.Program.Work))
				durations := make([]unit.Time, len(s.Program.Work))
				for id := range copyOf.Work {
					copyOf.Work[id] = program.WorkID(id)
				}
				for slot, id := range last {
					durations[id] = at(slot.Stage, slot.Phase)
				}
				var tl timeline.Timeline
				require.NoError(t, engine.Relax(&copyOf, durations, &tl))
				var got unit.Time
				for _, e := range tl.End {
					got = max(got, e)
				}
				want, err := pipeline.Simulate(s.Plan.Schedule, s.Plan.Shape, pipeline.Costs{F: 1, I: 1, Vary: func(slot pipeline.Slot) unit.Time { return at(slot.Stage, slot.Phase) }})
				require.NoError(t, err)
				together := s.Plan.Scenario.Encoder.ZeRO == 3 && !s.Plan.Scenario.Encoder.Pull || s.Plan.Scenario.Generator != nil
				if !together || !pipeline.WholeOnEvery(s.Plan.Schedule) {
					require.Equal(t, want.Makespan, got)
				} else {
					require.GreaterOrEqual(t, got, want.Makespan, "ranks that gather together wait for each other")
				}
			})
		})
	}
}

// What passes of towers take they give back, each module for itself; nothing is kept
// of a frozen encoder.
func TestTowersGiveMemoryBack(t *testing.T) {
	for _, schedule := range multimodal {
		t.Run(schedule, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := step(t, towers(t, schedule))
				held := map[[2]int]int64{}
				taken := map[uint8]int64{}
				for _, e := range s.Program.Mem {
					held[[2]int{int(e.Rank), int(e.Class)}] += e.Bytes
					taken[e.Class] += max(e.Bytes, 0)
				}
				for at, bytes := range held {
					require.Zero(t, bytes, "rank %d, class %d", at[0], at[1])
				}
				if s.Plan.Scenario.Encoder.Trained == "none" {
					require.Zero(t, taken[lower.MemEncoder])
				} else {
					require.Positive(t, taken[lower.MemEncoder])
				}
				if s.Plan.Scenario.Generator != nil {
					require.Positive(t, taken[lower.MemGenerator])
				}
			})
		})
	}
}

// Every rank of a whole tower gathers every layer twice a unit where parameters are
// sharded, and its reductions are of what is trained.
func TestTowersGatherLayers(t *testing.T) {
	s := step(t, map[string]any{
		"cluster.gpu": "h800", "cluster.gpus": int64(8), "model.name": "qwen3-30b-a3b", "parallel.pp": int64(4), "parallel.vp": int64(2), "parallel.ep": int64(1), "parallel.etp": int64(1),
		"training.global_batch": int64(16), "schedule.name": "bigmac", "encoder.name": "clip-vit-l", "encoder.zero": int64(3), "framework.overlap_param_gather": false,
	})
	gathers, reduces := 0, 0
	for id, w := range s.Program.Work {
		if s.Tags[id].Microbatch < 0 || s.Plan.Stages[s.Tags[id].Stage].Module != pipeline.Encoder {
			continue
		}
		switch s.Program.Works[w].Kind {
		case program.ParamGather:
			gathers++
		case program.GradReduce:
			reduces++
		}
	}
	const units, ranks, segments = 2, 4, 24 + 2 // its layers and two ends
	require.Equal(t, units*ranks*segments*2, gathers)
	require.Equal(t, units*ranks*segments, reduces)
	found := false
	for _, w := range s.Works {
		for _, u := range w.Blocks {
			for _, op := range u.Block.Ops {
				if strings.HasPrefix(u.Block.Name, "encoder") && op.Class == lower.Attention {
					require.Contains(t, op.Kernel.String(), "causal=false")
					found = true
				}
			}
		}
	}
	require.True(t, found)
}
