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

// A lowered step of schedules whose passes go both ways takes as long as the order
// under the timing model of schedules/pipeline, pairs and messages included: passes
// of both chunks share lanes for messages without holding each other up.
func TestBothWaysTakeAsLongAsTheirOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.SampledFrom([]string{"dualpipev", "dualpipe", "zbv", "vhalf", "vmin"}).Draw(t, "schedule")
		p := rapid.SampledFrom([]int64{2, 4, 8}).Draw(t, "p")
		m := 2*p + 2*rapid.Int64Range(0, p/2).Draw(t, "(m - 2p) / 2")
		costs := pipeline.Costs{
			F:    unit.Time(rapid.Int64Range(20, 100).Draw(t, "F")),
			I:    unit.Time(rapid.Int64Range(20, 100).Draw(t, "I")),
			W:    unit.Time(rapid.Int64Range(20, 100).Draw(t, "W")),
			Comm: unit.Time(rapid.Int64Range(0, 20).Draw(t, "comm")), // shorter than any pass: a lane is free when the next ends
		}
		s := step(t, map[string]any{"cluster.gpus": p, "parallel.pp": p, "parallel.vp": int64(2), "training.global_batch": m,
			"schedule.name": name, "schedule.overlap_pairs": strings.HasPrefix(name, "dualpipe") && rapid.Bool().Draw(t, "overlap")})
		dur := make([]unit.Time, len(s.Program.Works))
		for id, w := range s.Program.Work {
			switch s.Program.Works[w].Kind {
			case program.Send:
				dur[w] = costs.Comm
			case program.Forward:
				dur[w] = costs.F
			case program.Backward:
				dur[w] = map[pipeline.Phase]unit.Time{pipeline.B: costs.I + costs.W, pipeline.I: costs.I, pipeline.W: costs.W}[s.Tags[id].Phase]
			}
		}
		var tl timeline.Timeline
		require.NoError(t, engine.Relax(s.Program, dur, &tl))
		var end unit.Time
		for _, e := range tl.End {
			end = max(end, e)
		}
		want, err := pipeline.Simulate(s.Plan.Schedule, s.Plan.Shape, costs)
		require.NoError(t, err)
		if !s.Plan.Scenario.Schedule.OverlapPairs && strings.HasPrefix(name, "dualpipe") { // a pass alone sends what it has at once
			require.LessOrEqual(t, end, want.Makespan)
			return
		}
		require.Equal(t, want.Makespan, end)
	})
}

// Every pass of a step with pairs is there once, with the blocks that it has
// alone, in two ops a pair that follow one another; activations return to zero
// and peak as without pairs.
func TestPairsAreComplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{1, 2, 4}).Draw(t, "p")
		name := "dualpipev"
		if p > 1 {
			name = rapid.SampledFrom([]string{"dualpipe", "dualpipev"}).Draw(t, "schedule")
		}
		values := map[string]any{"cluster.gpus": p, "parallel.pp": p, "parallel.vp": int64(2), "schedule.name": name,
			"training.global_batch": 2*p + 2*rapid.Int64Range(0, 3).Draw(t, "(m - 2p) / 2")}
		with := step(t, values)
		values["schedule.overlap_pairs"] = false
		without := step(t, values)
		blocks := func(s *lower.Step) map[lower.Tag][]lower.Use {
			out := map[lower.Tag][]lower.Use{}
			for id, w := range s.Program.Work {
				if len(s.Works[w].Blocks) == 0 || s.Tags[id].Microbatch < 0 {
					continue
				}
				for _, u := range s.Works[w].Blocks {
					out[s.Tags[id]] = append(out[s.Tags[id]], lower.Use{Block: &lower.Block{Name: u.Block.Name}, Times: u.Times})
				}
			}
			return out
		}
		require.Equal(t, blocks(without), blocks(with))
		pairs := 0
		for id, w := range with.Program.Work {
			pair := with.Works[w].Pair
			if pair == nil || with.Tags[id].Phase != pipeline.F {
				continue
			}
			pairs++
			next := with.Program.Work[id+1]
			require.Same(t, pair, with.Works[next].Pair)
			require.Equal(t, with.Program.Lane[id], with.Program.Lane[id+1])
			require.NotEqual(t, with.Tags[id].Stage, with.Tags[id+1].Stage)
		}
		paired := 0
		for _, order := range with.Plan.Order {
			for _, s := range order {
				if s.Paired {
					paired++
				}
			}
		}
		require.Equal(t, paired, pairs)
		peak := func(s *lower.Step) (peak []int64) {
			peak = make([]int64, p)
			held := make([]int64, p)
			for _, e := range s.Program.Mem {
				held[e.Rank] += e.Bytes
				peak[e.Rank] = max(peak[e.Rank], held[e.Rank])
			}
			require.Equal(t, make([]int64, p), held)
			return peak
		}
		require.Equal(t, peak(without), peak(with))
	})
}

// The tasks of a pair are the kernels of both passes; those of a strand are in
// their pass's order and wait only for earlier ones.
func TestPairTasks(t *testing.T) {
	s := step(t, map[string]any{"cluster.gpus": int64(4), "parallel.pp": int64(2), "parallel.tp": int64(2), "parallel.vp": int64(2),
		"schedule.name": "dualpipev", "training.global_batch": int64(6)})
	seen := map[*lower.Pair]bool{}
	for _, w := range s.Works {
		if w.Pair == nil || seen[w.Pair] {
			continue
		}
		seen[w.Pair] = true
		count := func(uses []lower.Use) (n int) {
			for _, u := range uses {
				n += int(u.Times) * len(u.Block.Ops)
			}
			return n
		}
		tasks := w.Pair.Tasks()
		require.Len(t, tasks, count(w.Pair.Forward)+count(w.Pair.Backward))
		for i, task := range tasks {
			op := task.Block.Ops[task.Index]
			require.Equal(t, op.Lane, task.Strand.Lane())
			require.Equal(t, i < count(w.Pair.Forward), task.Strand.Forward())
			require.Equal(t, op.Wgrad, task.Strand == lower.Weights)
			for _, a := range task.After {
				require.Less(t, a, i)
				require.NotEqual(t, lower.Weights, tasks[a].Strand, "%s waits for a weight gradient", op.Name)
				require.Equal(t, task.Strand.Forward(), tasks[a].Strand.Forward())
			}
		}
	}
	require.NotEmpty(t, seen)
}
