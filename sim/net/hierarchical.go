package net

import (
	"fmt"
	"math"
)

// Hierarchy is Nodes nodes of GPUs each, joined inside by Inner and between
// GPUs of the same index (rails) by Outer.
type Hierarchy struct {
	GPUs, Nodes  int
	Inner, Outer AlphaBeta
}

func (h Hierarchy) check(bytes float64) error {
	if err := checkSizes(h.Inner, h.GPUs, bytes); err != nil {
		return fmt.Errorf("inside a node: %w", err)
	}
	if err := checkSizes(h.Outer, h.Nodes, bytes); err != nil {
		return fmt.Errorf("between nodes: %w", err)
	}
	return nil
}

// AllReduceMicros is the time of reduce-scatter in the node, all-reduce along
// each rail and all-gather in the node, all by rings. With chunks > 1 the
// buffer is cut and the three phases of successive chunks overlap: the first
// chunk pays all phases, each further one the slowest (the inner phases share
// NVLink and count together).
func (h Hierarchy) AllReduceMicros(bytes float64, chunks int) (float64, error) {
	if err := h.check(bytes); err != nil {
		return 0, err
	}
	if chunks < 1 {
		return 0, fmt.Errorf("%d chunks: want at least one", chunks)
	}
	part := bytes / float64(chunks)
	scatter, err := h.Inner.Micros(ReduceScatter, "ring", h.GPUs, part)
	if err != nil {
		return 0, err
	}
	gather, err := h.Inner.Micros(AllGather, "ring", h.GPUs, part)
	if err != nil {
		return 0, err
	}
	reduce, err := h.Outer.Micros(AllReduce, "ring", h.Nodes, part/float64(h.GPUs))
	if err != nil {
		return 0, err
	}
	return scatter + reduce + gather + float64(chunks-1)*max(scatter+gather, reduce), nil
}

// AllToAllMicros is the time of an all-to-all of bytes a rank over rails: the
// (GPUs-1)/GPUs of each rank's data that is for another GPU index crosses
// NVLink (PXN, which makes every message between nodes rail-local) while
// Nodes-1 messages of bytes/Nodes leave by the rank's own NIC. The two overlap;
// the slower bounds, and latencies add.
func (h Hierarchy) AllToAllMicros(bytes float64) (float64, error) {
	if err := h.check(bytes); err != nil {
		return 0, err
	}
	g, n := float64(h.GPUs), float64(h.Nodes)
	inner := h.Inner.transferUs(bytes * (g - 1) / g)
	outer := h.Outer.transferUs(bytes * (n - 1) / n)
	return max(inner, outer) + (g-1)*h.Inner.AlphaUs + (n-1)*h.Outer.AlphaUs, nil
}

// NodesHit is the expected number of nodes that a token's topK experts lie on,
// for experts spread evenly over nodes and routed uniformly:
// N (1 - C(E-E/N, k) / C(E, k)). An exchange that sends each token once a node
// (DeepEP's dispatch) moves that many copies. Routing limited to groups of
// nodes (DeepSeek-V3: at most 4) passes limit > 0, which caps it.
func NodesHit(experts, nodes, topK, limit int) (float64, error) {
	if nodes < 1 || experts < nodes || experts%nodes != 0 || topK < 0 || topK > experts || limit < 0 {
		return 0, fmt.Errorf("%d experts on %d nodes, top %d, limit %d: want experts a multiple of nodes, 0 <= top k <= experts and limit >= 0",
			experts, nodes, topK, limit)
	}
	// miss = C(E-E/N, k) / C(E, k) as a product, which stays in range.
	miss := 1.0
	others := experts - experts/nodes
	for i := range topK {
		miss *= float64(max(others-i, 0)) / float64(experts-i)
	}
	hit := float64(nodes) * (1 - miss)
	if limit > 0 {
		hit = math.Min(hit, float64(limit))
	}
	return hit, nil
}
