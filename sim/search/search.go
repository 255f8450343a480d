package search

import (
	"cmp"
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"orrery/calibrate"
	"orrery/scenarios"
	"orrery/sim"
	"orrery/sim/cost"
)

// Objective is what a search makes least.
type Objective string

// Objectives.
const (
	StepTime Objective = "step_time" // seconds
	Cost     Objective = "cost"      // USD per 1e12 tokens
	Memory   Objective = "memory"    // peak, GiB
	Energy   Objective = "energy"    // MWh per 1e12 tokens
)

// Options tell what to search for. What comes out depends on none of Workers and
// Progress.
type Options struct {
	Objective    Objective
	Set          []scenarios.Override
	Axes         []Axis   // in place of, or beside, the search's own
	Fixed        []string // own axes that keep the scenario's value
	MaxMemoryGiB float64  // 0: what the GPU has
	Assumptions  Assumptions
	MaxGPUs      int64 // try other numbers of GPUs, up to so many; 0: the scenario's
	NoFront      bool  // leave out the front
	Simulations  int   // end after so many; 0 is no limit
	Workers      int   // 0: one for each thread that may run Go code
	Progress     func(Progress)
}

// Progress is how far a search is.
type Progress struct {
	Phase       string // "bounds", "best", "front", "reasons"
	Done, Total int    // of bounds; of the others an upper limit
	Best        float64
}

// candidate is a point with its bound.
type candidate struct {
	group, recompute int32
	gpus             int64
	tokens           float64
	power            float64 // of a GPU's limit, W
	timeS, memory    float64 // at least
	state            state
	point            *Point // once it has been simulated
}

type state uint8

const (
	open state = iota
	tooLarge
	done
	failed
)

type search struct {
	opt        Options
	sp         *space
	profile    func(string) (*cost.Profile, error)
	groups     []group
	candidates []candidate
	result     *Result
	refusals   map[refusal]string // the first reason by axis and value
	best       int                // candidate; -1: none yet
}

type refusal struct{ axis, value int }

// Run searches the space of a scenario. When ctx ends, at its deadline say, it returns
// what it has.
func Run(ctx context.Context, base *scenarios.Base, name string, opt Options) (*Result, error) {
	if opt.Workers <= 0 {
		opt.Workers = runtime.GOMAXPROCS(0)
	}
	sp, err := newSpace(base, &opt)
	if err != nil {
		return nil, err
	}
	if sp.own.Serving.On() {
		return nil, &scenarios.Error{Key: "serving", Msg: "the scenario is of serving", Allowed: "a training step"}
	}
	s := &search{opt: opt, sp: sp, profile: shared(), best: -1, refusals: map[refusal]string{},
		result: &Result{Name: name, Objective: opt.Objective, Assumptions: opt.Assumptions, Front: []Point{}, Points: []Point{}, Reasons: []Reason{}}}
	if s.groups, err = sp.walk(); err != nil {
		return nil, err
	}
	s.standing(ctx)
	if err := s.bound(ctx); err != nil {
		return nil, err
	}
	s.findBest(ctx)
	if !opt.NoFront {
		s.findFront(ctx)
	}
	s.explain(ctx)
	s.finish()
	return s.result, nil
}

// shared reads each profile once, for all workers.
func shared() func(string) (*cost.Profile, error) {
	var mu sync.Mutex
	known := map[string]*cost.Profile{}
	return func(name string) (*cost.Profile, error) {
		mu.Lock()
		defer mu.Unlock()
		if p := known[name]; p != nil {
			return p, nil
		}
		p, err := calibrate.Profile(name)
		if err == nil {
			known[name] = p
		}
		return p, err
	}
}

// stopped reports whether the search has to end, and notes why.
func (s *search) stopped(ctx context.Context) bool {
	switch {
	case s.result.Stopped != "":
	case ctx.Err() != nil:
		s.result.Stopped = "interrupted"
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			s.result.Stopped = "out of time"
		}
	case s.opt.Simulations > 0 && s.result.Counts.Simulated >= s.opt.Simulations:
		s.result.Stopped = "out of simulations"
	}
	return s.result.Stopped != ""
}

// each runs f over 0..n-1 on the workers, until stop.
func (s *search) each(n int, stop func() bool, f func(worker, i int)) {
	var next atomic.Int64
	var wg sync.WaitGroup
	for worker := range min(s.opt.Workers, max(n, 1)) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !stop(); i = int(next.Add(1)) - 1 {
				f(worker, i)
			}
		})
	}
	wg.Wait()
}

// objective of a point of so many GPUs and tokens.
func (s *search) objective(c *candidate, timeS, memory float64) float64 {
	switch s.opt.Objective {
	case Cost:
		return s.usd(c, timeS)
	case Memory:
		return memory
	case Energy:
		return s.mwh(c, timeS)
	}
	return timeS
}

// perTTokens scales a step to 1e12 tokens.
const perTTokens = 1e12

// mwh is the energy of 1e12 tokens: what a capacity plan counts while it trains.
func (s *search) mwh(c *candidate, timeS float64) float64 {
	a := &s.opt.Assumptions
	watts := float64(c.gpus) * (c.power*a.Load + a.HostWPerGPU) * a.PUE
	return watts * timeS / 3600 / 1e6 / c.tokens * perTTokens
}

// usd is the money of 1e12 tokens: rent and electricity.
func (s *search) usd(c *candidate, timeS float64) float64 {
	a := &s.opt.Assumptions
	return float64(c.gpus)*timeS/3600*a.USDPerGPUHour/c.tokens*perTTokens + s.mwh(c, timeS)*1000*a.USDPerKWh
}

// bound resolves and bounds all points.
func (s *search) bound(ctx context.Context) error {
	last := &s.sp.axes[len(s.sp.axes)-1]
	out := make([][]candidate, len(s.groups))
	why := make([]string, len(s.groups))
	var count struct {
		sync.Mutex
		enumerated, refused, groups int
	}
	bounds := make([]*sim.Bounds, s.opt.Workers)
	root := sim.NewBounds(s.profile)
	for i := range bounds {
		bounds[i] = root.Fork()
	}
	loose := make([]string, len(s.groups))
	stop := func() bool { return ctx.Err() != nil }
	stride := stride(len(s.groups))
	s.each(len(s.groups), stop, func(worker, k int) {
		i := k * stride % len(s.groups)
		list, enumerated, reason, l := s.boundGroup(bounds[worker], int32(i), last)
		out[i], why[i], loose[i] = list, reason, l
		count.Lock()
		defer count.Unlock()
		count.enumerated += enumerated
		count.refused += enumerated - len(list)
		count.groups++
		if s.opt.Progress != nil && count.groups%64 == 0 {
			s.opt.Progress(Progress{Phase: "bounds", Done: count.groups, Total: len(s.groups)})
		}
	})
	s.stopped(ctx)
	s.result.Counts.NotConsidered = (len(s.groups) - count.groups) * len(last.Values)
	s.result.Counts.Enumerated, s.result.Counts.Refused = count.enumerated, count.refused
	for i, list := range out {
		s.candidates = append(s.candidates, list...)
		if loose[i] != "" {
			s.result.Loose = loose[i]
		}
		for a, v := range s.groups[i] {
			k := refusal{a, int(v)}
			if _, known := s.refusals[k]; !known && why[i] != "" {
				s.refusals[k] = why[i]
			}
		}
	}
	s.result.Counts.Valid = len(s.candidates)
	for _, c := range s.candidates {
		if c.state == tooLarge {
			s.result.Counts.PrunedMemory++
		}
	}
	if len(s.candidates) == 0 && s.result.Stopped == "" {
		first := ""
		if i := slices.IndexFunc(why, func(w string) bool { return w != "" }); i >= 0 {
			first = ": " + why[i]
		}
		return errors.New("no point of the space is valid" + first)
	}
	return nil
}

// stride is a step that leads once through all of n groups, far from each to the next:
// where time ends the bounds early, what has been bounded is from all over the space.
func stride(n int) int {
	const golden = 0.618
	step := max(int(golden*float64(n)), 1)
	for gcd(step, n) != 1 {
		step++
	}
	return step
}

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// boundGroup bounds the points that differ in recomputation.
func (s *search) boundGroup(b *sim.Bounds, g int32, last *axis) (out []candidate, enumerated int, why, loose string) {
	plain := scenarios.Override{Key: keyRecompute, Value: "none"} // what the text says may be more than this layout has
	scenario, err := s.sp.base.Scenario(append(s.sp.overrides(s.groups[g], omitted), plain))
	if err != nil {
		return nil, 1, scenarios.Reason(err), ""
	}
	most := slices.Max(scenario.Parallel.LayersPerStage)
	for i, v := range last.Values {
		rc, perr := scenarios.ParseRecompute(text(v))
		if !last.asked && perr == nil && rc.Layers >= most { // all, which full is
			continue
		}
		enumerated++
		sc, err := scenario.Recomputing(text(v))
		var bound sim.Bound
		if err == nil {
			bound, err = b.Of(sc)
		}
		if err != nil {
			why = scenarios.Reason(err)
			continue
		}
		c := candidate{group: g, recompute: int32(i), gpus: sc.Cluster.GPUs, power: sc.Cluster.PowerW,
			tokens: float64(sc.Training.GlobalBatch * sc.Training.SequenceLength), timeS: bound.StepTimeS, memory: bound.PeakMemoryGiB}
		if !bound.Fits || s.opt.MaxMemoryGiB > 0 && c.memory > s.opt.MaxMemoryGiB {
			c.state = tooLarge
		}
		loose = cmp.Or(bound.Loose, loose)
		out = append(out, c)
	}
	return out, enumerated, why, loose
}

// batch is how many points are simulated before the best is looked at again: the
// same for any number of workers, so that the same points are.
const batch = 16

// simulate runs candidates.
func (s *search) simulate(list []int) {
	if left := s.opt.Simulations - s.result.Counts.Simulated; s.opt.Simulations > 0 && len(list) > left {
		list = list[:max(left, 0)]
	}
	s.each(len(list), func() bool { return false }, func(_, i int) { s.simulateOne(&s.candidates[list[i]], list[i]) })
	for _, i := range list {
		s.result.Counts.Simulated++
		c := &s.candidates[i]
		switch {
		case c.state == failed:
			s.result.Counts.CannotBeRun++
		case !c.point.Fits:
			s.result.Counts.DoNotFit++
		case s.best < 0 || s.better(c, &s.candidates[s.best]):
			s.best = i
		}
	}
}

func (s *search) simulateOne(c *candidate, at int) {
	g, rc := s.groups[c.group], int(c.recompute)
	sc, err := s.sp.scenario(g, rc)
	if err == nil {
		var run *sim.Run
		run, err = sim.Simulate(context.Background(), sc, sim.Options{NoAdvice: true, Profile: s.profile}) // a point that was begun is finished
		if err == nil {
			c.point, c.state = s.point(c, run.Result, at), done
			c.point.Set = s.sp.settings(g, rc)
			for _, o := range s.sp.values(g, rc) {
				c.point.Values[o.Key] = o.Value
			}
			return
		}
	}
	c.state = failed
}

func (s *search) point(c *candidate, r *sim.Result, at int) *Point {
	return &Point{Values: map[string]any{}, StepTimeS: r.StepTimeS, BoundS: c.timeS, PeakMemoryGiB: r.PeakMemoryGiB,
		Fits: r.Fits && (s.opt.MaxMemoryGiB == 0 || r.PeakMemoryGiB <= s.opt.MaxMemoryGiB),
		GPUs: c.gpus, MFU: r.MFU, USDPerTTokens: s.usd(c, r.StepTimeS), MWhPerTTokens: s.mwh(c, r.StepTimeS), Schedule: r.Schedule, result: r, at: at}
}

// value is a simulated candidate's objective.
func (s *search) value(c *candidate) float64 {
	return s.objective(c, c.point.StepTimeS, c.point.PeakMemoryGiB)
}

// better is a total order of simulated candidates: ties go to the faster, then the
// smaller one, then to the first.
func (s *search) better(a, b *candidate) bool {
	return cmp.Or(cmp.Compare(s.value(a), s.value(b)), cmp.Compare(a.point.StepTimeS, b.point.StepTimeS),
		cmp.Compare(a.point.PeakMemoryGiB, b.point.PeakMemoryGiB), cmp.Compare(a.point.at, b.point.at)) < 0
}

// standing simulates the scenario's own layout.
func (s *search) standing(ctx context.Context) {
	if ctx.Err() != nil {
		return
	}
	sc := *s.sp.own
	sc.Expect = nil
	run, err := sim.Simulate(ctx, &sc, sim.Options{NoAdvice: true, Profile: s.profile})
	if err != nil {
		return
	}
	c := candidate{gpus: sc.Cluster.GPUs, power: sc.Cluster.PowerW, tokens: float64(sc.Training.GlobalBatch * sc.Training.SequenceLength)}
	s.result.AsItStands = &Standing{Point: *s.point(&c, run.Result, -1)}
	s.result.AsItStands.Set = []string{}
	for _, key := range ownAxes {
		s.result.AsItStands.Values[key] = s.sp.ownValue(key)
	}
}

// findBest simulates in the order of bounds until none can be better.
func (s *search) findBest(ctx context.Context) {
	order := s.sorted(func(c *candidate) float64 { return s.objective(c, c.timeS, c.memory) })
	at := 0
	late := s.stopped(ctx) // before all had bounds: one batch is still simulated
	for ; at < len(order) && (late || !s.stopped(ctx)); late = false {
		var next []int
		for at < len(order) && len(next) < batch && s.canBeat(&s.candidates[order[at]]) {
			next = append(next, order[at])
			at++
		}
		if len(next) == 0 {
			break
		}
		s.simulate(next)
		s.progress("best", at, len(order))
	}
	s.result.Bound = math.Inf(1)
	if s.best >= 0 {
		s.result.Bound = s.value(&s.candidates[s.best])
	}
	for _, i := range order {
		if c := &s.candidates[i]; c.state == open {
			s.result.Bound = min(s.result.Bound, s.objective(c, c.timeS, c.memory))
			break
		}
	}
	if s.result.Counts.NotConsidered > 0 || math.IsInf(s.result.Bound, 1) {
		s.result.Bound = 0
	}
	if s.best >= 0 {
		v := s.value(&s.candidates[s.best])
		s.result.Gap = (v - s.result.Bound) / v
	}
}

func (s *search) progress(phase string, done, total int) {
	if s.opt.Progress == nil {
		return
	}
	p := Progress{Phase: phase, Done: done, Total: total}
	if s.best >= 0 {
		p.Best = s.value(&s.candidates[s.best])
	}
	s.opt.Progress(p)
}

// canBeat reports whether a candidate may be better than the best so far.
func (s *search) canBeat(c *candidate) bool {
	return s.best < 0 || s.objective(c, c.timeS, c.memory) < s.value(&s.candidates[s.best])
}

// sorted are the candidates that are open by a bound; ties by the other bounds, then
// in the order of the space.
func (s *search) sorted(by func(*candidate) float64) []int {
	type keyed struct {
		by, timeS, memory float64
		at                int
	}
	var list []keyed
	for i := range s.candidates {
		if c := &s.candidates[i]; c.state == open {
			list = append(list, keyed{by(c), c.timeS, c.memory, i})
		}
	}
	slices.SortFunc(list, func(a, b keyed) int {
		return cmp.Or(cmp.Compare(a.by, b.by), cmp.Compare(a.timeS, b.timeS), cmp.Compare(a.memory, b.memory), cmp.Compare(a.at, b.at))
	})
	out := make([]int, len(list))
	for i, k := range list {
		out[i] = k.at
	}
	return out
}

// finish fills in what is left of the result.
func (s *search) finish() {
	r := s.result
	for i := range s.candidates {
		c := &s.candidates[i]
		switch c.state {
		case done:
			r.Points = append(r.Points, *c.point)
		case open:
			if r.Stopped == "" || s.best >= 0 && !s.canBeat(c) {
				r.Counts.PrunedBound++
			} else {
				r.Counts.NotConsidered++
			}
		}
	}
	slices.SortFunc(r.Points, func(a, b Point) int {
		if s.better(&s.candidates[a.at], &s.candidates[b.at]) {
			return -1
		}
		return 1
	})
	if s.best < 0 {
		return
	}
	r.Best = s.candidates[s.best].point
	if own := r.AsItStands; own != nil {
		own.Parts, own.RestS = parts(r.Best, &own.Point)
	}
}
