package lower

import (
	"orrery/models"
	"orrery/sim/cost"
)

// graph is a graph attention layer. Eager, it is what the published code runs
// (RaleLee/Co-GAT, nn/encode.py, GraphAttentionLayer): head after head, the
// features of every pair of nodes concatenated in memory, scored by one vector,
// masked, and used as weights. With fused kernels the heads are one product, a
// pair's score is the sum of its nodes' two, which one pass over the features
// computes, and mask to dropout are one kernel: the same numbers without the
// square of features.
func (n *netShapes) graph(b *builder, g models.Graph, backward bool) {
	gs := graphShapes{n, g, g.Nodes(n.batch), g.Pairs(n.batch)}
	switch {
	case n.fw.FusedKernels && !backward:
		gs.compact(b)
	case n.fw.FusedKernels:
		gs.compactBackward(b)
	case !backward:
		n.dropout(b, gs.nodes*g.In)
		for range g.Heads {
			gs.head(b)
		}
		n.stream(b, "concatenate heads", gs.nodes*g.Out*g.Heads, gs.nodes*g.Out*g.Heads)
	default:
		n.stream(b, "split heads", gs.nodes*g.Out*g.Heads, gs.nodes*g.Out*g.Heads)
		for range g.Heads {
			gs.headBackward(b)
		}
		n.dropoutBackward(b, gs.nodes*g.In)
	}
}

// graphShapes are a graph layer's sizes in a batch; nodes and pairs of one head.
type graphShapes struct {
	*netShapes
	g            models.Graph
	nodes, pairs int64
}

// small is a kernel over one number a pair.
func (s graphShapes) small(b *builder, read, write int64, names ...string) {
	for _, name := range names {
		b.compute(name, GraphAttention, mem("copy", read*s.pairs, write*s.pairs))
	}
}

// features is a kernel over numbers that each have the features of a node or pair.
func (s graphShapes) features(b *builder, name string, read, write int64) {
	b.compute(name, GraphAttention, mem("copy", 2*read*s.g.Out, 2*write*s.g.Out))
}

// sums appends the products that run over each dialogue's nodes: one for each
// dialogue, or all of them and of heads heads in one launch. m, cols and k are
// given a dialogue's number of nodes.
func (s graphShapes) sums(b *builder, name string, heads int64, size func(nodes int64) (m, cols, k int64)) {
	dialogues := s.batch.Dialogues
	m, cols, k := size(ceilDiv(s.nodes, dialogues))
	g := gemm(m, cols, k, s.dt, cost.Fwd)
	if !s.s.Data.ByDialogue {
		g.Batch = dialogues * heads
		b.compute(name, GraphAttention, g)
		return
	}
	for range dialogues * heads {
		b.compute(name, GraphAttention, g)
	}
}

func (s graphShapes) weightedSum(nodes int64) (m, cols, k int64) { return nodes, s.g.Out, nodes }
func (s graphShapes) weightGrads(nodes int64) (m, cols, k int64) { return nodes, nodes, s.g.Out }

func (s graphShapes) head(b *builder) {
	out := s.g.Out
	s.dense(b, "features", GraphAttention, s.nodes, out, s.g.In)
	s.features(b, "repeat rows", s.nodes, s.pairs)
	s.features(b, "repeat columns", s.nodes, s.pairs)
	s.features(b, "concatenate pairs", 2*s.pairs, 2*s.pairs)
	s.dense(b, "scores", GraphAttention, s.pairs, 1, 2*out)
	s.small(b, 2, 2, "leaky relu", "ones", "minus infinity", "compare", "where", "softmax")
	s.small(b, 2, 3, "dropout")
	s.sums(b, "weighted sum", 1, s.weightedSum)
	s.features(b, "stack", s.nodes, s.nodes)
	s.features(b, "elu", s.nodes, s.nodes)
}

func (s graphShapes) headBackward(b *builder) {
	out := s.g.Out
	s.features(b, "d elu", 2*s.nodes, s.nodes)
	s.features(b, "d stack", s.nodes, s.nodes)
	s.sums(b, "d weights", 1, s.weightGrads)
	s.sums(b, "d features", 1, s.weightedSum)
	s.small(b, 3, 2, "d dropout")
	s.small(b, 4, 2, "d softmax", "d where", "d leaky relu")
	s.denseBackward(b, "scores", GraphAttention, s.pairs, 1, 2*out, true)
	s.features(b, "d concatenate pairs", 2*s.pairs, 2*s.pairs)
	s.features(b, "d repeat columns", s.pairs, s.nodes)
	s.features(b, "d repeat rows", s.pairs, s.nodes)
	s.features(b, "sum of feature grads", 3*s.nodes, s.nodes)
	s.denseBackward(b, "features", GraphAttention, s.nodes, out, s.g.In, true)
	s.add(b, "sum of input grads", s.nodes*s.g.In)
}

func (s graphShapes) compact(b *builder) {
	h, out := s.g.Heads, s.g.Out
	s.dropout(b, s.nodes*s.g.In)
	s.dense(b, "features", GraphAttention, s.nodes, h*out, s.g.In)
	s.features(b, "scores of nodes", s.nodes*h, 2*s.nodes*h/out+1)
	s.small(b, 2*h, 5*h, "add, mask, softmax, dropout")
	s.sums(b, "weighted sum", h, s.weightedSum)
	s.features(b, "elu", s.nodes*h, s.nodes*h)
}

func (s graphShapes) compactBackward(b *builder) {
	h, out := s.g.Heads, s.g.Out
	s.features(b, "d elu", 2*s.nodes*h, s.nodes*h)
	s.sums(b, "d weights", h, s.weightGrads)
	s.sums(b, "d features", h, s.weightedSum)
	s.small(b, 7*h, 2*h, "d dropout, softmax")
	s.small(b, 2*h, 0, "sums of score grads")
	s.features(b, "d scores of nodes", 2*s.nodes*h, s.nodes*h)
	s.features(b, "scoring vector grads", s.nodes*h, 2*h)
	s.denseBackward(b, "features", GraphAttention, s.nodes, h*out, s.g.In, true)
	s.dropoutBackward(b, s.nodes*s.g.In)
}
