package sim

import (
	"orrery/sim/lower"
	"orrery/sim/unit"
)

// mergeRule tells which of two kernels goes first that could both start now.
// Lower ranks go first.
type mergeRule struct {
	rank [lower.NumStrands]int
	// stay: the pass that computed last goes on until it waits for a message.
	stay bool
}

// mergeRules are tried in turn. Whoever goes first, the other pass computes
// while it waits for its messages, and weight gradients fill what is left, as in
// figure 4 of the DeepSeek-V3 report.
var mergeRules = []mergeRule{
	{rank: ranks(lower.BackwardCompute, lower.ForwardCompute), stay: true},
	{rank: ranks(lower.ForwardCompute, lower.BackwardCompute), stay: true},
	{rank: ranks(lower.BackwardCompute, lower.ForwardCompute)},
	{rank: ranks(lower.ForwardCompute, lower.BackwardCompute)},
}

func ranks(first, second lower.Strand) (r [lower.NumStrands]int) {
	r[first], r[second], r[lower.Weights] = 1, 2, 3
	if first == lower.ForwardCompute { // messages have their own lane
		r[lower.BackwardComm] = 1
	} else {
		r[lower.ForwardComm] = 1
	}
	return r
}

// interleave is the order of a pair's kernels that ends first: one pass after
// the other, or a list schedule under one of the rules. A tie goes to the
// earlier candidate, so that the same prices give the same order.
func interleave(tasks []lower.Task, dur []unit.Time) []int {
	best := make([]int, len(tasks))
	for i := range best {
		best[i] = i
	}
	end := ends(tasks, dur, best)
	for _, rule := range mergeRules {
		order := listSchedule(tasks, dur, rule)
		if e := ends(tasks, dur, order); e < end {
			best, end = order, e
		}
	}
	return best
}

// ends is when the last kernel ends if each lane runs its kernels in the order
// given.
func ends(tasks []lower.Task, dur []unit.Time, order []int) unit.Time {
	end := make([]unit.Time, len(tasks))
	var free [lower.NumLanes]unit.Time
	for _, i := range order {
		lane := tasks[i].Strand.Lane()
		end[i] = ready(tasks[i], end, free[lane]) + dur[i]
		free[lane] = end[i]
	}
	return max(free[lower.Compute], free[lower.Comm])
}

// ready is when a task can start on a lane that is free from at on.
func ready(t lower.Task, end []unit.Time, at unit.Time) unit.Time {
	for _, a := range t.After {
		at = max(at, end[a])
	}
	return at
}

// listSchedule starts, again and again, the kernel that can start first, by the
// rule where several can. Kernels of a strand keep their order.
func listSchedule(tasks []lower.Task, dur []unit.Time, rule mergeRule) []int {
	var strands [lower.NumStrands][]int
	for i, t := range tasks {
		strands[t.Strand] = append(strands[t.Strand], i)
	}
	done, end := make([]bool, len(tasks)), make([]unit.Time, len(tasks))
	var free [lower.NumLanes]unit.Time
	order := make([]int, 0, len(tasks))
	running := lower.NumStrands // what computed last
	for len(order) < len(tasks) {
		next, start, rank := -1, unit.Time(0), 0
		for s := range lower.NumStrands {
			if len(strands[s]) == 0 || !all(done, tasks[strands[s][0]].After) {
				continue
			}
			i := strands[s][0]
			at, r := ready(tasks[i], end, free[s.Lane()]), rule.rank[s]
			if rule.stay && s == running {
				r = 0
			}
			if next < 0 || at < start || at == start && r < rank {
				next, start, rank = i, at, r
			}
		}
		s := tasks[next].Strand
		strands[s] = strands[s][1:]
		done[next], end[next] = true, start+dur[next]
		free[s.Lane()] = end[next]
		order = append(order, next)
		if s == lower.ForwardCompute || s == lower.BackwardCompute {
			running = s
		}
	}
	return order
}

// all reports whether all tasks of a list are done.
func all(done []bool, list []int) bool {
	for _, i := range list {
		if !done[i] {
			return false
		}
	}
	return true
}
