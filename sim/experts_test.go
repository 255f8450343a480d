package sim

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/schedules/balance"
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/engine"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// small is a mixture of experts on 8 GPUs of one NVLink domain and two stages.
func small(values map[string]any) map[string]any {
	all := map[string]any{
		"cluster.gpu": "h100", "cluster.gpus": 8, "training.sequence_length": 1024, "training.microbatches": 4,
		"model.layers": 4, "model.hidden": 1024, "model.heads": 8, "model.vocab": 32000, "model.experts": 32, "model.top_k": 2, "model.moe_ffn": 512,
		"parallel.pp": 2, "parallel.ep": 4, "framework.moe_dispatcher": "deepep", "framework.cuda_graphs": true,
		"routing.load": "zipf:s=0.8", "routing.sigma": 0.4, "routing.rho": 0.5,
	}
	for k, v := range values {
		if all[k] = v; v == nil {
			delete(all, k)
		}
	}
	return all
}

func simulateSmall(t require.TestingT, values map[string]any, opt Options) *Run {
	res, err := scenarios.Resolve("small", small(values))
	require.NoError(t, err)
	run, err := Simulate(context.Background(), &res.Scenario, opt)
	require.NoError(t, err)
	return run
}

// everyRank builds the step of the small scenario with a lane for each rank of each
// stage's expert group: kernels of a layer one after the other on every rank's lane,
// the grouped GEMMs and what goes with them of that rank's own load, and every
// exchange an op that all ranks of the group wait for. It is written from the
// meaning, not from lower: passes follow the order, a stage's first kernel waits for
// all ranks of the stage before.
func everyRank(t require.TestingT, run *Run) unit.Time {
	p, routing := run.Plan, run.Plan.Routing
	n := routing.Setup.Ranks
	prog := &program.Program{}
	var durations []unit.Time
	lanes := make([][]program.LaneID, len(p.Order))
	group := make([]program.LaneID, len(p.Order))
	for d := range lanes {
		for r := range n {
			lanes[d] = append(lanes[d], prog.AddLane(int32(d*n+r), "compute"))
		}
		group[d] = prog.AddLane(int32(d*n), "exchange")
	}
	last := make([][]program.OpID, len(p.Order)) // of each rank
	for d := range last {
		last[d] = make([]program.OpID, n)
		for r := range last[d] {
			last[d][r] = program.None
		}
	}
	add := func(lane program.LaneID, dur unit.Time, deps ...program.OpID) program.OpID {
		durations = append(durations, dur)
		return prog.Add(lane, prog.AddWork(program.Work{Name: "op"}), deps...)
	}
	price := func(k cost.Kernel) unit.Time {
		e, err := run.prices.kernel(k)
		require.NoError(t, err)
		return e.Time
	}
	of := func(op lower.Op, s *balanceShare, r int) unit.Time { // one rank's own
		switch k := op.Kernel.(type) {
		case cost.GroupedGEMM:
			k.Tokens, k.Tiles, k.Groups = s.rows[r], s.tiles[r], s.experts[r]
			return price(k)
		case cost.Memory:
			if op.Name == "expert activation" || op.Name == "d expert activation" {
				k.Read, k.Write = k.Read/s.most*s.rows[r], k.Write/s.most*s.rows[r]
				return price(k)
			}
		}
		return price(op.Kernel)
	}
	runBlock := func(d int, b *lower.Block, s *balanceShare) {
		for _, op := range b.Ops {
			if op.Lane == lower.Comm {
				x := add(group[d], price(op.Kernel), last[d]...)
				for r := range last[d] {
					last[d][r] = x
				}
				continue
			}
			for r := range n {
				last[d][r] = add(lanes[d][r], of(op, s, r), last[d][r])
			}
		}
	}
	ends := map[pipeline.Slot][]program.OpID{}
	next := make([]int, len(p.Order))
	for left := 2 * len(p.Stages) * run.Step.Plan.Shape.Microbatches; left > 0; {
		progressed := false
		for d := range p.Order {
			if next[d] == len(p.Order[d]) {
				continue
			}
			slot := p.Order[d][next[d]]
			from, waits := slot, true
			switch {
			case slot.Phase == pipeline.F && slot.Stage > 0:
				from.Stage--
			case slot.Phase == pipeline.B && int(slot.Stage) < len(p.Stages)-1:
				from.Stage++
			default:
				waits = false
			}
			arrived, ok := ends[from]
			if waits && !ok {
				continue
			}
			if waits { // each rank from its peer; the peers end together
				for r := range n {
					last[d][r] = add(lanes[d][r], 0, append([]program.OpID{arrived[r]}, last[d][r])...)
				}
			}
			tagged := workOf(t, run, d, next[d])
			for _, u := range run.Step.Works[tagged].Blocks {
				for range u.Times {
					runBlock(d, u.Block, shareOf(run, u.Block))
				}
			}
			ends[slot] = append([]program.OpID(nil), last[d]...)
			next[d]++
			left--
			progressed = true
		}
		require.True(t, progressed, "deadlock")
	}
	var tl timeline.Timeline
	require.NoError(t, engine.Relax(prog, durations, &tl))
	var end unit.Time
	for _, e := range tl.End {
		end = max(end, e)
	}
	return end
}

// workOf is the work of the i-th slot of a device.
func workOf(t require.TestingT, run *Run, device, i int) program.WorkID {
	for id := range program.OpID(run.Step.Program.Len()) {
		if run.Step.Program.Lane[id] == run.Step.Lanes[device].Compute {
			if i == 0 {
				return run.Step.Program.Work[id]
			}
			i--
		}
	}
	require.Fail(t, "no such slot")
	return 0
}

// balanceShare is what each rank has to do in a layer of a microbatch.
type balanceShare struct {
	rows, tiles, experts []int64
	most                 int64
}

func shareOf(run *Run, b *lower.Block) *balanceShare {
	for _, op := range b.Ops { // the grouped GEMM tells which layer and microbatch it is of
		g, ok := op.Kernel.(cost.GroupedGEMM)
		if !ok {
			continue
		}
		for _, layer := range run.Plan.Routing.Layers {
			for mb := range run.Plan.Routing.Microbatches {
				s := run.Plan.Routing.Share(0, layer, mb)
				if s.Rows != g.Tokens || s.Tiles != g.Tiles {
					continue
				}
				out := &balanceShare{most: s.Rows}
				for r := range s.ByRank {
					out.rows = append(out.rows, max(int64(s.ByRank[r]), 1))
				}
				out.tiles, out.experts = tilesOf(run, layer, mb)
				return out
			}
		}
	}
	return &balanceShare{}
}

// tilesOf plans a load again, without balancing, and counts each rank's tiles.
func tilesOf(run *Run, layer int64, mb int) (tiles, experts []int64) {
	ro, m := run.Scenario.Routing, run.Plan.Model.MoE
	g, err := balance.ParseGenerator(ro.Load)
	if err != nil {
		return nil, nil
	}
	n := run.Plan.Routing.Setup.Ranks
	g.Ranks, g.Experts, g.TopK, g.Tokens, g.Seed = n, int(m.Experts), int(m.TopK), int(run.Plan.SPTokens()), uint64(ro.Seed)
	stream, err := balance.Drift{Law: g, Sigma: ro.Sigma, Rho: ro.Rho}.Start(int(layer))
	if err != nil {
		return nil, nil
	}
	for range mb {
		stream.Skip()
	}
	tiles, experts = make([]int64, n), make([]int64, n)
	for e, rows := range stream.Next().PerExpert(nil) {
		home := run.Plan.Routing.Setup.Home(e)
		tiles[home] += (rows + 127) / 128
		if rows > 0 {
			experts[home]++
		}
	}
	return tiles, experts
}

// One rank with the maxima of its group stands for all of them: simulated rank by
// rank, with a lane each, the passes of a pipeline take as long but for ties between
// ranks, which are worth less than a tile an expert.
func TestOneRankStandsForTheGroup(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := map[string]any{
			"routing.seed": rapid.IntRange(1, 1000).Draw(t, "seed"), "cluster.override.nvlink_gbps": 450.0,
			"routing.load":       fmt.Sprintf("zipf:s=%.1f", rapid.Float64Range(0.1, 1.5).Draw(t, "s")),
			"training.optimizer": "none", "framework.overlap_p2p": true, "framework.overlap_grad_reduce": false, "framework.overlap_param_gather": false,
		}
		alone := rapid.Bool().Draw(t, "one expert a rank")
		if alone {
			values["model.experts"] = 4
		}
		run := simulateSmall(t, values, Options{NoAdvice: true, alone: true})
		all := everyRank(t, run)
		var one unit.Time // end of the last pass, without sends, which are not in everyRank
		p := *run.Step.Program
		dur := append([]unit.Time(nil), run.prices.dur...)
		for w := range p.Works {
			if k := p.Works[w].Kind; k != program.Forward && k != program.Backward {
				dur[w] = 0
			}
		}
		var tl timeline.Timeline
		require.NoError(t, engine.Relax(&p, dur, &tl))
		for _, e := range tl.End {
			one = max(one, e)
		}
		if alone { // the rank with the most rows has the most tiles
			require.Equal(t, all, one)
			return
		}
		require.GreaterOrEqual(t, one, all)
		require.InEpsilon(t, all.Seconds(), one.Seconds(), 0.015) // of kernels of 25 tiles
	})
}

// An ideal router costs what an even load costs, to the picosecond, whatever the
// load that it overrides.
func TestIdealIsEven(t *testing.T) {
	for _, dispatcher := range []string{"deepep", "hybridep", "alltoall", "allgather"} {
		even := simulateSmall(t, map[string]any{"routing.load": nil, "routing.sigma": nil, "routing.rho": nil, "framework.moe_dispatcher": dispatcher}, Options{})
		ideal := simulateSmall(t, map[string]any{"routing.balancer": "ideal", "framework.moe_dispatcher": dispatcher}, Options{})
		require.Equal(t, even.Result.StepTimeS, ideal.Result.StepTimeS, dispatcher)
		require.Equal(t, even.Result.PeakMemoryGiB, ideal.Result.PeakMemoryGiB)
		require.Equal(t, 1.0, ideal.Result.Experts.FractionOfIdeal)
		require.Nil(t, even.Result.Experts)
	}
}

// Whatever the balancer: no faster than an ideal router, the imbalance is at least
// the bound's, an expanded run is the same, and so is one on other threads.
func TestBalancersInStep(t *testing.T) {
	for _, b := range balance.All() {
		t.Run(b.Name(), func(t *testing.T) {
			values := map[string]any{"routing.balancer": b.Name(), "cluster.gpus": 16, "routing.slots": 1, "parallel.ep": 8, "parallel.pp": 1,
				"routing.history": 1, "routing.compare": []string{}}
			run := simulateSmall(t, values, Options{})
			x := run.Result.Experts
			require.Equal(t, 2, run.Step.Groups())
			require.LessOrEqual(t, x.FractionOfIdeal, 1.0)
			require.GreaterOrEqual(t, x.OverBound, 1-1e-9)
			require.GreaterOrEqual(t, x.ImbalanceBefore, 1.0)
			sum := 0.0
			for _, v := range run.Result.BreakdownS {
				sum += v
			}
			require.InEpsilon(t, run.Result.StepTimeS, sum, 1e-9)
			wide := simulateSmall(t, values, Options{Expand: true})
			require.Equal(t, run.Result.StepTimeS, wide.Result.StepTimeS)
			require.InEpsilon(t, run.Result.Experts.ExchangeExposedS, wide.Result.Experts.ExchangeExposedS, 1e-9)
			require.Equal(t, len(wide.Lanes), 16)
			held := int64(0)
			for _, m := range run.Step.Program.Mem {
				held += m.Bytes
			}
			require.Zero(t, held, "memory returns to where it began")
		})
	}
}

// Loads go with every kind of schedule: virtual stages, split and paired backward
// passes, copies of stages.
func TestSchedulesWithLoads(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"interleaved_1f1b": {"parallel.vp": 2},
		"zbv":              {"parallel.vp": 2, "schedule.name": "zbv"},
		"dualpipev":        {"parallel.vp": 2, "schedule.name": "dualpipev", "training.microbatches": 8},
		"chimera":          {"parallel.vp": 2, "schedule.name": "chimera"},
		"gpipe":            {"schedule.name": "gpipe"},
	} {
		t.Run(name, func(t *testing.T) {
			values["routing.balancer"], values["routing.compare"] = "ultraep", []string{"none"}
			values["routing.slots"] = 2
			run := simulateSmall(t, values, Options{})
			x := run.Result.Experts
			require.Less(t, x.ImbalanceAfter, x.ImbalanceBefore)
			require.LessOrEqual(t, x.FractionOfIdeal, 1.0)
			require.Equal(t, "none", x.Compared[0].Balancer)
			require.Equal(t, x.ImbalanceBefore, x.Compared[0].ImbalanceAfter)
			held := int64(0)
			for _, m := range run.Step.Program.Mem {
				held += m.Bytes
			}
			require.Zero(t, held)
			wide := simulateSmall(t, values, Options{Expand: true})
			require.Equal(t, run.Result.StepTimeS, wide.Result.StepTimeS)
		})
	}
}

// The rank that runs out of memory is named with the layer and microbatch that
// bring it so much; advice keeps the loads.
func TestOutOfMemoryIsNamed(t *testing.T) {
	run := simulateSmall(t, map[string]any{"cluster.override.hbm_gib": 2.5}, Options{})
	require.False(t, run.Result.Fits)
	worst := run.Result.MemoryGiBByStage[0]
	for _, s := range run.Result.MemoryGiBByStage {
		if s.PeakGiB > worst.PeakGiB {
			worst = s
		}
	}
	require.Contains(t, run.Result.FitAdvice, fmt.Sprintf("out of memory is rank %d of expert group %d", worst.Expert.Rank, worst.Expert.Group))
	require.Contains(t, run.Result.FitAdvice, fmt.Sprintf("of layer %d, microbatch %d", worst.Expert.Layer, worst.Expert.Microbatch))
	ideal := simulateSmall(t, map[string]any{"routing.balancer": "ideal"}, Options{})
	require.Greater(t, worst.PeakGiB, ideal.Result.MemoryGiBByStage[worst.Stage].PeakGiB)
	require.Greater(t, run.Result.Experts.ActivationOverIdeal, 1.0)
}
