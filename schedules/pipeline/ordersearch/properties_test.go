package ordersearch

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

func drawProblem(t *rapid.T) Problem {
	size := func(name string, lo, hi int) int { return rapid.IntRange(lo, hi).Draw(t, name) }
	s := pipeline.Shape{Devices: size("p", 1, 5), Virtual: size("v", 1, 3), Microbatches: size("m", 1, 7), Slices: 1}
	if size("sliced", 0, 3) == 0 {
		s.Slices = size("n", 2, 3)
	}
	p := Problem{Shape: s, Placement: Looped, Fused: rapid.Bool().Draw(t, "fused")}
	if s.Virtual == 2 {
		p.Placement = rapid.SampledFrom([]Placement{Looped, V, Wave}).Draw(t, "placement")
	}
	cost := rapid.Int64Range(0, 20)
	of := func() pipeline.Costs {
		return pipeline.Costs{F: unit.Time(cost.Draw(t, "F")), I: unit.Time(cost.Draw(t, "I")), W: unit.Time(cost.Draw(t, "W"))}
	}
	p.Costs = of()
	comm := unit.Time(cost.Draw(t, "comm"))
	if rapid.Bool().Draw(t, "uneven") {
		stages := make([]pipeline.Costs, s.Devices*s.Virtual)
		for i := range stages {
			stages[i] = of()
		}
		p.Costs = pipeline.ByStage(stages, comm)
	}
	p.Costs.Comm = comm
	if rapid.Bool().Draw(t, "limited") {
		least := s.Virtual * s.Slices
		p.Limit = size("limit", least, 2*least+s.Devices)
	}
	return p
}

// What is found is a whole order that runs to its end, keeps to the limit on every
// device, and is between the bound and whatever it started from; however many
// threads looked for it.
func TestFoundOrders(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProblem(t)
		opt := Options{Seed: rapid.Uint64().Draw(t, "seed"), Steps: rapid.IntRange(0, 800).Draw(t, "steps"), Threads: 1}
		r, err := Search(context.Background(), p, opt)
		require.NoError(t, err)
		order, err := r.Found.Order(p.Shape)
		require.NoError(t, err)
		require.NoError(t, pipeline.Validate(r.Found, p.Shape, order))
		timing, err := pipeline.Simulate(r.Found, p.Shape, p.Costs)
		require.NoError(t, err)
		require.Equal(t, timing.Makespan, r.Timing.Makespan)
		require.LessOrEqual(t, r.Bound.Time, timing.Makespan, r.Bound.Why)
		require.LessOrEqual(t, timing.Makespan, r.Listed)
		if p.Limit > 0 {
			require.LessOrEqual(t, slices.Max(timing.Peak), p.Limit)
		}
		for _, n := range r.Named {
			if n.Problem == "" && n.Fits {
				require.LessOrEqual(t, timing.Makespan, n.Timing.Makespan, n.Name)
			}
		}
		opt.Threads = 3
		again, err := Search(context.Background(), p, opt)
		require.NoError(t, err)
		require.Equal(t, r.Found.order, again.Found.order)
		require.Equal(t, r.Start, again.Start)
	})
}

// The bound is below every order, in particular those of list scheduling, which gets
// to the end within the limit whatever its rule.
func TestListScheduling(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := newModel(drawProblem(t))
		require.NoError(t, err)
		bound := lowerBound(m)
		o := newOrder(m)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		for _, r := range append(rules(m), anyRule(m, rng), anyRule(m, rng)) {
			word := list(m, r)
			require.True(t, o.set(word), "%+v", r)
			require.True(t, o.fits(), "%+v", r)
			require.LessOrEqual(t, bound.Time, o.span, "%+v: %s", r, bound.Why)
			timing, err := pipeline.Simulate(&Order{m.Problem, m.slots(word)}, m.Shape, m.Costs)
			require.NoError(t, err)
			require.Equal(t, timing.Makespan, o.span)
		}
	})
}

// After any moves, heads, tails and the topological order are those of the order set
// anew; a move that would deadlock changes nothing. Nothing is allocated.
func TestMovesAreExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := newModel(drawProblem(t))
		require.NoError(t, err)
		o, fresh := newOrder(m), newOrder(m)
		require.True(t, o.set(list(m, rules(m)[0])))
		for range 30 {
			d := rapid.IntRange(0, len(o.word)-1).Draw(t, "d")
			i := rapid.IntRange(0, len(o.word[d])-1).Draw(t, "i")
			j := rapid.IntRange(max(0, i-6), min(len(o.word[d])-1, i+6)).Draw(t, "j")
			if i == j {
				continue
			}
			before := slices.Clone(o.word[d])
			after := slices.Insert(slices.Delete(slices.Clone(before), i, i+1), j, before[i])
			words := slices.Clone(o.word)
			words[d] = after
			if ok := fresh.set(words); ok != o.move(d, i, j) {
				t.Fatalf("device %d, %d to %d: a deadlock, or none, was not seen", d, i, j)
			} else if !ok {
				require.Equal(t, before, o.word[d])
				require.True(t, fresh.set(o.word))
			}
			require.Equal(t, fresh.word, o.word)
			require.Equal(t, fresh.at, o.at)
			require.Equal(t, fresh.held, o.held)
			require.Equal(t, fresh.head, o.head)
			require.Equal(t, fresh.tail, o.tail)
			require.Equal(t, fresh.span, o.span)
			for x := range m.cost {
				for _, y := range []pass{m.giver[x], m.earlier[x], o.before(pass(x))} {
					require.True(t, y == none || o.place[y] < o.place[x])
				}
			}
		}
	})
}

// A proposed move is legal, keeps to the limit, and its estimate is the longest path
// through what it shifts: never above the makespan that follows where neighbours
// change places.
func TestProposals(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := newModel(drawProblem(t))
		require.NoError(t, err)
		o := newOrder(m)
		require.True(t, o.set(list(m, rules(m)[0])))
		c := newChain(o, rapid.Uint64().Draw(t, "seed"), 0)
		for range 40 {
			before := o.span
			c.step++
			p, ok := c.choose()
			if !ok {
				return
			}
			if !c.make(p) {
				require.Equal(t, before, o.span)
				c.kick(4)
				continue
			}
			require.True(t, o.fits(), "%+v", p)
			if p.freed < 0 && (p.to == p.from+1 || p.to == p.from-1) {
				require.LessOrEqual(t, p.span, o.span, "%+v", p)
			}
		}
	})
}

// Bad problems are refused with what would do.
func TestProblemsRefused(t *testing.T) {
	good := Problem{Shape: pipeline.Shape{Devices: 4, Virtual: 2, Microbatches: 4, Slices: 1}, Placement: V, Costs: pipeline.Costs{F: 1, I: 1, W: 1}}
	for want, change := range map[string]func(p *Problem){
		"0 devices":                       func(p *Problem) { p.Shape.Devices = 0 },
		"not grouped here":                func(p *Problem) { p.Shape.Group = 4 },
		"at most 1048576 are searched":    func(p *Problem) { p.Shape.Microbatches = 1 << 40 },
		"a V has two model chunks":        func(p *Problem) { p.Shape.Virtual = 1 },
		"an even number of model chunks":  func(p *Problem) { p.Shape.Virtual, p.Placement = 3, Wave },
		`no placement is called "circle"`: func(p *Problem) { p.Placement = "circle" },
		"below the 2 of one microbatch":   func(p *Problem) { p.Limit = 1 },
		"limit of -1 activations":         func(p *Problem) { p.Limit = -1 },
		"costs cannot be negative":        func(p *Problem) { p.Costs.W = -1 },
		"leave the range of time":         func(p *Problem) { p.Costs.F = 1 << 61 },
	} {
		p := good
		change(&p)
		_, err := Search(context.Background(), p, Options{})
		require.ErrorContains(t, err, want)
	}
	_, err := Search(context.Background(), good, Options{Steps: -1})
	require.ErrorContains(t, err, "a budget of -1 steps")
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = Search(gone, good, Options{Steps: 1000})
	require.ErrorIs(t, err, context.Canceled)
	stop := make(chan struct{})
	close(stop)
	r, err := Search(context.Background(), good, Options{Steps: 1 << 30, Stop: stop})
	require.NoError(t, err, "stopped, not failed")
	require.Less(t, r.Steps, int64(100))
}

// The order found can be written and read back as any other.
func TestFoundOrderAsFile(t *testing.T) {
	p := Problem{Shape: pipeline.Shape{Devices: 4, Virtual: 2, Microbatches: 6, Slices: 1}, Placement: V, Costs: uneven, Limit: 7}
	r, err := Search(context.Background(), p, Options{Seed: 3, Steps: 2000})
	require.NoError(t, err)
	f, err := pipeline.ReadOrder(pipeline.FormatOrder(pipeline.Cells(r.Timing.Order, false)))
	require.NoError(t, err)
	again, err := pipeline.Simulate(f, f.Shape, p.Costs)
	require.NoError(t, err)
	require.Equal(t, r.Timing.Makespan, again.Makespan)
	require.Equal(t, r.Timing.Peak, again.Peak)
}

// With its pairs shorter by what PairsWorth says, and no less, a schedule takes no
// longer than the goal.
func TestPairsWorth(t *testing.T) {
	p := Problem{Shape: pipeline.Shape{Devices: 4, Virtual: 2, Microbatches: 12, Slices: 1}, Placement: V, Costs: pipeline.Costs{F: 1000, I: 1200, W: 800}}
	m, err := newModel(p)
	require.NoError(t, err)
	named := m.named()
	n := named[slices.IndexFunc(named, func(n Named) bool { return n.Name == "dualpipev" })]
	require.NotNil(t, n.Pairs)
	share, ok, err := PairsWorth(p, n, n.Timing.Makespan-3000)
	require.NoError(t, err)
	require.True(t, ok)
	require.Greater(t, share, 0.0)
	less, ok, err := PairsWorth(p, n, n.Timing.Makespan-6000)
	require.NoError(t, err)
	require.True(t, ok)
	require.Greater(t, less, share)
	_, ok, err = PairsWorth(p, n, 1)
	require.NoError(t, err)
	require.False(t, ok, "passes that are no pairs take longer")
	zbv := named[slices.IndexFunc(named, func(n Named) bool { return n.Name == "zbv" })]
	_, ok, err = PairsWorth(p, zbv, 1)
	require.NoError(t, err)
	require.False(t, ok)
}
