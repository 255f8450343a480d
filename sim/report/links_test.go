package report

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/cost"
	"orrery/sim/program"
)

// sent is what one rank sends for a message over whatever links, by the definitions of
// nccl-tests (doc/PERFORMANCE.md) and of the kernels.
func sent(k cost.Kernel) float64 {
	switch k := k.(type) {
	case cost.P2P:
		return float64(k.Bytes)
	case cost.Collective:
		n, s := float64(k.Group.Ranks), float64(k.Bytes)
		switch k.Kind {
		case cost.AllReduce:
			return 2 * s * (n - 1) / n
		case cost.Broadcast:
			return s
		}
		return s * (n - 1) / n
	case cost.ExpertExchange:
		if k.Group.Domains() > 1 {
			return k.Traffic()
		}
		return k.Traffic() * float64(k.Group.Ranks-1) / float64(k.Group.Ranks)
	case cost.Reported:
		return float64(k.Bytes)
	case cost.HostCopy:
		return float64(k.Bytes)
	}
	return 0
}

// Sums over links are the bytes of the program's messages. The program is unfolded for
// that, so that every GPU's own ops are counted, while the rows are of the folded one.
func TestLinksConserveBytes(t *testing.T) {
	for name, c := range map[string]struct {
		scenario string
		sets     []string
	}{
		"tp, cp, pp, dp":       {"quickstart", nil},
		"over nodes":           {"quickstart", []string{"parallel.tp=2", "parallel.cp=8", "parallel.pp=2", "parallel.vp=1"}},
		"one GPU a node moves": {"quickstart", []string{"parallel.tp=8", "parallel.cp=1", "parallel.pp=8", "parallel.vp=1", "framework.overlap_grad_reduce=false"}},
		"offload":              {"long-context/llama-70b-128k-128-slimpipe", []string{"schedule.offload=0.5", "training.global_batch=8"}},
		"barriers":             {"quickstart", []string{"schedule.name=vocab_1f1b", "parallel.vp=1"}},
		"experts":              {"qwen3-235b-h100", nil},
		"packed":               {"varlen/llama3-8b-128k-128-web-slimpack", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if testing.Short() && c.scenario != "quickstart" {
				t.Skip("-short: quickstart alone")
			}
			res, err := scenarios.Load(c.scenario, c.sets)
			require.NoError(t, err)
			run, err := sim.Simulate(context.Background(), &res.Scenario, sim.Options{Expand: true, NoAdvice: true})
			require.NoError(t, err)
			rows, err := linksOf(run)
			require.NoError(t, err)

			pp, gpus := len(run.Step.Lanes), len(run.Lanes)
			require.EqualValues(t, run.Result.GPUs, gpus)
			members := map[program.LaneID]int{} // GPUs that take part in a lane's ops
			for _, l := range run.Lanes {
				members[l.DP]++
			}
			for l, lane := range run.Program.Lanes {
				if lane.Name == "hidden states to all stages" || lane.Name == "output layer over stages" {
					members[program.LaneID(l)] = pp
				}
			}
			total := 0.0
			for id, w := range run.Program.Work {
				n := float64(max(members[run.Program.Lane[id]], 1))
				work := &run.Step.Works[w]
				if work.Kernel != nil {
					total += n * sent(work.Kernel)
				}
				for _, u := range work.Blocks {
					for _, op := range u.Block.Ops {
						total += n * float64(u.Times) * sent(op.Kernel)
					}
				}
			}
			sum, away := 0.0, 0.0
			for _, r := range rows {
				require.Positive(t, r.Bytes)
				require.Positive(t, r.Seconds)
				require.LessOrEqual(t, r.OfLink, 1.0, "%v: faster than its link", r)
				sum += r.Bytes * float64(gpus)
				if r.link == network {
					away += r.Bytes
				}
			}
			require.Positive(t, total)
			require.InEpsilon(t, total, sum, 1e-9)
			require.Positive(t, away)
		})
	}
}

// A message stays on NVLink while its group stays in one domain.
func TestSentBy(t *testing.T) {
	all := func(k cost.CollectiveKind, ranks, per int64) moved {
		return sentBy(cost.Collective{Kind: k, Bytes: 960, Group: cost.Group{Ranks: ranks, PerDomain: per}, NICGBps: 50})
	}
	require.Equal(t, moved{nvlink: 840}, all(cost.AllGather, 8, 8))
	require.Equal(t, moved{nvlink: 1680}, all(cost.AllReduce, 8, 8))
	require.InDeltaSlice(t, []float64{7. / 8 * 900, 900. / 8, 0}, slice3(all(cost.AllGather, 16, 8)), 1e-9)
	require.InDeltaSlice(t, []float64{7 * 60, 8 * 60, 0}, slice3(all(cost.AllToAll, 16, 8)), 1e-9)
	require.InDeltaSlice(t, []float64{0, 900, 0}, slice3(all(cost.AllToAll, 16, 1)), 1e-9)
	require.Equal(t, moved{}, all(cost.AllGather, 1, 1))
	require.Equal(t, moved{network: 7}, sentBy(cost.P2P{Bytes: 7, NICGBps: 50}))
	require.Equal(t, moved{nvlink: 7}, sentBy(cost.P2P{Bytes: 7}))
	require.Equal(t, moved{hostLink: 7}, sentBy(cost.HostCopy{Bytes: 7, GBps: 50}))
	require.Equal(t, moved{}, sentBy(cost.GEMM{M: 1, N: 1, K: 1}))
}

func slice3(m moved) []float64 { return m[:] }
