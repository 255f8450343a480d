package packing

import (
	"math"
	"slices"
)

// part is replicas that no other replica runs anything together with: it is
// planned and timed alone. Its samples have numbers of their own.
type part struct {
	all    *Job
	job    Job     // all lanes, the part's samples
	ids    []int32 // of the part's samples, in the whole job
	first  int     // replica
	merged []mergedSamples
	own    [][]int32 // by replica from first
	load   float64

	tried   map[cutting]bool
	most    int     // units that the search tries at most
	cutting cutting // that gave the plan
	plan    *Plan   // nil where err says why there is none
	err     error
	score   outcome
	passes  int // left to the search
}

// cutting is how a part is cut into units.
type cutting struct {
	// Units of the dearest replica, forward and backward; those of the others, and
	// merged ones, are as long.
	forward, backward int
	hop               int
	pace              Pace
	// long: only samples longer than a unit are cut, so that chains of units that
	// samples link stay short.
	long bool
	// shared: the backward runs the forward's units in reverse.
	shared bool
	// Units at the start and at the end that are shorter: see ramp. In the middle all are
	// equal.
	up, down int
	// front: 0 runs the samples longest first. Else some of the shortest come before
	// them, shortest first, so that backwards can begin while units are short: of all
	// work 2^(front-frontSteps-2).
	front  int
	tokens int // instead of all this, units of so many tokens a lane
}

func newPart(j *Job, from, to int) *part {
	p := &part{all: j, job: *j, first: from, own: make([][]int32, to-from), tried: map[cutting]bool{}}
	p.job.Lengths = nil
	p.job.MemoryTokens = j.Memory()
	return p
}

// add takes samples of the whole job in and returns their numbers in the part.
func (p *part) add(samples []int32) []int32 {
	out := make([]int32, len(samples))
	for i, s := range samples {
		out[i] = int32(len(p.ids))
		p.ids = append(p.ids, s)
		p.job.Lengths = append(p.job.Lengths, p.all.Lengths[s])
	}
	return out
}

// global gives units the samples' numbers in the whole job.
func (p *part) global(units []Unit) []Unit {
	out := slices.Clone(units)
	for i := range out {
		out[i].Slices = slices.Clone(out[i].Slices)
		for k := range out[i].Slices {
			out[i].Slices[k].Sample = p.ids[out[i].Slices[k].Sample]
		}
	}
	return out
}

// try plans and times one cutting and keeps it if it is better.
func (p *part) try(o SlimPack, c cutting) bool {
	if p.tried[c] {
		return false
	}
	p.tried[c] = true
	plan := p.build(o, c)
	t, err := Evaluate(&p.job, plan)
	if err != nil {
		p.err = err
		return false
	}
	p.passes -= (len(plan.Forward)+len(plan.Backward))*p.job.PP + len(p.ids)
	score := t.outcome(&p.job)
	if p.plan != nil && !score.better(p.score) {
		return false
	}
	p.plan, p.score, p.cutting = plan, score, c
	return true
}

// build cuts the part: merged samples first, widest first, then each replica's own.
func (p *part) build(o SlimPack, c cutting) *Plan {
	plan := &Plan{Hop: c.hop, Pace: c.pace}
	forward, backward := p.targets(c)
	wide := c // the pipeline fills with merged samples, and drains with others
	wide.down = 0
	for _, m := range p.merged {
		p.units(o, wide, plan, m.first, m.count, m.samples, forward, backward)
		wide.up, c.up = 0, 0
	}
	for r, samples := range p.own {
		p.units(o, c, plan, p.first+r, 1, samples, forward, backward)
	}
	return plan
}

// targets is how long units are meant to be, in seconds.
func (p *part) targets(c cutting) (forward, backward float64) {
	if c.tokens > 0 {
		return math.Inf(1), math.Inf(1)
	}
	total := p.totals()
	return total[fwd] / float64(c.forward), total[bwd] / float64(c.backward)
}

// totals is the forward and backward time of the dearest replica, exchange not
// included.
func (p *part) totals() (most [2]float64) {
	for r := range p.own {
		var sum [2]float64
		for k := range sum {
			cut := p.cutter(1, k == fwd)
			sum[k] = cut.total(p.own[r])
			for _, m := range p.merged {
				if p.first+r >= m.first && p.first+r < m.first+m.count {
					wide := p.cutter(m.count, k == fwd)
					sum[k] += wide.total(m.samples)
				}
			}
			most[k] = max(most[k], sum[k])
		}
	}
	return most
}

func (p *part) cutter(count int, forward bool) cutter {
	w := count * p.job.CP
	quantum := max(1, p.job.Cost.Tile)
	if w > 1 {
		quantum *= 2 * w
	}
	// A stage holds a unit, and one for each stage after it, so a longer one than this
	// cannot fit.
	room := math.Inf(1)
	for s := range p.job.PP {
		room = min(room, p.job.MemoryAt(s)/float64(p.job.PP-s))
	}
	most := max(1, int(room/(1+p.job.Footprint.kvShare())*float64(w)))
	return cutter{job: &p.job, unit: Unit{Width: int32(w)}, forward: forward, quantum: quantum, most: most}
}

// units adds those of samples that run on count replicas.
func (p *part) units(o SlimPack, c cutting, plan *Plan, first, count int, samples []int32, forward, backward float64) {
	if len(samples) == 0 {
		return
	}
	var cuts [2][]Unit
	for k, target := range [2]float64{forward, backward} {
		if k == bwd && (c.shared || o.NoAsymmetry) {
			p.job.shard(cuts[fwd])
			cuts[k] = p.job.mirrored(cuts[fwd])
			break
		}
		cut := p.cutter(count, k == fwd)
		cut.unit.First = int32(first * p.job.CP)
		switch {
		case o.NoSlices:
			cut.whole = p.job.Context
		case c.long:
			cut.whole = p.longest(&cut, samples, target)
		}
		if c.tokens > 0 {
			cut.most = min(cut.most, c.tokens*count*p.job.CP)
			cuts[k] = cut.units(cut.queue(samples), target)
			continue
		}
		cut.ramp = p.job.ramp(c.up, c.down)
		n := max(1, int(math.Ceil(cut.total(samples)/target-1e-9+cut.ramp.missing())))
		cuts[k] = cut.even(cut.fronted(samples, c.front), n)
	}
	plan.Forward = append(plan.Forward, cuts[fwd]...)
	plan.Backward = append(plan.Backward, cuts[bwd]...)
}

// shard places the samples of units on lanes whole, or in blocks, where cutting each over
// all lanes fills tiles badly. Their backwards must be the same units: activations stay
// where they are.
func (j *Job) shard(units []Unit) {
	for i := range units {
		u := &units[i]
		if u.Width == 1 {
			continue
		}
		f, b := j.Cost.lanes(u)
		ideal := 0.0
		for _, s := range u.Slices {
			x, y := j.Cost.work(int(s.X0), int(s.X1))
			ideal += (x + y) / float64(u.Width)
		}
		if f+b < ideal*(1+shardLoss) {
			continue
		}
		u.Sharding = Blocks
		if g, c := j.Cost.lanes(u); g+c >= f+b {
			u.Sharding = PerSample
		}
	}
}

// shardLoss is what cutting each sample over all lanes may lose before something else
// is tried.
const shardLoss = 0.01

// ramp is how steep ramps can be without the last stage waiting, where all stages take
// equally long: a unit of time f comes through the others in (p-1) f, while the last has
// the backwards of the forwards before it to do; and goes back in (p-1) b, while the last
// has the forwards of the backwards after it. In a geometric ramp those before, or
// after, add up to f/(rise-1) or b/(fall-1). The forward that is there first is not
// followed by its backward at once, so that half of the rise is taken.
func (j *Job) ramp(up, down int) ramp {
	if j.PP == 1 {
		return ramp{}
	}
	stages, ratio := float64(j.PP-1), max(1, j.Cost.BackToken)
	return ramp{up: up, down: down, rise: 1 + ratio/(2*stages), fall: 1 + 1/(stages*ratio)}
}

// frontSteps are the values of cutting.front above 0.
const frontSteps = 6

// fronted is the order of samples, longest first, with every other one from the end in
// front, as front says.
func (c *cutter) fronted(samples []int32, front int) []int32 {
	if front == 0 {
		return samples
	}
	left := c.total(samples) * math.Pow(2, float64(front-frontSteps-2))
	var first, rest []int32
	for i := len(samples) - 1; i >= 0; i-- {
		if time := c.total(samples[i : i+1]); (len(samples)-i)%2 == 1 && time <= left {
			first, left = append(first, samples[i]), left-time
			continue
		}
		rest = append(rest, samples[i])
	}
	slices.Reverse(rest)
	return append(first, rest...)
}

// longest is the most tokens of a sample that takes no longer than target.
func (p *part) longest(cut *cutter, samples []int32, target float64) int {
	for i, s := range samples { // longest first
		if cut.total(samples[i:i+1]) <= target {
			return p.job.Lengths[s]
		}
	}
	return 0
}
