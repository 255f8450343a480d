package lower

import (
	"fmt"
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/program"
)

// Pair is a forward and a backward pass of different microbatches that a rank
// runs together, so that kernels of one hide messages of the other (DualPipe,
// arXiv:2412.19437, section 3.2.1). In a program it is two ops one after the
// other, the forward's and the backward's share of the pair's time: both start
// when both inputs are there, and both outputs leave when both have ended, as
// deepseek-ai/DualPipe posts its receives and sends (dualpipev.py,
// _forward_backward_chunk).
type Pair struct{ Forward, Backward []Use }

// together are the slots that rank r runs next: one pass, or two of a pair.
func (l *lowering) together(r int) []pipeline.Slot {
	rest := l.order[r][l.ranks[r].next:]
	if l.s.Schedule.OverlapPairs && len(rest) > 1 && rest[1].Paired {
		return rest[:2]
	}
	return rest[:1]
}

// pair appends the ops of a forward f and a backward b that run together.
func (l *lowering) pair(r int, f, b pipeline.Slot, arrived ...program.OpID) error {
	if s := [2]pipeline.Slot{f, b}; l.gathers(f) || l.reduces(b) {
		return fmt.Errorf("schedule %s pairs %v, which carries data-parallel communication; want it in passes of their own", l.p.Schedule.Name(), s)
	}
	st, lanes := &l.ranks[r], l.step.Lanes[r]
	deps := slices.Concat(st.frontier, arrived)
	st.frontier = st.frontier[:0]
	st.layers += 2
	forward, backward := l.pairWorks(f, b)

	first := l.add(lanes.Compute, forward, Tag{f.Phase, f.Stage, f.Microbatch, f.Slice}, deps...)
	l.memoryBefore(first, r, f)
	last := l.add(lanes.Compute, backward, Tag{b.Phase, b.Stage, b.Microbatch, b.Slice})
	l.memoryBefore(last, r, b)
	l.memoryAfter(last, r, b)
	st.beforeLast, st.lastOp = st.lastOp, last
	l.done(r, f, last)
	l.done(r, b, last)
	return nil
}

// pairWorks are the WorkIDs of the passes of a pair. Pairs of the same blocks
// are one Pair, so that they are priced once.
func (l *lowering) pairWorks(f, b pipeline.Slot) (forward, backward program.WorkID) {
	shared := func() *Pair {
		all := func(s pipeline.Slot) []Use {
			st := l.p.Stages[s.Stage]
			return l.uses(s, segment{layers: st.Layers, embedding: st.Embedding, head: st.Head})
		}
		p := &Pair{all(f), all(b)}
		for _, q := range l.pairs {
			if slices.Equal(q.Forward, p.Forward) && slices.Equal(q.Backward, p.Backward) {
				return q
			}
		}
		l.pairs = append(l.pairs, p)
		return p
	}
	k := workKey{kind: "pair " + b.Phase.String(), stage: int(f.Stage), with: int(b.Stage)}
	if l.p.Routing != nil {
		k.withMB = int(b.Microbatch) + 1
	}
	backward = l.ofGroups(func() program.WorkID {
		return l.work(l.loadKey(k, f), func() (program.Work, Work) {
			p := shared()
			return program.Work{Name: fmt.Sprintf("%v stage %d beside F stage %d", b.Phase, b.Stage, f.Stage), Kind: program.Backward}, Work{Blocks: p.Backward, Pair: p}
		})
	})
	k.kind += " F"
	forward = l.ofGroups(func() program.WorkID {
		return l.work(l.loadKey(k, f), func() (program.Work, Work) {
			p := shared()
			return program.Work{Name: fmt.Sprintf("F stage %d beside %v stage %d", f.Stage, b.Phase, b.Stage), Kind: program.Forward}, Work{Blocks: p.Forward, Pair: p}
		})
	})
	return forward, backward
}

// Strand is one of the sequences that the kernels of a pair form. Kernels of a
// strand run in its order, one at a time.
type Strand uint8

// Strands of a pair: what each pass computes and sends, and the weight
// gradients of the backward pass, which wait until the lane is free.
const (
	ForwardCompute Strand = iota
	ForwardComm
	BackwardCompute
	BackwardComm
	Weights
	NumStrands
)

// Lane is where the kernels of a strand run.
func (s Strand) Lane() Lane {
	if s == ForwardComm || s == BackwardComm {
		return Comm
	}
	return Compute
}

// Forward reports whether the strand is of the forward pass.
func (s Strand) Forward() bool { return s == ForwardCompute || s == ForwardComm }

// Task is one kernel of a pair.
type Task struct {
	Block  *Block
	Index  int // of its op in the block
	Strand Strand
	// After lists tasks (by index) that must have ended, beside the one before in
	// the strand.
	After []int
}

// Tasks are the kernels of a pair: the forward's and then the backward's, each in
// the order in which the pass runs alone.
func (p *Pair) Tasks() []Task {
	t := tasks{}
	t.pass(p.Forward, ForwardCompute, ForwardComm)
	t.pass(p.Backward, BackwardCompute, BackwardComm)
	return t.all
}

// tasks builds the list.
type tasks struct{ all []Task }

// pass appends the kernels of a pass. A block starts when the one before has
// ended, but for its weight gradients.
func (t *tasks) pass(uses []Use, compute, comm Strand) {
	last := map[Strand]int{compute: -1, comm: -1}
	for _, u := range uses {
		for range u.Times {
			t.block(u.Block, last, compute, comm)
		}
	}
}

func (t *tasks) block(b *Block, last map[Strand]int, compute, comm Strand) {
	base := len(t.all)
	opened := map[Strand]bool{}
	barrier := []int{last[compute], last[comm]}
	for i, op := range b.Ops {
		task := Task{Block: b, Index: i, Strand: compute}
		switch {
		case op.Wgrad && compute == BackwardCompute:
			task.Strand = Weights
		case op.Lane == Comm:
			task.Strand = comm
		}
		for _, a := range b.inputs(i) {
			task.After = append(task.After, base+a)
		}
		if !opened[task.Strand] { // the others of the strand follow this one
			opened[task.Strand] = true
			for _, a := range barrier {
				if a >= 0 {
					task.After = append(task.After, a)
				}
			}
		}
		if task.Strand != Weights {
			last[task.Strand] = base + i
		}
		t.all = append(t.all, task)
	}
}
