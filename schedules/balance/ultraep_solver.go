package balance

import (
	"math"
	"slices"
)

// transfer is one replica of a plan, in numbers of its domain.
type transfer struct {
	expert, target int32
	quota          int64
}

// quotaSolver plans one NVLink domain. All its memory is made once.
type quotaSolver struct {
	ultraOptions
	ranks, mains, slots int

	plan []transfer
	tau  int64

	loads    []int64 // the domain's experts
	rankLoad []int64
	order    []int32 // ranks by load, heaviest first; fixed for a solve
	sorted   []int32 // the main experts of each rank by load, heaviest first
	exported []int64
	hosts    [][2]uint64 // ranks that hold an expert, as a set
	slack    []int64
	used     []int // redundant slots of each rank
}

func newQuotaSolver(ranks, mains, slots int, o ultraOptions) *quotaSolver {
	n := ranks * mains
	return &quotaSolver{ultraOptions: o, ranks: ranks, mains: mains, slots: slots,
		plan: make([]transfer, 0, min(ultraMaxReplicas, ranks*slots)), rankLoad: make([]int64, ranks),
		order: make([]int32, ranks), sorted: make([]int32, n), exported: make([]int64, n), hosts: make([][2]uint64, n),
		slack: make([]int64, ranks), used: make([]int, ranks)}
}

// solve fills plan and tau.
func (q *quotaSolver) solve(loads []int64) {
	q.loads = loads
	total := int64(0)
	for r := range q.ranks {
		q.rankLoad[r], q.order[r] = 0, int32(r)
		for m := range q.mains {
			e := r*q.mains + m
			q.rankLoad[r] += loads[e]
			q.sorted[e] = int32(e)
		}
		total += q.rankLoad[r]
		sortDescending(q.sorted[r*q.mains:(r+1)*q.mains], loads)
	}
	sortDescending(q.order, q.rankLoad)
	mean := float64(total) / float64(q.ranks)
	if q.literal {
		q.searchLiteral(mean)
	} else {
		q.searchShipped(mean)
	}
}

// sortDescending sorts ids by load, heaviest first and the lower id first among
// equals. Lists are short and this is the hot path: an insertion sort.
func sortDescending(ids []int32, load []int64) {
	if len(ids) > 32 {
		slices.SortFunc(ids, func(a, b int32) int {
			if load[a] != load[b] {
				if load[a] > load[b] {
					return -1
				}
				return 1
			}
			return int(a - b)
		})
		return
	}
	for i := 1; i < len(ids); i++ {
		for j := i; j > 0 && (load[ids[j]] > load[ids[j-1]] || load[ids[j]] == load[ids[j-1]] && ids[j] < ids[j-1]); j-- {
			ids[j], ids[j-1] = ids[j-1], ids[j]
		}
	}
}

// searchShipped finds the target as placement.cu does: three tries just above
// the mean with a floor on quotas that follows the need, else a search with the
// hard floor.
func (q *quotaSolver) searchShipped(mean float64) {
	lo := int64(math.Ceil(mean * max(q.threshold, 1)))
	hi := max(q.rankLoad[q.order[0]], lo)
	// The kernel computes the first target in single precision.
	q.tau = max(int64(math.Ceil(float64(float32(lo)*(1+q.eps)))), lo)
	step := max(1, (hi+99)/100)
	for range 3 {
		if q.build(q.tau, true) {
			return
		}
		q.tau = min(hi, q.tau+step)
	}
	// From here the capacity holds at any target (lo is at least the mean), so
	// only the build decides.
	if q.build(lo, false) {
		q.tau = lo
		return
	}
	lo = min(lo+1, hi)
	for lo < hi {
		width := hi - lo
		var probe [4]int64
		for w := range int64(4) {
			probe[w] = min(hi, lo+w)
			if width > 4 {
				probe[w] = lo + width*(w+1)/5
			}
		}
		first := slices.IndexFunc(probe[:], func(tau int64) bool { return q.build(tau, false) })
		switch {
		case first < 0:
			lo = min(hi, probe[3]+1)
		case first == 0:
			hi = probe[0]
		default:
			lo, hi = probe[first-1]+1, probe[first]
		}
	}
	q.tau = hi
	q.build(hi, false) // holds: hi was tried, or is the heaviest load, which needs no plan
}

// searchLiteral is the bisection of the paper's Algorithm 1; its lower end is
// rounded down, which gives the probes of the worked example.
func (q *quotaSolver) searchLiteral(mean float64) {
	lo, hi := int64(q.beta*math.Ceil(mean)), q.rankLoad[q.order[0]]
	best := hi
	for lo < hi {
		tau := lo + (hi-lo)/2
		if q.build(tau, false) {
			hi, best = tau, tau
		} else {
			lo = tau + 1
		}
	}
	q.tau = best
	q.build(best, false)
}

// build makes the plan for a target, or says that it cannot. dynamic lets the
// floor on a quota follow the need: an even part of it over the ranks that could
// take some.
func (q *quotaSolver) build(tau int64, dynamic bool) bool {
	q.plan = q.plan[:0]
	excess, slack := int64(0), int64(0)
	for r, l := range q.rankLoad {
		q.slack[r], q.used[r] = max(tau-l, 0), 0
		slack += q.slack[r]
		excess += max(l-tau, 0)
	}
	if excess == 0 {
		return true
	}
	if excess > slack {
		return false
	}
	for e := range q.exported {
		r := e / q.mains
		q.exported[e], q.hosts[e] = 0, [2]uint64{}
		q.hosts[e][r>>6] = 1 << (r & 63)
	}
	for _, s := range q.order {
		need := q.rankLoad[s] - tau
		if need <= 0 {
			break // the rest are lighter
		}
		before := need
		for _, e := range q.sorted[int(s)*q.mains : (int(s)+1)*q.mains] {
			if need = q.export(e, need, dynamic); need == 0 {
				break
			}
		}
		if need > 0 || len(q.plan) > ultraMaxReplicas {
			return false
		}
		excess, slack = excess-before, slack-before
		if excess > slack {
			return false
		}
	}
	return true
}

// export gives an expert's tokens to replicas until need is met, and returns
// what is left of it.
func (q *quotaSolver) export(e int32, need int64, dynamic bool) int64 {
	keep := int64(0)
	if q.loads[e] > 0 && !q.zeroMaster {
		keep = 1
	}
	available := q.loads[e] - keep - q.exported[e]
	for need > 0 && available > 0 {
		best, admissible := -1, int64(0)
		for t, sl := range q.slack {
			if sl <= 0 || q.used[t] >= q.slots || q.hosts[e][t>>6]>>(t&63)&1 != 0 {
				continue
			}
			admissible++
			if best < 0 || sl > q.slack[best] {
				best = t
			}
		}
		if best < 0 {
			break
		}
		floor := q.minTokens
		if dynamic {
			floor = max(1, (need+admissible-1)/admissible)
		}
		quota := min(need, q.slack[best], available)
		if quota < floor {
			break
		}
		q.plan = append(q.plan, transfer{e, int32(best), quota})
		q.slack[best] -= quota
		q.used[best]++
		q.hosts[e][best>>6] |= 1 << (best & 63)
		q.exported[e] += quota
		need, available = need-quota, available-quota
	}
	return need
}
