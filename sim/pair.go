package sim

import (
	"fmt"
	"math"

	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// pairPrice is how long a pair of passes takes and each pass's share of it: the
// times of the shares, with what launching adds, are the pair's.
type pairPrice struct {
	whole    *blockPrice // the kernels of both, merged
	forward  workPrice
	backward workPrice
}

// part is the share of the forward or the backward pass.
func (p *pairPrice) part(kind program.Kind) workPrice {
	if kind == program.Forward {
		return p.forward
	}
	return p.backward
}

// pair merges the kernels of a pair's passes into the order in which they run,
// and prices that as one block: one compute lane, one lane of messages, and
// compute slowed by the messages beside it.
func (p *prices) pair(pair *lower.Pair) (*pairPrice, error) {
	if pp, ok := p.pairs[pair]; ok {
		return pp, nil
	}
	tasks := pair.Tasks()
	dur := make([]unit.Time, len(tasks))
	for i, t := range tasks {
		b, err := p.block(t.Block)
		if err != nil {
			return nil, err
		}
		dur[i] = b.Dur[t.Index]
	}
	order := interleave(tasks, dur)
	block, err := merged(tasks, order)
	if err != nil {
		return nil, err
	}
	pp := &pairPrice{}
	if pp.whole, err = p.block(block); err != nil {
		return nil, err
	}
	if err := p.share(pp, block, tasks, order); err != nil {
		return nil, err
	}
	p.pairs[pair] = pp
	return pp, nil
}

// merged is the block of a pair's kernels in the order given.
func merged(tasks []lower.Task, order []int) (*lower.Block, error) {
	at := make([]int, len(tasks)) // by task
	first := make([]int, len(tasks))
	for i, t := range tasks {
		first[i] = i - t.Index
	}
	out := &lower.Block{Name: "pair", Ops: make([]lower.Op, len(order))}
	for k, i := range order {
		at[i] = k
	}
	for k, i := range order {
		t := tasks[i]
		op := t.Block.Ops[t.Index]
		op.After = make([]int, len(t.After))
		for j, a := range t.After {
			if op.After[j] = at[a]; at[a] >= k {
				return nil, fmt.Errorf("pair of passes: %s runs before %s, which it waits for", op.Name, tasks[a].Block.Ops[tasks[a].Index].Name)
			}
		}
		if op.Split > 1 {
			op.Pair = at[first[i]+op.Pair]
		}
		out.Ops[k] = op
	}
	return out, nil
}

// share divides a merged block between the two passes: each has its own
// kernels, what compute waited for its messages, and of the slow-down by
// contention and of the launches' time a part in proportion.
func (p *prices) share(pp *pairPrice, b *lower.Block, tasks []lower.Task, order []int) error {
	w := pp.whole
	parts := [2]*workPrice{&pp.forward, &pp.backward}
	errs := [2]kernelErrors{}
	for k, i := range order {
		op, of := b.Ops[k], 1
		if tasks[i].Strand.Forward() {
			of = 0
		}
		part := parts[of]
		e, err := p.opPrice(op)
		if err != nil {
			return err
		}
		errs[of].add(op.Kernel, e)
		part.Launches += max(op.Launches, 1)
		if op.Lane == lower.Comm {
			part.Exposed[op.Class] += w.Waited[k]
			part.Hidden[op.Class] += w.Dur[k] + w.Behind[k] - w.Waited[k]
			continue
		}
		part.Busy[op.Class] += w.Dur[k]
		part.Time += w.Dur[k]
		if op.Recompute {
			part.Recompute += w.Dur[k]
		}
		if op.Wgrad {
			part.Wgrad += w.Dur[k]
		}
	}
	f, g := parts[0], parts[1]
	f.Contended = portion(w.Contended, f.Time, g.Time)
	g.Contended = w.Contended - f.Contended
	for of, part := range parts {
		part.err2 = errs[of].squared()
		busy := part.Time
		p.contend(&part.blockPrice)
		part.Time = busy + part.Contended
		for _, t := range part.Exposed {
			part.Time += t
		}
	}
	if host := unit.Time(w.Launches) * p.host; host > w.Time {
		f.Host = portion(host-w.Time, unit.Time(f.Launches), unit.Time(g.Launches))
		g.Host = host - w.Time - f.Host
	}
	return nil
}

// portion is a's part of total, shared in proportion to a and b.
func portion(total, a, b unit.Time) unit.Time {
	if a+b == 0 {
		return 0
	}
	return unit.Time(math.Round(float64(total) * float64(a) / float64(a+b)))
}
