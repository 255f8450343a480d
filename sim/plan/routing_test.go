package plan

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/scenarios"
	"orrery/schedules/balance"
)

// routed lays out a small mixture of experts on one stage.
func routed(t require.TestingT, values map[string]any) *Plan {
	all := map[string]any{
		"cluster.gpu": "h100", "cluster.gpus": 16, "training.sequence_length": 512, "training.microbatches": 3,
		"model.layers": 4, "model.hidden": 256, "model.heads": 4, "model.vocab": 1000, "model.experts": 16, "model.top_k": 2, "model.moe_ffn": 128,
		"parallel.ep": 8, "framework.moe_dispatcher": "deepep", "routing.load": "zipf:s=0.7",
	}
	for k, v := range values {
		all[k] = v
	}
	res, err := scenarios.Resolve("routed", all)
	require.NoError(t, err)
	p, err := New(&res.Scenario)
	require.NoError(t, err)
	return p
}

var dispatchers = []string{"alltoall", "deepep", "hybridep"}

// A load that goes evenly to all experts at home takes as long as a balanced
// exchange, whatever the dispatcher and however many domains the group spans.
func TestEvenVolume(t *testing.T) {
	for _, dispatcher := range dispatchers {
		for _, domain := range []int{8, 4, 2} {
			p := routed(t, map[string]any{"framework.moe_dispatcher": dispatcher, "cluster.override.gpus_per_node": domain, "cluster.override.nvlink_domain": domain})
			require.EqualValues(t, domain, p.Groups.EP.PerDomain)
			rows := make([]int64, 16)
			for e := range rows {
				rows[e] = 64
			}
			load, err := balance.NewLoad([][]int64{rows, rows, rows, rows, rows, rows, rows, rows})
			require.NoError(t, err)
			v := newVolumes(p, 8)
			volume, remote := v.of(load, planOf(t, "none", load, 8))
			require.InDelta(t, 1, volume, 1e-12, "%s, domains of %d", dispatcher, domain)
			require.InDelta(t, 7.0/8, remote, 1e-12)
		}
	}
}

func planOf(t require.TestingT, name string, load *balance.Load, ranks int) *balance.Plan {
	b, err := balance.Lookup(name)
	require.NoError(t, err)
	planner, err := b.Start(balance.Setup{Ranks: ranks, Experts: load.Experts})
	require.NoError(t, err)
	var p balance.Plan
	require.NoError(t, planner.Plan(load, &p))
	return &p
}

// Four ranks of two experts, worked out by hand: 40 pairs of 20 tokens from each
// rank, of which 24 go to rank 0's experts (12 each) and the rest evenly.
func TestVolumesByHand(t *testing.T) {
	row := []int64{12, 12, 4, 4, 4, 4, 0, 0}
	load, err := balance.NewLoad([][]int64{row, row, row, row})
	require.NoError(t, err)
	plan := planOf(t, "none", load, 4)

	// All-to-all in one domain: rank 0 receives 24 pairs from three others; balanced
	// it would be 10 from each.
	v := volumes{ranks: 4, per: 4, topK: 2, link: 1, nic: 0}
	v.make()
	volume, remote := v.of(load, plan)
	require.InDelta(t, 72.0/30, volume, 1e-12)
	require.InDelta(t, 120.0/160, remote, 1e-12)

	// Merged: a token misses both experts of rank 0 with (1 - 12/20)^2 = 0.16, so that
	// 16.8 messages come from each other rank; balanced each expert has a share of
	// 2/8, and 20 (1 - 0.75^2) = 8.75 would.
	v = volumes{ranks: 4, per: 4, topK: 2, link: 1, merged: true}
	v.make()
	volume, _ = v.of(load, plan)
	require.InDelta(t, 16.8/8.75, volume, 1e-12)

	// Two domains, NICs far slower than NVLink: to the first domain a token goes
	// unless it misses (0.4 x 0.4 x 0.8 x 0.8 = 0.1024), from each of the two ranks
	// of the second; balanced 20 (1 - 0.75^4).
	v = volumes{ranks: 4, per: 2, topK: 2, link: 1e9, nic: 1, merged: true}
	v.make()
	volume, _ = v.of(load, plan)
	require.InDelta(t, 20*(1-0.1024)/(20*(1-0.31640625)), volume, 1e-9)

	// All-to-all over NICs: rank 0 receives 24 from both ranks of the other domain.
	v = volumes{ranks: 4, per: 2, topK: 2, link: 1e9, nic: 1}
	v.make()
	volume, _ = v.of(load, plan)
	require.InDelta(t, 48.0/20, volume, 1e-9)
}

// What is planned is what was asked for: no pair is lost, maxima are those of a
// rank, the ideal router is even, and threads change nothing.
func TestRoute(t *testing.T) {
	names := []string{"none", "ideal", "eplb:interval=2", "lplb:topology=ring_8p", "ultraep", "eplb_plus", "fastermoe", "flexmoe"}
	rapid.Check(t, func(t *rapid.T) {
		p := routed(t, map[string]any{
			"framework.moe_dispatcher": rapid.SampledFrom(dispatchers).Draw(t, "dispatcher"), "routing.slots": 1,
			"routing.seed": rapid.IntRange(0, 1000).Draw(t, "seed"), "routing.sigma": rapid.Float64Range(0, 1).Draw(t, "sigma"),
			"routing.rho": rapid.Float64Range(0, 1).Draw(t, "rho"), "routing.history": rapid.IntRange(0, 2).Draw(t, "history"),
		})
		all, err := p.Route(names)
		require.NoError(t, err)
		before := runtime.GOMAXPROCS(1)
		again, err := p.Route(names)
		runtime.GOMAXPROCS(before)
		require.NoError(t, err)
		require.Equal(t, all, again)
		for i, r := range all {
			require.Equal(t, 2, r.Groups)
			r.All(func(group int, layer int64, mb int, s *Share) {
				sum, most := 0.0, float32(0)
				for _, rows := range s.ByRank {
					sum, most = sum+float64(rows), max(most, rows)
				}
				require.InEpsilon(t, float64(8*512*2), sum, 1e-6, names[i])
				require.InDelta(t, float64(s.Rows), float64(most), 1)
				require.GreaterOrEqual(t, s.Tiles*128, s.Rows)
				require.GreaterOrEqual(t, s.OverBound, 1-1e-9)
				require.GreaterOrEqual(t, s.After, 1-1e-9)
				require.Greater(t, s.Volume, 0.0)
				require.Equal(t, all[0].Share(group, layer, mb).Before, s.Before, "all see the same load")
				if names[i] == "ideal" {
					require.Equal(t, [2]float64{1, 1}, [2]float64{s.After, s.Volume})
				}
				if names[i] == "none" {
					require.Equal(t, s.Before, s.After)
					require.Zero(t, s.Sent+s.Replicas)
				}
			})
		}
	})
}

// The rank that memory follows is the one that receives the most tokens over the
// layers of a microbatch where all of them are kept, and of one layer where they
// are computed again.
func TestHottest(t *testing.T) {
	for _, again := range []string{"none", "full"} {
		p := routed(t, map[string]any{"training.recompute": again, "routing.sigma": 0.5, "routing.rho": 0.0})
		all, err := p.Route([]string{"none"})
		require.NoError(t, err)
		q := p.Use(all[0])
		got, most := q.Hottest(0), 0.0
		var want Hottest
		for g := range 2 {
			for r := range 8 {
				for mb := range 3 {
					sum, single := 0.0, 0.0
					for layer := range int64(4) {
						rows := float64(all[0].Share(g, layer, mb).ByRank[r])
						sum, single = sum+rows, max(single, rows)
					}
					if again == "full" {
						sum = single
					}
					if sum > most {
						most, want = sum, Hottest{Group: g, Rank: r, Microbatch: mb, Rows: single}
					}
				}
			}
		}
		require.Equal(t, want.Group, got.Group, again)
		require.Equal(t, want.Rank, got.Rank, again)
		require.Equal(t, want.Microbatch, got.Microbatch, again)
		require.Equal(t, want.Rows, got.Rows, again)
		require.Equal(t, got.Rows, float64(all[0].Share(got.Group, got.Layer, got.Microbatch).ByRank[got.Rank]))
		even := p.Static(0)
		require.Greater(t, q.Static(0).Workspace, even.Workspace)
		kept := q.UnevenBytes(0, 0, got.Microbatch)
		if again == "full" {
			require.Zero(t, kept)
		} else {
			// two bytes of permuted input, fc1 output of both projections, activation
			// and expert output for each pair
			over := most - 4*all[0].Pairs
			require.InDelta(t, over*2*(256+2*128+128+256), kept, 1)
		}
	}
}

// Redundant slots cost memory once where weights are streamed, and in every layer
// where placements last.
func TestReplicaMemory(t *testing.T) {
	p := routed(t, map[string]any{"routing.slots": 2})
	expert := float64(3 * 256 * 128 * (2 + 4)) // bf16 weights and fp32 gradients
	for name, want := range map[string]float64{"none": 0, "ideal": 0, "ultraep": 2 * expert, "eplb_plus": 2 * expert, "eplb": 8 * expert, "flexmoe": 8 * expert} {
		all, err := p.Route([]string{name})
		require.NoError(t, err)
		require.Equal(t, want, p.Use(all[0]).Static(0).Replicas, name)
	}
}

// Loads of a file are used as they are; layers that it lacks repeat those that it
// has, and a wrong number of pairs is an error.
func TestFileLoads(t *testing.T) {
	text := "microbatch,layer,expert,tokens\n"
	for mb := range 2 {
		for layer := range 2 {
			for e := range 16 {
				tokens := 512
				if e == 2*layer {
					tokens += 100 + mb
				}
				if e == 15 {
					tokens -= 100 + mb
				}
				text += fmt.Sprintf("%d,%d,%d,%d\n", mb, layer, e, tokens)
			}
		}
	}
	entries, err := balance.Read("loads.csv", []byte(text), 8, 16)
	require.NoError(t, err)
	p := routed(t, map[string]any{})
	p.Scenario.Routing.File, p.Scenario.Routing.Load, p.Scenario.Routing.Loads = "loads.csv", scenarios.EvenLoad, entries
	all, err := p.Route([]string{"none"})
	require.NoError(t, err)
	rows := func(layer int64, mb, rank int) float32 { return all[0].Share(1, layer, mb).ByRank[rank] }
	require.Equal(t, []float32{1124, 1125, 1124}, []float32{rows(0, 0, 0), rows(0, 1, 0), rows(0, 2, 0)}, "microbatches repeat")
	require.Equal(t, []float32{1124, 1124}, []float32{rows(1, 0, 1), rows(3, 0, 1)}, "layers repeat")
	p.Scenario.Training.MicroBatch = 1
	p.Tokens *= 2
	_, err = p.Route([]string{"none"})
	require.ErrorContains(t, err, "has 8192 pairs of token and expert for microbatch 0, the scenario routes 16384")
}

// A capacity factor drops what is above it, and padding fills up to it.
func TestCapacityInRouting(t *testing.T) {
	p := routed(t, map[string]any{"routing.capacity_factor": 1.2})
	all, err := p.Route([]string{"none"})
	require.NoError(t, err)
	s := all[0].Share(0, 0, 0)
	require.Positive(t, s.Dropped)
	require.Equal(t, s.Asked-s.Dropped, s.Delivered)
	require.LessOrEqual(t, s.Rows, int64(8*77*2)) // ceil(1.2 x 1024 / 16) from each of 8 sources for two experts
	p = routed(t, map[string]any{"routing.capacity_factor": 1.0, "routing.pad": true})
	all, err = p.Route([]string{"none"})
	require.NoError(t, err)
	s = all[0].Share(0, 0, 0)
	require.Equal(t, s.Asked-s.Dropped+s.Padded, s.Delivered)
	require.InDelta(t, 1, s.After, 1e-9)
}

// BenchmarkRoute plans a training step of UltraEP's DeepSeek-V3 runs: 58 layers of
// experts and 32 microbatches, balanced microbatch by microbatch.
func BenchmarkRoute(b *testing.B) {
	res, err := scenarios.Load("moe/deepseek-v3-ep64-pp4", nil)
	require.NoError(b, err)
	p, err := New(&res.Scenario)
	require.NoError(b, err)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Route([]string{"ultraep"}); err != nil {
			b.Fatal(err)
		}
	}
}
