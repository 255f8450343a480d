package net

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestClosedFormsEqualReference(t *testing.T) {
	names := map[string]string{
		"double_binary_tree_pipelined": "double_binary_tree", "nvls_switch": "nvls", "chain_pipelined_large": "chain",
	}
	rows := readCSV(t, "schedules/alpha_beta.csv")
	require.Len(t, rows, 672)
	for _, r := range rows {
		alg := r["algorithm"]
		if short, ok := names[alg]; ok {
			alg = short
		}
		l := AlphaBeta{AlphaUs: number(t, r["alpha_us"]), GBps: number(t, r["bw_GBps"])}
		got, err := l.Micros(collectives[r["collective"]], alg, int(number(t, r["n"])), number(t, r["bytes"]))
		require.NoError(t, err, "%v", r)
		require.InDelta(t, number(t, r["time_us"]), got, 1e-6+1e-9*got, "%v", r)
	}
}

func drawLink(t *rapid.T, label string) AlphaBeta {
	return AlphaBeta{
		AlphaUs: rapid.Float64Range(0, 50).Draw(t, label+" alpha"),
		GBps:    rapid.Float64Range(1, 1000).Draw(t, label+" GB/s"),
	}
}

// No algorithm beats the least that a rank must send or receive.
func TestClosedFormsRespectTheLowerBound(t *testing.T) {
	least := map[Collective]func(n float64) float64{
		AllReduce:     func(n float64) float64 { return 1 }, // with the switch reducing
		AllGather:     func(n float64) float64 { return (n - 1) / n },
		ReduceScatter: func(n float64) float64 { return (n - 1) / n },
		AllToAll:      func(n float64) float64 { return (n - 1) / n },
		Broadcast:     func(n float64) float64 { return 1 },
		SendRecv:      func(n float64) float64 { return 1 },
	}
	rapid.Check(t, func(t *rapid.T) {
		l := drawLink(t, "link")
		n := rapid.IntRange(2, 600).Draw(t, "ranks")
		bytes := rapid.Float64Range(0, 1e10).Draw(t, "bytes")
		for c, volume := range least {
			require.NotEmpty(t, Algorithms(c))
			for _, alg := range Algorithms(c) {
				got, err := l.Micros(c, alg, n, bytes)
				require.NoError(t, err)
				require.GreaterOrEqual(t, got, (l.AlphaUs+bytes*volume(float64(n))/(l.GBps*1e3))*(1-1e-12), "%s %s", c, alg)
				more, err := l.Micros(c, alg, n, 2*bytes)
				require.NoError(t, err)
				require.GreaterOrEqual(t, more, got)
			}
		}
	})
}

func TestClosedFormErrors(t *testing.T) {
	l := AlphaBeta{AlphaUs: 1, GBps: 1}
	_, err := l.Micros(AllReduce, "telepathy", 8, 1)
	require.ErrorContains(t, err, "known are double_binary_tree, nvls, rabenseifner, recursive_doubling, ring")
	for _, bad := range []struct {
		l     AlphaBeta
		ranks int
		bytes float64
	}{
		{l, 0, 1}, {l, 2, -1}, {l, 2, math.NaN()}, {AlphaBeta{1, 0}, 2, 1}, {AlphaBeta{-1, 1}, 2, 1}, {AlphaBeta{math.Inf(1), 1}, 2, 1},
	} {
		_, err := bad.l.Micros(AllReduce, "ring", bad.ranks, bad.bytes)
		require.Error(t, err, "%+v", bad)
	}
	us, err := l.Micros(AllReduce, "ring", 1, 100)
	require.NoError(t, err)
	require.Zero(t, us)
}

func TestHierarchyDegeneratesToFlat(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in, out := drawLink(t, "inner"), drawLink(t, "outer")
		bytes := rapid.Float64Range(0, 1e10).Draw(t, "bytes")
		n := rapid.IntRange(1, 64).Draw(t, "nodes")
		rail := Hierarchy{GPUs: 1, Nodes: n, Inner: in, Outer: out}
		got, err := rail.AllReduceMicros(bytes, 1)
		require.NoError(t, err)
		want, err := out.Micros(AllReduce, "ring", n, bytes)
		require.NoError(t, err)
		require.InEpsilon(t, want+1, got+1, 1e-12)

		node := Hierarchy{GPUs: n, Nodes: 1, Inner: in, Outer: out}
		got, err = node.AllReduceMicros(bytes, 1)
		require.NoError(t, err)
		want, err = in.Micros(AllReduce, "ring", n, bytes)
		require.NoError(t, err)
		require.InEpsilon(t, want+1, got+1, 1e-12)

		got, err = node.AllToAllMicros(bytes)
		require.NoError(t, err)
		want, err = in.Micros(AllToAll, "pairwise", n, bytes)
		require.NoError(t, err)
		require.InEpsilon(t, want+1, got+1, 1e-12)
	})
}

// Cutting a buffer whose phases have no latency never makes it slower, and no
// cut beats the slower of the two kinds of link.
func TestHierarchyChunksOverlap(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h := Hierarchy{
			GPUs: rapid.IntRange(2, 8).Draw(t, "gpus"), Nodes: rapid.IntRange(2, 64).Draw(t, "nodes"),
			Inner: AlphaBeta{GBps: rapid.Float64Range(1, 900).Draw(t, "inner")},
			Outer: AlphaBeta{GBps: rapid.Float64Range(1, 900).Draw(t, "outer")},
		}
		bytes := rapid.Float64Range(1, 1e10).Draw(t, "bytes")
		whole, err := h.AllReduceMicros(bytes, 1)
		require.NoError(t, err)
		cut, err := h.AllReduceMicros(bytes, rapid.IntRange(2, 64).Draw(t, "chunks"))
		require.NoError(t, err)
		require.LessOrEqual(t, cut, whole*(1+1e-12))
		nic, err := h.Outer.Micros(AllReduce, "ring", h.Nodes, bytes/float64(h.GPUs))
		require.NoError(t, err)
		require.GreaterOrEqual(t, cut, nic*(1-1e-12))
	})
	_, err := Hierarchy{GPUs: 8, Nodes: 0, Inner: AlphaBeta{1, 1}, Outer: AlphaBeta{1, 1}}.AllReduceMicros(1, 1)
	require.ErrorContains(t, err, "between nodes")
	_, err = Hierarchy{GPUs: 8, Nodes: 1, Inner: AlphaBeta{1, 1}, Outer: AlphaBeta{1, 1}}.AllReduceMicros(1, 0)
	require.ErrorContains(t, err, "chunks")
}

func TestNodesHit(t *testing.T) {
	// Two experts on two nodes of four: C(2,2)/C(4,2) = 1/6 to miss a node.
	hit, err := NodesHit(4, 2, 2, 0)
	require.NoError(t, err)
	require.InDelta(t, 2*(1-1.0/6), hit, 1e-12)
	// DeepSeek-V3: 256 experts, top 8, at most 4 nodes of 8.
	hit, err = NodesHit(256, 8, 8, 4)
	require.NoError(t, err)
	require.Equal(t, 4.0, hit)
	_, err = NodesHit(10, 4, 2, 0)
	require.Error(t, err)

	rapid.Check(t, func(t *rapid.T) {
		nodes := rapid.IntRange(1, 32).Draw(t, "nodes")
		experts := nodes * rapid.IntRange(1, 16).Draw(t, "experts a node")
		k := rapid.IntRange(1, min(experts, 16)).Draw(t, "k")
		hit, err := NodesHit(experts, nodes, k, 0)
		require.NoError(t, err)
		require.GreaterOrEqual(t, hit, 1-1e-9)
		require.LessOrEqual(t, hit, math.Min(float64(k), float64(nodes))+1e-9)
	})
}
