package packing

import "slices"

func init() { register(wlbLLM{}) }

// wlbLLM is WLB-LLM (arXiv:2503.17924): microbatches of unequal length and equal
// workload, outliers that wait until every microbatch can have one, and for each
// unit the better of cutting every document, or the sequence as a whole, over the
// context-parallel ranks.
type wlbLLM struct{}

func (wlbLLM) Name() string { return "wlb_llm" }

func (wlbLLM) Describe() string {
	return "microbatches of equal workload, outliers delayed, the better sharding per unit (WLB-LLM, arXiv:2503.17924)"
}

func (w wlbLLM) Pack(j *Job) (*Plan, error) {
	order := descending(j.Lengths)
	for n := rowsOf(j, j.Tokens()); ; n += j.DP {
		// The paper leaves what does not fit to the next step. Here a step is complete,
		// so it gets another microbatch a replica; with one sample each, all fits.
		if rows := equalWork(j, order, n); rows != nil {
			return w.shard(j, rows), nil
		}
	}
}

// rowsOf is the number of microbatches of a step: those of packing to the context,
// as many on every replica.
func rowsOf(j *Job, tokens int) int {
	n := (tokens + j.Context - 1) / j.Context
	return max(1, (n+j.DP-1)/j.DP) * j.DP
}

// equalWork puts each sample, longest first, in the microbatch with the least work
// that has room for it; nil where one has no room anywhere.
func equalWork(j *Job, order []int32, n int) [][]int32 {
	rows, room := make([][]int32, n), make([]int, n)
	for i := range room {
		room[i] = j.Context
	}
	work := newLeast(n)
	for _, i := range order {
		l := j.Lengths[i]
		f, b := j.Cost.Sample(l)
		r := work.peek()
		if room[r] >= l {
			work.add(f + b)
		} else {
			r = -1
			for k := range rows {
				if room[k] >= l && (r < 0 || work.less(int32(k), int32(r))) {
					r = k
				}
			}
			if r < 0 {
				return nil
			}
			work.load[r] += f + b
			work.fill()
		}
		rows[r] = append(rows[r], i)
		room[r] -= l
	}
	return rows
}

// shard chooses how each unit is cut over its lanes.
func (w wlbLLM) shard(j *Job, rows [][]int32) *Plan {
	plan := j.dealt(slices.DeleteFunc(rows, func(r []int32) bool { return len(r) == 0 }))
	for i := range plan.Forward { // shared with Backward
		u := &plan.Forward[i]
		f, b := j.Cost.lanes(u)
		u.Sharding = PerUnit
		if g, c := j.Cost.lanes(u); g+c >= f+b {
			u.Sharding = PerSample
		}
	}
	return plan
}

// waiting are the lengths, as shares of the context, from which samples wait: one
// queue for each. The paper tunes its thresholds; these are assumed.
var waiting = []float64{0.25, 0.5, 0.75}

// Regroup delays outliers: a queue gives one sample to each microbatch of a step
// when it has that many. The last step takes what still waits.
func (wlbLLM) Regroup(j *Job, lengths []int, steps [][]int) [][]int {
	queues := make([][]int, len(waiting))
	out := make([][]int, len(steps))
	for s, samples := range steps {
		tokens := 0
		for _, i := range samples {
			tokens += lengths[i]
			level := -1
			for k, share := range waiting {
				if float64(lengths[i]) > share*float64(j.Context) {
					level = k
				}
			}
			if level < 0 {
				out[s] = append(out[s], i)
			} else {
				queues[level] = append(queues[level], i)
			}
		}
		n := rowsOf(j, tokens)
		for k := range queues {
			take := 0
			if len(queues[k]) >= n {
				take = n
			}
			if s == len(steps)-1 {
				take = len(queues[k])
			}
			out[s] = append(out[s], queues[k][:take]...)
			queues[k] = queues[k][take:]
		}
	}
	return out
}
