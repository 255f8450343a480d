// Package cost prices kernels and messages: how long each takes on a GPU, with
// an error and the source of the number.
package cost

import (
	"fmt"

	"orrery/sim/unit"
)

// Kernel is one piece of work whose duration does not depend on who runs it.
// Kernels are comparable values: equal kernels have equal prices.
type Kernel interface {
	Family() Family
	// FLOPs counts multiply and add as two; zero for data movement.
	FLOPs() float64
	// HBMBytes is the least traffic to device memory that the kernel needs.
	HBMBytes() float64
	String() string
}

// Family names a group of kernels that are fitted and judged together.
type Family string

// The families, as `sim calibrate evaluate` prints them.
const (
	FamGEMM        Family = "gemm"
	FamGroupedGEMM Family = "grouped_gemm"
	FamAttention   Family = "attention"         // causal prefill / training
	FamEncoderAttn Family = "encoder_attention" // non-causal
	FamDecodeAttn  Family = "decode_attention"
	FamMLA         Family = "mla"
	FamMoE         Family = "moe" // fused expert layer of one rank
	FamMemory      Family = "memory_bound"
	FamCollective  Family = "collective"
	FamP2P         Family = "p2p"
	FamAllToAll    Family = "ep_alltoall" // expert dispatch and combine
)

// Layout tells which of a linear layer's three products a GEMM is.
type Layout string

// The layouts of y = x W^T and of its two gradients.
const (
	Fwd   Layout = "fwd"   // TN
	Dgrad Layout = "dgrad" // NN
	Wgrad Layout = "wgrad" // NT, accumulated in fp32
)

// GEMM is C[m,n] = A[m,k] B[k,n], Batch times (0 counts as 1).
type GEMM struct {
	M, N, K int64
	DType   unit.DType
	Layout  Layout // "" is Fwd
	Batch   int64
	// Fastest: by the fastest of the libraries that were measured instead of their
	// median. Engines bring their own 8-bit kernels; training calls cuBLASLt.
	Fastest bool
}

// Family implements Kernel.
func (g GEMM) Family() Family { return FamGEMM }

// FLOPs implements Kernel.
func (g GEMM) FLOPs() float64 {
	return 2 * float64(g.M) * float64(g.N) * float64(g.K) * float64(max(g.Batch, 1))
}

// HBMBytes implements Kernel: operands once, a bf16 result (fp32 read and
// written for an accumulating wgrad).
func (g GEMM) HBMBytes() float64 {
	m, n, k, b := float64(g.M), float64(g.N), float64(g.K), float64(max(g.Batch, 1))
	out := 2.0
	if g.Layout == Wgrad {
		out = 8
	}
	return b * ((m*k+n*k)*g.DType.Bytes() + m*n*out)
}

func (g GEMM) String() string {
	s := fmt.Sprintf("gemm m=%d n=%d k=%d dtype=%s", g.M, g.N, g.K, g.DType)
	if g.Layout != "" && g.Layout != Fwd {
		s += " layout=" + string(g.Layout)
	}
	if g.Batch > 1 {
		s += fmt.Sprintf(" batch=%d", g.Batch)
	}
	if g.Fastest {
		s += " fastest=true"
	}
	return s
}

// GroupedGEMM is one GEMM for each of Groups local experts. Tokens is the sum
// of rows over the groups; MaxOverMean (>= 1, 0 counts as 1) is the largest
// group's rows over the mean. Tiles, where it is not 0, says instead how many tiles
// of [ExpertTile] rows the groups fill, each rounded up.
type GroupedGEMM struct {
	Groups      int64
	Tokens      int64
	N, K        int64
	DType       unit.DType
	Layout      Layout
	MaxOverMean float64
	Tiles       int64
}

// Family implements Kernel.
func (g GroupedGEMM) Family() Family { return FamGroupedGEMM }

// FLOPs implements Kernel.
func (g GroupedGEMM) FLOPs() float64 {
	return 2 * float64(g.Tokens) * float64(g.N) * float64(g.K)
}

// HBMBytes implements Kernel.
func (g GroupedGEMM) HBMBytes() float64 {
	t, n, k, e := float64(g.Tokens), float64(g.N), float64(g.K), float64(g.Groups)
	b := g.DType.Bytes()
	if g.Layout == Wgrad {
		return (t*k+t*n)*b + e*n*k*8
	}
	return t*k*b + e*n*k*b + t*n*2
}

func (g GroupedGEMM) String() string {
	s := fmt.Sprintf("grouped_gemm groups=%d tokens=%d n=%d k=%d dtype=%s", g.Groups, g.Tokens, g.N, g.K, g.DType)
	if g.Layout != "" && g.Layout != Fwd {
		s += " layout=" + string(g.Layout)
	}
	if g.MaxOverMean > 1 {
		s += fmt.Sprintf(" max_over_mean=%.3g", g.MaxOverMean)
	}
	if g.Tiles > 0 {
		s += fmt.Sprintf(" tiles=%d", g.Tiles)
	}
	return s
}

// Attention is scaled dot product attention over Batch sequences. With Causal
// SeqKV >= SeqQ and the last query sees all keys. VDim 0 means HeadDim.
// Window > 0 limits each query to that many keys (sliding window).
type Attention struct {
	Batch, SeqQ, SeqKV int64
	Heads, KVHeads     int64
	HeadDim, VDim      int64
	Window             int64
	Causal, Backward   bool
	Decode             bool // one query token against a KV cache
	FA2                bool // FlashAttention-2, not the kernel made for the GPU's generation
	CuDNN              bool // cuDNN's kernel, as Transformer Engine picks it on Hopper
	Deterministic      bool // backward without atomic additions
	DType              unit.DType
	// KVDType is the format of the KV cache that the kernel writes and reads. ""
	// is DType without a cache, as in training.
	KVDType unit.DType
}

// Family implements Kernel.
func (a Attention) Family() Family {
	switch {
	case a.Decode:
		return FamDecodeAttn
	case a.VDim != 0 && a.VDim != a.HeadDim:
		return FamMLA
	case !a.Causal:
		return FamEncoderAttn
	}
	return FamAttention
}

// Pairs is the number of (query, key) pairs of one head of one sequence.
func (a Attention) Pairs() float64 {
	q, kv := float64(a.SeqQ), float64(a.SeqKV)
	if !a.Causal {
		if w := float64(a.Window); w > 0 && w < kv {
			return q * w
		}
		return q * kv
	}
	// query i (from 0) sees kv-q+i+1 keys, at most Window.
	if w := float64(a.Window); w > 0 && w < kv {
		first := kv - q + 1
		if first >= w {
			return q * w
		}
		short := w - first // queries that see fewer than w keys
		return short*(first+w-1)/2 + (q-short)*w
	}
	return q*(kv-q) + q*(q+1)/2
}

// FLOPs implements Kernel: QK^T and PV, each two FLOPs a pair and channel;
// backward is 2.5 times that (five products instead of two).
func (a Attention) FLOPs() float64 {
	v := a.VDim
	if v == 0 {
		v = a.HeadDim
	}
	f := 2 * float64(a.Batch*a.Heads) * a.Pairs() * float64(a.HeadDim+v)
	if a.Backward {
		f *= 2.5
	}
	return f
}

// HBMBytes implements Kernel: Q, K, V and O once (backward: also dO, dQ, dK, dV).
func (a Attention) HBMBytes() float64 {
	v := a.VDim
	if v == 0 {
		v = a.HeadDim
	}
	kv := a.KVDType
	if kv == "" {
		kv = a.DType
	}
	q := float64(a.Batch*a.SeqQ*a.Heads) * (float64(a.HeadDim)*a.DType.Bytes() + float64(v)*2)
	k := float64(a.Batch*a.SeqKV*a.KVHeads) * float64(a.HeadDim+v) * kv.Bytes()
	if a.Backward {
		return 3*q + 2*k
	}
	return q + k
}

func (a Attention) String() string {
	s := fmt.Sprintf("attention batch=%d q=%d kv=%d heads=%d kv_heads=%d head_dim=%d", a.Batch, a.SeqQ, a.SeqKV, a.Heads, a.KVHeads, a.HeadDim)
	if a.VDim != 0 && a.VDim != a.HeadDim {
		s += fmt.Sprintf(" v_dim=%d", a.VDim)
	}
	if a.Window > 0 {
		s += fmt.Sprintf(" window=%d", a.Window)
	}
	s += fmt.Sprintf(" causal=%t", a.Causal)
	if a.Backward {
		s += " backward=true"
	}
	if a.Decode {
		s += " decode=true"
	}
	if a.FA2 {
		s += " fa2=true"
	}
	if a.CuDNN {
		s += " cudnn=true"
	}
	if a.Deterministic {
		s += " deterministic=true"
	}
	s += " dtype=" + string(a.DType)
	if a.KVDType != "" {
		s += " kv_dtype=" + string(a.KVDType)
	}
	return s
}

// MoE is the fused expert layer of one rank as inference engines time it:
// permute, two gated grouped GEMMs, unpermute. Tokens is the global number of
// tokens; the rank holds Experts/EP experts, each with Inter/TP channels.
// Distribution is "balanced" or "power_law_<alpha>" (then: the hottest rank).
type MoE struct {
	Tokens, Hidden, Inter int64
	TopK, Experts         int64
	TP, EP                int64
	Distribution          string
	DType                 unit.DType
	Ungated               bool // two projections, without the gate
}

// projections of an expert: gate, up and down, or up and down.
func (m MoE) projections() float64 {
	if m.Ungated {
		return 2
	}
	return 3
}

// Family implements Kernel.
func (m MoE) Family() Family { return FamMoE }

// FLOPs implements Kernel (of the mean rank).
func (m MoE) FLOPs() float64 {
	return 2 * m.projections() * float64(m.Tokens*m.TopK) / float64(m.EP) * float64(m.Hidden) * float64(m.Inter) / float64(m.TP)
}

// HBMBytes implements Kernel.
func (m MoE) HBMBytes() float64 {
	rows := float64(m.Tokens*m.TopK) / float64(m.EP)
	i := float64(m.Inter) / float64(m.TP)
	hit := min(float64(m.Experts)/float64(m.EP), rows)
	return hit*m.projections()*float64(m.Hidden)*i*m.DType.Bytes() + 2*rows*(4*float64(m.Hidden)+(2*m.projections()-1)*i)
}

func (m MoE) String() string {
	s := fmt.Sprintf("moe tokens=%d hidden=%d inter=%d topk=%d experts=%d tp=%d ep=%d distribution=%s dtype=%s",
		m.Tokens, m.Hidden, m.Inter, m.TopK, m.Experts, m.TP, m.EP, m.Distribution, m.DType)
	if m.Ungated {
		s += " ungated=true"
	}
	return s
}

// Memory is a kernel bound by device memory. Op is its name (rmsnorm, swiglu,
// rope, residual_add, permute, cross_entropy, adam, cast_fp8, embedding, copy …);
// ops that no table has are priced as the streaming op of the same traffic.
type Memory struct {
	Op          string
	Read, Write int64 // bytes
}

// Family implements Kernel.
func (m Memory) Family() Family { return FamMemory }

// FLOPs implements Kernel.
func (m Memory) FLOPs() float64 { return 0 }

// HBMBytes implements Kernel.
func (m Memory) HBMBytes() float64 { return float64(m.Read + m.Write) }

func (m Memory) String() string {
	return fmt.Sprintf("memory op=%s read=%d write=%d", m.Op, m.Read, m.Write)
}

// CollectiveKind is a pattern of communication among a group of ranks.
type CollectiveKind string

// The collectives. Bytes of each follow nccl-tests: the full buffer for
// all-reduce, the gathered buffer for all-gather, the input buffer for
// reduce-scatter, the send buffer of one rank for all-to-all.
const (
	AllReduce     CollectiveKind = "all_reduce"
	AllGather     CollectiveKind = "all_gather"
	ReduceScatter CollectiveKind = "reduce_scatter"
	AllToAll      CollectiveKind = "all_to_all"
	Broadcast     CollectiveKind = "broadcast"
)

// Group is where the ranks of a communicator sit. Ranks = PerDomain x domains;
// PerDomain ranks share one NVLink domain (a node, or a rack of NVL72). Every
// rank has its own NIC.
type Group struct {
	Ranks, PerDomain int64
}

// Domains is the number of NVLink domains that the group spans.
func (g Group) Domains() int64 { return (g.Ranks + g.PerDomain - 1) / max(g.PerDomain, 1) }

// Collective is one collective operation.
type Collective struct {
	Kind  CollectiveKind
	Bytes int64
	Group Group
	// NICGBps is the rate of one rank's NIC, per direction; 0 where the group
	// stays in one domain.
	NICGBps float64
	// SMs that the communication kernel may use; 0 is the library's default.
	SMs int64
	// Custom names a kernel that is used instead of NCCL's: "vllm_graph" (vLLM's
	// one- and two-shot all-reduce, launched from a CUDA graph), "vllm_eager".
	Custom string
	// Integer elements, which NVLink SHARP does not add and NCCL reduces at
	// another rate than floats.
	Integer bool
}

// Family implements Kernel.
func (c Collective) Family() Family { return FamCollective }

// FLOPs implements Kernel.
func (c Collective) FLOPs() float64 { return 0 }

// HBMBytes implements Kernel.
func (c Collective) HBMBytes() float64 { return 2 * float64(c.Bytes) }

// BusFactor turns algorithm bandwidth (bytes/time) into bus bandwidth, as
// nccl-tests defines it (doc/PERFORMANCE.md).
func (c Collective) BusFactor() float64 {
	n := float64(c.Group.Ranks)
	switch c.Kind {
	case AllReduce:
		return 2 * (n - 1) / n
	case Broadcast:
		return 1
	}
	return (n - 1) / n
}

func (c Collective) String() string {
	s := fmt.Sprintf("%s bytes=%d ranks=%d per_domain=%d", c.Kind, c.Bytes, c.Group.Ranks, c.Group.PerDomain)
	if c.NICGBps > 0 {
		s += fmt.Sprintf(" nic=%gGB/s", c.NICGBps)
	}
	if c.Custom != "" {
		s += " custom=" + c.Custom
	}
	if c.Integer {
		s += " integer=true"
	}
	if c.SMs > 0 {
		s += fmt.Sprintf(" sms=%d", c.SMs)
	}
	return s
}

// P2P is one send and its receive. NICGBps 0 means over NVLink.
type P2P struct {
	Bytes   int64
	NICGBps float64
}

// Family implements Kernel.
func (p P2P) Family() Family { return FamP2P }

// FLOPs implements Kernel.
func (p P2P) FLOPs() float64 { return 0 }

// HBMBytes implements Kernel.
func (p P2P) HBMBytes() float64 { return float64(p.Bytes) }

func (p P2P) String() string {
	if p.NICGBps > 0 {
		return fmt.Sprintf("p2p bytes=%d nic=%gGB/s", p.Bytes, p.NICGBps)
	}
	return fmt.Sprintf("p2p bytes=%d", p.Bytes)
}

// ExpertExchange is the dispatch or combine of tokens among the ranks of an
// expert-parallel group, by a kernel made for it (DeepEP, HybridEP, TRT-LLM).
type ExpertExchange struct {
	Op            string // dispatch, combine, prepare, combine_low_precision
	Backend       string // deepep, deepep_ll, hybridep, nvlink_one_sided, nvlink_two_sided
	Tokens        int64  // per rank
	Hidden        int64
	TopK, Experts int64
	Group         Group
	NICGBps       float64
	SMs           int64
	DType         unit.DType
	// Within is the most domains that the experts of a token lie on, where the
	// router limits them (DeepSeek-V3: 4 nodes); 0 is no limit.
	Within int64
	// Busiest is the time that the volumes of the busiest rank take over that of a
	// balanced exchange; 0 counts as 1.
	Busiest float64
}

// Family implements Kernel.
func (e ExpertExchange) Family() Family { return FamAllToAll }

// FLOPs implements Kernel.
func (e ExpertExchange) FLOPs() float64 { return 0 }

// HBMBytes implements Kernel.
func (e ExpertExchange) HBMBytes() float64 {
	return float64(e.Tokens*e.Hidden*min(e.TopK, e.Group.Ranks)) * e.DType.Bytes()
}

func (e ExpertExchange) String() string {
	s := fmt.Sprintf("ep_%s backend=%s tokens=%d hidden=%d topk=%d experts=%d ranks=%d per_domain=%d sms=%d dtype=%s",
		e.Op, e.Backend, e.Tokens, e.Hidden, e.TopK, e.Experts, e.Group.Ranks, e.Group.PerDomain, e.SMs, e.DType)
	if e.Within > 0 {
		s += fmt.Sprintf(" within=%d", e.Within)
	}
	if e.Busiest > 0 {
		s += fmt.Sprintf(" busiest=%.4g", e.Busiest)
	}
	return s
}
