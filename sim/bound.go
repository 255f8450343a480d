package sim

import (
	"orrery/calibrate"
	"orrery/scenarios"
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/unit"
)

// Bound is what the simulation of a scenario gives at least.
type Bound struct {
	StepTimeS     float64
	PeakMemoryGiB float64
	// Fits is false where what is needed at least does not fit.
	Fits bool
	// Loose says why the bound of the time is zero; "" where it is not.
	Loose string
}

// Bounds computes lower bounds of scenarios without lowering or running them; what
// they have in common is priced once. It is not safe for concurrent use: see Fork.
type Bounds struct {
	find   func(name string) (*cost.Profile, error)
	orders *orderBook
	worlds map[scenarios.Cluster][]*world
}

// NewBounds takes prices from where Options.Profile does; nil is calibrate.Profile.
func NewBounds(profile func(name string) (*cost.Profile, error)) *Bounds {
	if profile == nil {
		profile = calibrate.Profile
	}
	return &Bounds{find: profile, orders: &orderBook{}, worlds: map[scenarios.Cluster][]*world{}}
}

// Fork is for another goroutine: it shares what is known of orders.
func (b *Bounds) Fork() *Bounds {
	return &Bounds{find: b.find, orders: b.orders, worlds: map[scenarios.Cluster][]*world{}}
}

// Of is the bound of a scenario, of which an error says why it cannot be run. No run
// takes less time or memory. docs/search.md derives what goes into it.
func (b *Bounds) Of(s *scenarios.Scenario) (Bound, error) {
	if s.Serving.On() {
		return Bound{}, &scenarios.Error{Key: "serving", Msg: "the scenario is of serving", Allowed: "a training step"}
	}
	if why := unbounded(s); why != "" {
		return Bound{Fits: true, Loose: why}, nil
	}
	var facts *orderFacts
	p, err := plan.Sketch(s, func(sc pipeline.Schedule, shape pipeline.Shape) ([][]int, error) {
		var err error
		if facts, err = b.orders.of(sc, shape); err != nil {
			return nil, err
		}
		return facts.held, nil
	})
	if err != nil {
		return Bound{}, err
	}
	w, err := b.world(s)
	if err != nil {
		return Bound{}, err
	}
	var out Bound
	out.PeakMemoryGiB = peakAtLeast(p, facts) / float64(unit.GiB)
	out.Fits = out.PeakMemoryGiB*(1+fragmentation)+contextGiB <= w.prices.gpu.HBM.GiB()
	if !out.Fits {
		return out, nil
	}
	w.prices.host = hostLaunch(s, w.prices.gpu)
	t := &timeBound{plan: p, facts: facts, world: w, parts: lower.NewParts(p), pure: overlapsPasses(p)}
	end, err := t.makespan()
	out.StepTimeS = end.Seconds() * (1 + jitter(s.Cluster.GPUs))
	return out, err
}

// unbounded says why nothing is known of a scenario before it runs.
func unbounded(s *scenarios.Scenario) string {
	switch {
	case s.Data.Packed():
		return "samples are packed"
	case s.Model.Net != nil:
		return "the model lists its layers"
	case s.Encoder != nil || s.Generator != nil:
		return "there are modules beside the LLM"
	case s.Model.MoE != nil && s.Routing.Uneven():
		return "experts have loads of their own"
	}
	return ""
}

// overlapsPasses reports whether a pass may take less than its blocks alone do, since
// it runs beside another or is cut: only the work of the compute lane is then sure.
func overlapsPasses(p *plan.Plan) bool {
	_, pieces := p.Schedule.(pipeline.MEPipeSplit)
	return pieces || p.Scenario.Schedule.OverlapPairs || p.VocabParallel() || p.Slices() > 1
}

// peakAtLeast is the peak of the fullest rank in bytes: what it holds all through
// the step, and the most activations of its order. Only where activations come and
// go by more than their passes does the simulation find more.
func peakAtLeast(p *plan.Plan, f *orderFacts) float64 {
	peak := 0.0
	for rank, held := range p.Held {
		whole, weights := make([]int64, len(held)), make([]int64, len(held))
		for i, stage := range held {
			whole[i] = int64(p.ActivationBytes(stage))
			if f.split && p.Scenario.Training.Finetune == "none" { // else weight gradients take no time, and leave no trace
				weights[i] = int64(p.WeightGradBytes(stage))
			}
		}
		most := int64(0)
		if f.guess || p.Scenario.Schedule.Offload > 0 { // one pass is held while it runs
			for _, b := range whole {
				most = max(most, b)
			}
		} else {
			for _, live := range f.ranks[rank].alive {
				sum := int64(0)
				for i := range held {
					sum += live[i]*whole[i] + live[len(held)+i]*weights[i]
				}
				most = max(most, sum)
			}
		}
		peak = max(peak, float64(most)+p.Static(rank).Sum())
	}
	return peak
}

// timeBound computes the least time of one scenario.
type timeBound struct {
	plan  *plan.Plan
	facts *orderFacts
	world *world
	parts *lower.Parts
	pure  bool // only the compute lane's work is sure

	pass    [4][]unit.Time // by phase and stage
	sends   map[[2]int]unit.Time
	buckets map[bucketsOf][]bucketTime
}

// makespan is a lower bound of the end of the last op.
func (t *timeBound) makespan() (unit.Time, error) {
	if err := t.passes(); err != nil {
		return 0, err
	}
	ready, update := unit.Time(0), unit.Time(0)
	type params struct{ dense, expert int64 }
	known := map[params]bool{}
	for r := range t.facts.ranks {
		at, err := t.rank(r)
		if err != nil {
			return 0, err
		}
		ready = max(ready, at)
		var of params
		if of.dense, of.expert = t.plan.RankParams(r); known[of] && t.plan.Scenario.Training.Finetune == "none" {
			continue
		}
		known[of] = true
		after, err := t.world.prices.sequence(t.parts.Update(r))
		if err != nil {
			return 0, err
		}
		update = max(update, after)
	}
	return ready + update, nil // no rank updates before all have their gradients
}

// passes fills in what the passes of every stage take at least.
func (t *timeBound) passes() error {
	phases := []pipeline.Phase{pipeline.F, pipeline.B}
	if t.facts.split { // some orders have both whole and split ones
		phases = []pipeline.Phase{pipeline.F, pipeline.B, pipeline.I, pipeline.W}
	}
	times := t.world.partTimes(t.plan)
	for _, phase := range phases {
		t.pass[phase] = make([]unit.Time, len(t.plan.Stages))
		for i, st := range t.plan.Stages {
			sum, err := t.stretch(times, st, 0, st.Layers, st.Embedding, st.Head, phase)
			if err != nil {
				return err
			}
			t.pass[phase][i] = t.least(sum, true)
		}
	}
	t.sends, t.buckets = map[[2]int]unit.Time{}, map[bucketsOf][]bucketTime{}
	return nil
}

// least is what the parts of a pass take on their rank, with what the host needs to
// launch them if that is wanted.
func (t *timeBound) least(p partTime, host bool) unit.Time {
	switch {
	case t.pure:
		return p.compute
	case host:
		return max(p.time, unit.Time(p.launches)*t.world.prices.host)
	}
	return p.time
}

// stretch adds up layers and ends of a stage.
func (t *timeBound) stretch(times *partTimes, st plan.Stage, first, layers int64, embedding, head bool, phase pipeline.Phase) (sum partTime, err error) {
	rc := t.plan.Scenario.Training.Recompute
	add := func(k partOf, n int64) {
		if err != nil || n == 0 {
			return
		}
		var part partTime
		if part, err = times.of(k); err == nil {
			sum.add(part, n)
		}
	}
	counts := make([][2]int64, len(t.world.first)) // by kind: kept, recomputed
	for i := first; i < first+layers; i++ {
		again := 0
		if rc.Mode == "full" && (rc.Layers == 0 || i < rc.Layers) {
			again = 1
		}
		counts[t.world.kinds[st.First+i]][again]++
	}
	for kind, n := range counts {
		add(partOf{"layer", kind, false, phase}, n[0])
		add(partOf{"layer", kind, true, phase}, n[1])
	}
	if embedding {
		add(partOf{what: "embedding", phase: phase}, 1)
	}
	if head {
		add(partOf{what: "head", phase: phase}, 1)
	}
	return sum, err
}

// send is what a message between ranks takes; 0 on one rank.
func (t *timeBound) send(src, dst int) (unit.Time, error) {
	if src == dst {
		return 0, nil
	}
	k := [2]int{src, dst}
	if d, ok := t.sends[k]; ok {
		return d, nil
	}
	e, err := t.world.prices.kernel(t.parts.Send(src, dst))
	t.sends[k] = e.Time
	return e.Time, err
}

// device is where a microbatch meets a stage.
func (t *timeBound) device(stage int, like pipeline.Slot) int {
	like.Stage = int32(stage)
	return t.plan.Schedule.Device(t.plan.Shape, like)
}

// way is how long a microbatch takes through stages: forward from the first one up
// to the stage, or backward from it down to the first, with the messages.
func (t *timeBound) way(to pipeline.Slot) (sum unit.Time, err error) {
	phase := pipeline.F
	if to.Phase != pipeline.F {
		phase = pipeline.B
		if t.facts.split {
			phase = pipeline.I
		}
	}
	for stage := range int(to.Stage) {
		src, dst := t.device(stage, to), t.device(stage+1, to)
		if phase != pipeline.F {
			src, dst = dst, src
		}
		d, err := t.send(src, dst)
		if err != nil {
			return 0, err
		}
		sum += d + min(t.pass[phase][stage], t.pass[t.fused(phase)][stage])
	}
	return sum, nil
}

// fused is B for the first half of a backward pass, of which orders may have either.
func (t *timeBound) fused(phase pipeline.Phase) pipeline.Phase {
	if phase == pipeline.I {
		return pipeline.B
	}
	return phase
}
