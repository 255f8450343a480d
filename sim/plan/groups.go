package plan

import (
	"orrery/scenarios"
	"orrery/sim/cost"
)

// groups places the dimensions on the cluster, fastest first in
// Parallel.Order. The expert grid (etp, ep, expert dp) folds over tp x cp x dp
// inside one pipeline stage, as Megatron-Core lays it out
// (parallel_state.py, RankGenerator with the expert decoder grid).
func groups(s *scenarios.Scenario) (Groups, []placement) {
	par := s.Parallel
	domain := max(s.Cluster.NVLinkDomain, 1)
	stride := strides(par)
	var placed []placement
	at := func(ranks, stride int64) cost.Group {
		per := min(max(domain/stride, 1), ranks)
		for ranks%per != 0 { // equal shares of each domain
			per--
		}
		g := cost.Group{Ranks: ranks, PerDomain: per}
		placed = append(placed, placement{g, stride})
		return g
	}
	var g Groups
	g.TP = at(par.TP, stride["tp"])
	g.CP = at(par.CP, stride["cp"])
	g.World = at(s.Cluster.GPUs, 1)

	// ZeRO shards over dp and cp together; cp varies faster where the order says so.
	inner := min(stride["cp"], stride["dp"])
	if par.CP == 1 {
		inner = stride["dp"]
	}
	if par.DP == 1 {
		inner = stride["cp"]
	}
	shard := par.Shard
	if shard <= 0 {
		shard = par.DP * par.CP
	}
	g.Shard = at(shard, inner)
	g.Replica = at(par.DP*par.CP/shard, inner*shard)

	// Expert grid: etp fastest, then ep, then expert dp, inside a stage.
	g.ETP = at(par.ETP, 1)
	g.EP = at(par.EP, par.ETP)
	g.ExpertShard = at(par.EDP, par.ETP*par.EP)

	g.CrossStage = make([]bool, par.PP)
	for i := int64(0); i+1 < par.PP; i++ {
		a, b := i*stride["pp"], (i+1)*stride["pp"]
		g.CrossStage[i] = a/domain != b/domain
	}
	if par.PP > 1 { // last -> first of the interleaved ring
		g.CrossStage[par.PP-1] = (par.PP-1)*stride["pp"]/domain != 0
	}
	return g, placed
}

// strides are the distances between neighbouring ranks of each dimension.
func strides(par scenarios.Parallel) map[string]int64 {
	size := map[string]int64{"tp": par.TP, "cp": par.CP, "dp": par.DP, "pp": par.PP}
	stride, step := map[string]int64{}, int64(1)
	for _, d := range par.Order {
		if n, ok := size[d]; ok {
			stride[d], step = step, step*n
		}
	}
	return stride
}

// placement is a group and the distance between its neighbouring ranks.
type placement struct {
	group  cost.Group
	stride int64
}
