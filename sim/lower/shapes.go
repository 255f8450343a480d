package lower

import (
	"orrery/models"
	"orrery/scenarios"
	"orrery/sim/cost"
	"orrery/sim/plan"
	"orrery/sim/unit"
)

// shapes are the sizes of one rank's share of a layer.
type shapes struct {
	p  *plan.Plan
	m  *models.Model
	s  *scenarios.Scenario
	fw scenarios.Framework
	dt unit.DType // of linear layers

	tokens, sp int64 // per pass: in parallel regions, and between them
	slice      int64 // of the pass that is being lowered
	vol        int64 // slices of keys that it hands to a peer (negative) or attends to for it
	h, q, kv   int64 // hidden; query and key/value channels of this TP rank
	heads      int64
	kvHeads    int64
	tp, cp     int64
	packed     *packedUnit // whose pass is being lowered; nil where sequences are whole
	lora       bool
	nic        float64

	share  *plan.Share // of the layer and microbatch that is being lowered; nil where loads are even
	resent bool        // weights of replicas were sent for the recomputation just before
}

func newShapes(p *plan.Plan) *shapes {
	s, m := p.Scenario, p.Model
	par := s.Parallel
	sh := &shapes{p: p, m: m, s: s, fw: s.Framework, dt: s.Training.Precision.DType(),
		tokens: p.Tokens, sp: p.SPTokens(), h: m.Hidden, tp: par.TP, cp: par.CP,
		lora: s.Training.Finetune == "lora", nic: s.Cluster.NICGBps}
	sh.heads = max(m.Attn.Heads/par.TP, 1)
	sh.kvHeads = max(m.Attn.KVHeads/par.TP, 1)
	sh.q = sh.heads * m.Attn.HeadDim
	sh.kv = sh.kvHeads * m.Attn.HeadDim
	return sh
}

func (s *shapes) fp8() bool {
	switch s.dt {
	case unit.FP8, unit.FP8Block, unit.MXFP8, unit.NVFP4:
		return true
	}
	return false
}

// coll is a collective of a group.
func (s *shapes) coll(kind cost.CollectiveKind, bytes int64, g cost.Group) cost.Kernel {
	return cost.Collective{Kind: kind, Bytes: bytes, Group: g, NICGBps: s.p.NIC(g, kind)}
}

func gemm(m, n, k int64, dt unit.DType, l cost.Layout) cost.GEMM {
	return cost.GEMM{M: m, N: n, K: k, DType: dt, Layout: l}
}

// mem is a streaming kernel that reads and writes so many bytes.
func mem(op string, read, write int64) cost.Memory {
	return cost.Memory{Op: op, Read: read, Write: write}
}
