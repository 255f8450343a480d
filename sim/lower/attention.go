package lower

import (
	"orrery/sim/cost"
	"orrery/sim/unit"
)

// attnLinears are the projections before and after core attention.
func (s *shapes) qkv() linear {
	return s.lin("qkv", AttnLinear, s.tokens, s.q+2*s.kv, s.h, column, true, true)
}

func (s *shapes) attnOut() linear {
	v := s.q
	if s.m.Attn.MLA() {
		v = s.heads * s.m.Attn.VDim
	}
	return s.lin("proj", AttnLinear, s.tokens, s.h, v, row, false, true)
}

// lin makes a linear layer in the training precision.
func (s *shapes) lin(name string, class Class, m, n, k int64, split tpSplit, fusedCast, attn bool) linear {
	l := linear{name: name, class: class, m: m, n: n, k: k, split: split, dt: s.dt, fusedCast: fusedCast}
	if s.lora {
		l.frozen = true
		if attn || s.s.Training.LoRATargets == "all" {
			l.adapter = s.s.Training.LoRARank
		}
	}
	return l
}

// mlaIn appends MLA's compressed projections (DeepSeek-V2, section 2.1). The
// down-projections are replicated and run on the sequence-parallel tokens; the
// latents are gathered, not the hidden states.
func (s *shapes) mlaIn(b *builder) {
	a := s.m.Attn
	qk := a.Nope + a.Rope
	if a.QLoRA > 0 {
		s.forward(b, s.lin("q down", AttnLinear, s.sp, a.QLoRA, s.h, whole, true, true))
		s.norm(b, "q latent norm", s.sp, a.QLoRA)
	}
	s.forward(b, s.lin("kv down", AttnLinear, s.sp, a.KVLoRA+a.Rope, s.h, whole, a.QLoRA > 0, true))
	s.norm(b, "kv latent norm", s.sp, a.KVLoRA)
	if s.tp > 1 && s.s.Parallel.SP {
		b.comm("all-gather latents", TPComm, s.coll(cost.AllGather, 2*s.tokens*(a.QLoRA+a.KVLoRA+a.Rope), s.p.Groups.TP))
	}
	qIn := a.QLoRA
	if qIn == 0 {
		qIn = s.h
	}
	s.forward(b, s.lin("q up", AttnLinear, s.tokens, s.heads*qk, qIn, whole, true, true))
	s.forward(b, s.lin("kv up", AttnLinear, s.tokens, s.heads*(a.Nope+a.VDim), a.KVLoRA, whole, true, true))
	s.rope(b, "rope", s.heads*a.Rope+a.Rope)
	// q and k are assembled from their parts
	b.compute("concat qk", Elementwise, mem("copy", 2*s.tokens*s.heads*2*qk, 2*s.tokens*s.heads*2*qk))
}

func (s *shapes) mlaInBackward(b *builder) {
	a := s.m.Attn
	qk := a.Nope + a.Rope
	b.compute("d concat qk", Elementwise, mem("copy", 2*s.tokens*s.heads*2*qk, 2*s.tokens*s.heads*2*qk))
	s.rope(b, "d rope", s.heads*a.Rope+a.Rope)
	s.backward(b, s.lin("kv up", AttnLinear, s.tokens, s.heads*(a.Nope+a.VDim), a.KVLoRA, whole, true, true))
	qIn := a.QLoRA
	if qIn == 0 {
		qIn = s.h
	}
	s.backward(b, s.lin("q up", AttnLinear, s.tokens, s.heads*qk, qIn, whole, true, true))
	if s.tp > 1 {
		b.comm("reduce d latents", TPComm, s.reduceKernel(2*s.tokens*(a.QLoRA+a.KVLoRA+a.Rope)))
	}
	s.normBackward(b, "kv latent norm", s.sp, a.KVLoRA)
	s.backward(b, s.lin("kv down", AttnLinear, s.sp, a.KVLoRA+a.Rope, s.h, whole, true, true))
	if a.QLoRA > 0 {
		s.normBackward(b, "q latent norm", s.sp, a.QLoRA)
		s.backward(b, s.lin("q down", AttnLinear, s.sp, a.QLoRA, s.h, whole, true, true))
	}
}

// attention appends the attention half of a layer.
func (s *shapes) attention(b *builder, layer int64) {
	s.norm(b, "attention norm", s.sp, s.h)
	if s.m.Attn.MLA() {
		s.mlaIn(b)
	} else {
		s.forward(b, s.qkv())
		if s.m.QKNorm {
			x := 2 * s.tokens * (s.q + s.kv)
			b.compute("qk norm", Elementwise, mem("rmsnorm", x, x))
		}
		s.rope(b, "rope", s.q+s.kv)
	}
	s.core(b, layer, false)
	s.forward(b, s.attnOut())
	s.residual(b, "attention residual")
}

func (s *shapes) attentionBackward(b *builder, layer int64) {
	s.backward(b, s.attnOut())
	s.core(b, layer, true)
	if s.m.Attn.MLA() {
		s.mlaInBackward(b)
	} else {
		s.rope(b, "d rope", s.q+s.kv)
		if s.m.QKNorm {
			x := 2 * s.tokens * (s.q + s.kv)
			b.compute("d qk norm", Elementwise, mem("rmsnorm_bwd", 2*x, x))
		}
		s.backward(b, s.qkv())
	}
	s.normBackward(b, "attention norm", s.sp, s.h)
	s.residual(b, "attention residual grad")
}

// kernel is core attention of this rank over queries q and keys kv.
func (s *shapes) kernel(layer, q, kv int64, causal, backward bool) cost.Attention {
	a := s.m.Attn
	k := cost.Attention{Batch: s.s.Training.MicroBatch, SeqQ: q, SeqKV: kv, Heads: s.heads, KVHeads: s.kvHeads,
		HeadDim: a.HeadDim, Causal: causal, Backward: backward, DType: unit.BF16, Window: s.m.Window(layer),
		FA2: s.fw.FlashAttention2, CuDNN: !s.fw.FlashAttention2, Deterministic: s.fw.DeterministicAttn}
	if a.MLA() {
		k.HeadDim, k.VDim, k.KVHeads = a.Nope+a.Rope, a.VDim, s.heads
	}
	if k.Window >= kv {
		k.Window = 0
	}
	if s.fw.FP8Attention {
		k.DType = unit.FP8
	}
	return k
}

// kvChannels is how many channels of keys and values a TP rank has together.
func (s *shapes) kvChannels() int64 {
	if a := s.m.Attn; a.MLA() {
		return s.heads * (a.Nope + a.Rope + a.VDim)
	}
	return 2 * s.kv
}

// core appends core attention with the exchange that context parallelism
// needs. Ring (Transformer Engine, AttnFuncWithCPAndKVP2P): causal load is
// balanced by giving each rank two chunks of 2 x CP; the first step is causal
// on the own tokens, each later one sees half the pairs of q x kv; keys and
// values of the next step travel behind the current one, and in the backward
// pass their gradients too.
func (s *shapes) core(b *builder, layer int64, backward bool) {
	name := "attention"
	if backward {
		name = "d attention"
	}
	if s.packed != nil {
		s.packedCore(b, name, layer, backward)
		return
	}
	seq := s.p.SliceSeq()
	if s.cp == 1 && s.vol == 0 { // a slice sees the ones before it
		b.compute(name, Attention, s.kernel(layer, seq, (s.slice+1)*seq, true, backward))
		return
	}
	if s.vol != 0 || s.s.Parallel.CPKind == "query" {
		s.slicedCore(b, name, layer, backward)
		return
	}
	g := s.p.Groups.CP
	full := s.s.Training.SequenceLength
	kvBytes := 2 * s.tokens * s.kvChannels()
	switch s.s.Parallel.CPKind {
	case "a2a": // Ulysses: heads are cut instead of tokens inside attention
		k := s.kernel(layer, full, full, true, backward)
		k.Heads, k.KVHeads = max(s.heads/s.cp, 1), max(s.kvHeads/s.cp, 1)
		qkv, out := s.coll(cost.AllToAll, 2*s.tokens*s.q+kvBytes, g), s.coll(cost.AllToAll, 2*s.tokens*s.q, g)
		if backward { // attention's inputs and output were kept by heads: only gradients move
			b.comm("all-to-all d out", CPComm, out)
			b.compute(name, Attention, k)
			b.comm("all-to-all d qkv", CPComm, qkv)
			return
		}
		b.comm("all-to-all qkv", CPComm, qkv)
		b.compute(name, Attention, k)
		b.comm("all-to-all out", CPComm, out)
	case "allgather": // Llama 3, section 3.3.2
		b.comm("all-gather kv", CPComm, s.coll(cost.AllGather, kvBytes*s.cp, g))
		// two chunks of queries, one from each end, see full/2 keys on average
		k := s.kernel(layer, seq, full/2+seq/2, true, backward)
		b.compute(name, Attention, k)
		if backward {
			b.comm("reduce-scatter dkv", CPComm, s.coll(cost.ReduceScatter, kvBytes*s.cp, g))
		}
	default: // ring
		step := kvBytes
		if backward {
			step *= 2
		}
		send := b.side
		if !s.fw.OverlapCP {
			send = b.comm
		}
		p2p := cost.P2P{Bytes: step, NICGBps: s.p.NIC(g, cost.AllGather)}
		arrive := -1
		if !backward {
			arrive = send("send kv", CPComm, p2p)
		}
		b.compute(name+" 0", Attention, s.kernel(layer, seq, seq, true, backward))
		for i := int64(1); i < s.cp; i++ {
			here := arrive
			if i+1 < s.cp || backward {
				arrive = send("send kv", CPComm, p2p)
			}
			k := s.kernel(layer, seq/2, seq, false, backward)
			b.computeAfter(name, Attention, k, here)
		}
		if backward {
			b.last = arrive
		}
	}
}
