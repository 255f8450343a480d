// Package lower turns a plan into a program: layers into kernels, passes into
// ops, with the communication that joins them. It knows shapes of kernels and
// messages, not GPUs or times.
package lower

import (
	"orrery/sim/cost"
)

// Class is what a kernel does, as the report's rows name it (DESIGN section 6).
type Class uint8

// Classes of kernels.
const (
	Attention  Class = iota // core attention
	AttnLinear              // projections of attention
	MLP
	Experts // grouped GEMM of routed experts
	Router  // routing, permutation
	Elementwise
	Casts // quantisation to fp8 and transposes
	EmbeddingHead
	TPComm
	CPComm
	EPComm
	OptimizerStep
	Recurrent      // LSTMs
	GraphAttention // over the utterances of dialogues
	ExpertPlanning // of replicas of experts
	ExpertWeights  // sending replicas' weights, adding up their gradients
	NumClasses
)

// String is the class's name in reports and JSON.
func (c Class) String() string {
	return [...]string{"attention", "attention_linear", "mlp", "experts", "router_permute", "norms_elementwise",
		"casts", "embedding_head", "tp_comm", "cp_comm", "ep_comm", "optimizer", "recurrent", "graph_attention", "expert_planning", "expert_weights"}[c]
}

// Lane is the stream of a rank that a block's op runs on.
type Lane uint8

// Lanes of a block.
const (
	Compute Lane = iota
	Comm         // one stream: NCCL kernels of one rank do not overlap usefully
	NumLanes
)

// Op is one kernel of a block.
type Op struct {
	Name   string
	Class  Class
	Lane   Lane
	Kernel cost.Kernel
	// After lists ops of the block (by index) that must have ended, beside the
	// previous op of the lane. A compute op after a comm op that it needs names it.
	After []int
	// Split > 1: this compute op and the comm op Pair are cut into Split pieces
	// that pipeline (user buffers, async TP): together they take
	// max + min/Split instead of the sum.
	Split int
	Pair  int // index of the comm op, valid where Split > 1
	// Recompute marks forward kernels that the backward pass runs again.
	Recompute bool
	// Launches is how many kernels the host launches for this op; 0 counts as 1.
	Launches int64
	Wgrad    bool // gradient for weights (can be split off by zero-bubble schedules)
}

// Block is a sequence of kernels with a barrier at both ends: one layer's
// forward or backward, an embedding, a head.
type Block struct {
	Name string
	Ops  []Op
}

// builder appends ops and tracks what the next compute op waits for.
type builder struct {
	b       Block
	last    int // last op that the data flows through, -1 at the start
	recomp  bool
	lastCmp int // last compute op, -1 at the start
}

func newBuilder(name string) *builder {
	return &builder{b: Block{Name: name}, last: -1, lastCmp: -1}
}

func (b *builder) add(op Op) int {
	op.Recompute = b.recomp
	b.b.Ops = append(b.b.Ops, op)
	return len(b.b.Ops) - 1
}

// compute appends a kernel that needs everything before it.
func (b *builder) compute(name string, class Class, k cost.Kernel) int {
	op := Op{Name: name, Class: class, Lane: Compute, Kernel: k}
	if b.last >= 0 && b.b.Ops[b.last].Lane == Comm {
		op.After = []int{b.last}
	}
	b.last = b.add(op)
	b.lastCmp = b.last
	return b.last
}

// launches notes that the op takes so many kernels to launch.
func (b *builder) launches(op int, n int64) { b.b.Ops[op].Launches = n }

// comm appends a message that needs everything before it and that the next
// kernel waits for.
func (b *builder) comm(name string, class Class, k cost.Kernel) int {
	op := Op{Name: name, Class: class, Lane: Comm, Kernel: k}
	if b.last >= 0 {
		op.After = []int{b.last}
	}
	b.last = b.add(op)
	return b.last
}

// side appends a message that needs everything before it but that nothing
// waits for until join.
func (b *builder) side(name string, class Class, k cost.Kernel) int {
	op := Op{Name: name, Class: class, Lane: Comm, Kernel: k}
	if b.last >= 0 {
		op.After = []int{b.last}
	}
	return b.add(op)
}

// behind appends kernels that run while message op is under way; what comes after
// needs both. A message among them ends after op does, on the same lane.
func (b *builder) behind(op int, kernels func()) {
	b.last = b.lastCmp
	kernels()
	if b.b.Ops[b.last].Lane == Compute {
		b.last = op
	}
}

// computeAfter appends a kernel that also waits for the ops given.
func (b *builder) computeAfter(name string, class Class, k cost.Kernel, after ...int) int {
	i := b.compute(name, class, k)
	for _, a := range after {
		if a >= 0 {
			b.b.Ops[i].After = append(b.b.Ops[i].After, a)
		}
	}
	return i
}

// pipelined marks compute op c and comm op m as overlapped in pieces.
func (b *builder) pipelined(c, m, pieces int) {
	b.b.Ops[c].Split, b.b.Ops[c].Pair = pieces, m
}
