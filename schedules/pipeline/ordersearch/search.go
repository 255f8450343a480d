package ordersearch

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// Options of a search. The result follows from them and the problem alone, whatever
// the number of threads.
type Options struct {
	Seed uint64
	// Steps is the budget of all chains together; each step makes one move.
	Steps int
	// Threads that search; 0 is all cores.
	Threads int
	// Stop, where it is closed, ends the search with what it has found; the result
	// then depends on when. Nil does not.
	Stop <-chan struct{}
}

// chains is how many tabu searches share the budget.
const chains = 8

// Result is what a search found.
type Result struct {
	Found  *Order
	Timing *pipeline.Timing
	Bound  Bound
	Named  []Named // by name
	// Start is what the best order grew from: a schedule's name, or "list".
	Start  string
	Listed unit.Time // makespan of the best order of list scheduling
	Steps  int64     // that were made
	Judged int64     // moves that were weighed
}

// Gap is by how much the order found may be longer than the best, relative to the
// bound.
func (r *Result) Gap() float64 {
	if r.Bound.Time == 0 {
		return 0
	}
	return float64(r.Timing.Makespan-r.Bound.Time) / float64(r.Bound.Time)
}

// start is an order to start from.
type start struct {
	name string
	word [][]pass
	span unit.Time
}

// Search looks for the order with the shortest makespan. It is never longer than
// that of a named schedule with the same placement within the limit. The error says
// what is wrong with the problem, or that the context ended.
func Search(ctx context.Context, p Problem, opt Options) (*Result, error) {
	m, err := newModel(p)
	if err != nil {
		return nil, err
	}
	if opt.Steps < 0 {
		return nil, fmt.Errorf("a budget of %d steps: want 0 or more", opt.Steps)
	}
	r := &Result{Named: m.named(), Bound: lowerBound(m)}
	starts, best := m.starts(r)
	outcome, err := m.improve(ctx, starts, opt, r.Bound.Time, r)
	if err != nil {
		return nil, err
	}
	for _, c := range outcome {
		if c.span < best.span {
			best = c
		}
	}
	order := m.slots(best.word)
	if best.word == nil { // a named order that renumbering its microbatches made longer
		i := slices.IndexFunc(r.Named, func(n Named) bool { return n.Name == best.name })
		order = r.Named[i].Timing.Order
	}
	r.Start = best.name
	r.Found = &Order{m.Problem, order}
	if r.Timing, err = pipeline.Simulate(r.Found, m.Shape, m.Costs); err != nil {
		return nil, err
	}
	if peak := slices.Max(r.Timing.Peak); m.Limit > 0 && peak > m.Limit || r.Timing.Makespan != best.span {
		return nil, fmt.Errorf("internal error: the order takes %d and holds %d, was thought to take %d within %d", r.Timing.Makespan, peak, best.span, m.Limit)
	}
	return r, nil
}

// starts is what the chains start from, shortest first, and the best order so far.
func (m *model) starts(r *Result) ([]start, start) {
	o := newOrder(m)
	var out []start
	best := start{span: -1}
	add := func(name string, word [][]pass) {
		if !o.set(word) || !o.fits() {
			return
		}
		s := start{name, word, o.span}
		if best.span < 0 || s.span < best.span {
			best = s
		}
		if !slices.ContainsFunc(out, func(t start) bool { return t.span == s.span && equal(t.word, s.word) }) {
			out = append(out, s)
		}
	}
	for _, n := range r.Named {
		if n.Problem != "" || !n.Fits {
			continue
		}
		add(n.Name, m.passes(n.Timing.Order))
		if best.span < 0 || n.Timing.Makespan < best.span {
			best = start{n.Name, nil, n.Timing.Makespan}
		}
	}
	r.Listed = -1
	for _, rule := range rules(m) {
		word := list(m, rule)
		add("list", word)
		if r.Listed < 0 || o.span < r.Listed {
			r.Listed = o.span
		}
	}
	slices.SortStableFunc(out, func(a, b start) int { return cmp.Compare(a.span, b.span) })
	return out, best
}

func equal(a, b [][]pass) bool {
	return slices.EqualFunc(a, b, slices.Equal[[]pass])
}

// improve runs the chains, and returns the best order of each.
func (m *model) improve(ctx context.Context, starts []start, opt Options, goal unit.Time, r *Result) ([]start, error) {
	out := make([]start, chains)
	steps, judged := make([]int64, chains), make([]int64, chains)
	var next atomic.Int32
	var group sync.WaitGroup
	threads := opt.Threads
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	for range min(threads, chains) {
		group.Go(func() {
			o := newOrder(m)
			for i := int(next.Add(1)) - 1; i < chains; i = int(next.Add(1)) - 1 {
				from := starts[i%min(len(starts), chains/2)]
				o.set(from.word)
				c := newChain(o, opt.Seed, uint64(i))
				c.run(opt.Steps/chains, goal, func() bool { return ctx.Err() != nil || stopped(opt.Stop) })
				out[i] = start{from.name, c.best, c.bestSpan}
				steps[i], judged[i] = int64(c.step), c.judged
			}
		})
	}
	group.Wait()
	for i := range out {
		r.Steps += steps[i]
		r.Judged += judged[i]
	}
	return out, ctx.Err()
}

func stopped(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
