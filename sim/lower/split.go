package lower

import "slices"

// splitBackward cuts a backward block in two: the gradients for inputs, with
// everything that they wait for, and those for weights, with the messages that
// only they need (Zero Bubble Pipeline Parallelism, arXiv:2401.10241, section 2).
func splitBackward(b *Block) (input, weight *Block) {
	late := make([]bool, len(b.Ops))
	for i, op := range b.Ops {
		late[i] = op.Wgrad
	}
	for i, op := range b.Ops { // messages that weight gradients alone wait for
		if op.Lane != Comm {
			continue
		}
		needed, byOthers := false, false
		for _, other := range b.Ops {
			if slices.Contains(other.After, i) || other.Split > 1 && other.Pair == i {
				needed, byOthers = true, byOthers || !other.Wgrad
			}
		}
		late[i] = needed && !byOthers
	}
	return b.only(" for inputs", late, false), b.only(" for weights", late, true)
}

// only is the block of the ops that were chosen; what the others delayed is over
// before it starts.
func (b *Block) only(what string, chosen []bool, want bool) *Block {
	out := &Block{Name: b.Name + what}
	at := make([]int, len(b.Ops))
	for i, op := range b.Ops {
		if at[i] = -1; chosen[i] != want {
			continue
		}
		at[i] = len(out.Ops)
		after := op.After
		if !want {
			after = b.inputs(i)
		}
		op.After = nil
		for _, a := range after {
			if at[a] >= 0 {
				op.After = append(op.After, at[a])
			}
		}
		out.Ops = append(out.Ops, op)
	}
	for i := range out.Ops {
		if out.Ops[i].Split > 1 {
			if out.Ops[i].Pair = at[out.Ops[i].Pair]; out.Ops[i].Pair < 0 {
				out.Ops[i].Split, out.Ops[i].Pair = 0, 0
			}
		}
	}
	return out
}

// inputs are the ops that op i waits for where weight gradients run at another
// time: for one of them what it is computed from, and nothing waits for one.
func (b *Block) inputs(i int) []int {
	var out []int
	for _, a := range b.Ops[i].After {
		if b.Ops[a].Wgrad {
			out = append(out, b.inputs(a)...)
		} else {
			out = append(out, a)
		}
	}
	if !b.Ops[i].Wgrad {
		return out
	}
	for a := i - 1; a >= 0; a-- {
		if b.Ops[a].Lane == Compute && !b.Ops[a].Wgrad {
			return append(out, a)
		}
	}
	return out
}
