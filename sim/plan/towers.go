package plan

import (
	"fmt"
	"math"
	"math/rand/v2"

	"orrery/scenarios"
	"orrery/schedules/pipeline"
	"orrery/sim/cost"
	"orrery/sim/unit"
)

// Tower is an encoder or a generator laid out on ranks.
type Tower struct {
	*scenarios.Tower
	Module pipeline.Module
	// Whole: every pipeline rank has all of it, for its own microbatches (a unit is one
	// microbatch a pipeline rank); else each holds stages of it.
	Whole bool
	Shard cost.Group // ranks that hold the same parameters
	Pool  cost.Group // ranks that share items: the tower's context parallelism
	Loads []Load     // of one rank, by microbatch

	forward float64 // FLOPs of the forward passes of a step over all ranks
}

// Load is what a rank has to do of a tower for one microbatch.
type Load struct {
	Items  int64 // that its group shares
	Tokens int64 // of this rank: its share of the items' own tokens
	Beside int64 // of this rank: its share of the LLM's tokens beside them
	// Length of an item, those beside included, whose square is the mean of the squares:
	// that many of them have as many pairs of a query and a key as the items have.
	Length int64
}

// towers lays encoder and generator out; the schedule is not chosen yet.
func (p *Plan) layTowers() error {
	for _, m := range []pipeline.Module{pipeline.Encoder, pipeline.Generator} {
		t := p.Scenario.Encoder
		if m == pipeline.Generator {
			t = p.Scenario.Generator
		}
		if t == nil {
			continue
		}
		tower := &Tower{Tower: t, Module: m}
		if err := p.loads(tower); err != nil {
			return fmt.Errorf("%v: %w", m, err)
		}
		p.towers[m] = tower
	}
	return nil
}

// Tower is the encoder's or the generator's layout; nil for the LLM or where there
// is none.
func (p *Plan) Tower(m pipeline.Module) *Tower { return p.towers[m] }

// Towers are those that there are, the encoder first.
func (p *Plan) Towers() []*Tower {
	var out []*Tower
	for _, t := range p.towers {
		if t != nil {
			out = append(out, t)
		}
	}
	return out
}

// loads draws the items of every data-parallel replica, or takes them from the file,
// and keeps those of the replica with the most work: the others wait for it.
func (p *Plan) loads(t *Tower) error {
	par, m := p.Scenario.Parallel, p.Microbatches
	draw := newSampler(t, p.Scenario.Training.SequenceLength, par.DP*m*p.Scenario.Training.MicroBatch)
	if draw.err != nil {
		return draw.err
	}
	share := par.TP * par.CP / t.TP // ranks of one microbatch
	pooled := max(t.CP/share, 1)    // replicas that share items
	most := -1.0
	for first := int64(0); first < par.DP; first += pooled {
		loads, work := make([]Load, m), 0.0
		for mb := range m {
			var items []int64
			for replica := first; replica < first+pooled; replica++ {
				for k := range p.Scenario.Training.MicroBatch {
					items = append(items, draw.sample((replica*m+mb)*p.Scenario.Training.MicroBatch+k)...)
				}
			}
			loads[mb] = loadOf(t, items)
			work += p.towerFLOPs(t, loads[mb])
		}
		t.forward += work * float64(t.CP*t.TP) // of the ranks that share the items
		if work > most {
			most, t.Loads = work, loads
		}
	}
	return nil
}

// loadOf is a rank's share of items.
func loadOf(t *Tower, items []int64) Load {
	l := Load{Items: int64(len(items))}
	tokens, squares := int64(0), 0.0
	for _, n := range items {
		tokens += n
		squares += float64(n+t.Beside) * float64(n+t.Beside)
	}
	if l.Items == 0 {
		return l
	}
	l.Tokens = (tokens + t.CP - 1) / t.CP
	l.Beside = (l.Items*t.Beside + t.CP - 1) / t.CP
	l.Length = int64(math.Ceil(math.Sqrt(squares/float64(l.Items)) - 1e-9))
	return l
}

// Merged is how many tokens of the LLM a load's tokens become.
func (t *Tower) Merged(l Load) int64 { return (l.Tokens + t.Model.Merge - 1) / t.Model.Merge }

// towerFLOPs of a rank's forward pass.
func (p *Plan) towerFLOPs(t *Tower, l Load) float64 {
	pairs := float64(l.Items) * float64(l.Length) * float64(l.Length) / float64(t.CP)
	return t.Model.ForwardFLOPs(l.Tokens, l.Beside, pairs, p.Model.Hidden) / float64(t.TP)
}

// TowerStepFLOPs is what a step takes of a tower over all ranks and replicas: forward,
// backward for inputs and for the weights that are trained. recomputed adds what runs
// again.
func (p *Plan) TowerStepFLOPs(t *Tower, recomputed bool) float64 {
	passes := 3.0
	switch {
	case t.Trained == "all":
	case t.Module == pipeline.Generator: // gradients go through
		passes = 2
	default:
		passes = 1
	}
	if recomputed && t.Recompute && passes > 1 {
		passes++
	}
	return passes * t.forward
}

// modules is the towers with costs in proportion to FLOPs, for the order of passes: a
// plan knows no times. A backward pass takes twice its forward, with recomputation
// three times.
func (p *Plan) modules() pipeline.Modules {
	m := p.Scenario.Modules()
	par, seq := p.Scenario.Parallel, p.Scenario.Training.SequenceLength
	chunks := float64(par.PP * par.VP)
	llm := p.Model.StepFLOPs(seq, p.Scenario.Training.MicroBatch, p.Vocab).Total() / 3 / float64(par.TP*par.CP) / chunks
	const fine = 1 << 16 // units of a chunk's forward pass
	units := func(flops float64) unit.Time { return unit.Time(math.Round(fine * flops / llm)) }
	m.Costs.F, m.Costs.B = fine, 2*fine
	if p.fullRecompute() {
		m.Costs.B = 3 * fine
	}
	for _, t := range p.Towers() {
		mean := 0.0
		for _, l := range t.Loads {
			mean += p.towerFLOPs(t, l) / float64(len(t.Loads))
		}
		f, b := units(mean), 2*units(mean)
		switch {
		case t.Trained != "all" && t.Module == pipeline.Encoder:
			b = 0
		case t.Trained != "all":
			b = f
		}
		if t.Recompute && b > 0 {
			b += f
		}
		if t.Module == pipeline.Encoder {
			m.Costs.EncoderF, m.Costs.EncoderB = f, b
		} else {
			m.Costs.GeneratorF, m.Costs.GeneratorB = f, b
		}
	}
	return m
}

// sampler draws samples, each from its own seed, so that a sample does not depend on
// which others are drawn.
type sampler struct {
	t    *Tower
	most int64 // tokens of a sample
	err  error
}

func newSampler(t *Tower, seq, samples int64) sampler {
	s := sampler{t: t, most: math.MaxInt64}
	if t.Module == pipeline.Encoder {
		s.most = seq * t.Model.Merge
	}
	for i, sample := range t.Samples {
		sum := int64(0)
		for _, n := range sample {
			sum += n
		}
		if sum > s.most && int64(i) < samples {
			s.err = fmt.Errorf("sample %d of %s has %d tokens, merged by %d more than the sequence's %d", i+1, t.File, sum, t.Model.Merge, seq)
			break
		}
	}
	return s
}

// sample is the tokens of each item of the i-th sample, whole groups of merged ones.
// What a drawn sample has beyond its sequence is cut off.
func (s sampler) sample(i int64) []int64 {
	t := s.t
	if len(t.Samples) > 0 {
		return t.Samples[i%int64(len(t.Samples))]
	}
	r := rand.New(rand.NewPCG(uint64(t.Seed)<<8|uint64(t.Module), uint64(i)))
	items := make([]int64, t.ItemsMin+r.Int64N(t.ItemsMax-t.ItemsMin+1))
	left := s.most
	merge := t.Model.Merge
	for k := range items {
		n := float64(t.Tokens)
		if t.Spread > 0 { // a log-normal whose mean is Tokens
			n *= math.Exp(t.Spread*r.NormFloat64() - t.Spread*t.Spread/2)
		}
		groups := max(int64(math.Round(n/float64(merge))), 1)
		groups = min(groups, left/merge)
		items[k] = groups * merge
		left -= items[k]
		if items[k] == 0 {
			return items[:k]
		}
	}
	return items
}

// placeTowers places a tower's own groups; at places a group on the cluster.
func (p *Plan) placeTowers() (placed []placement) {
	par := p.Scenario.Parallel
	stride := strides(par)
	domain := max(p.Scenario.Cluster.NVLinkDomain, 1)
	at := func(ranks, stride int64) cost.Group {
		per := min(max(domain/stride, 1), ranks)
		for ranks%per != 0 {
			per--
		}
		g := cost.Group{Ranks: ranks, PerDomain: per}
		placed = append(placed, placement{g, stride})
		return g
	}
	for _, t := range p.Towers() {
		near := min(stride["cp"], stride["dp"])
		if t.TP == 1 {
			near = min(near, stride["tp"])
		}
		t.Pool = at(t.CP, near)
		ranks := par.TP * par.CP * par.DP / t.TP
		if t.Whole { // pipeline ranks hold the same, too
			ranks *= par.PP
			near = min(near, stride["pp"])
		}
		t.Shard = at(ranks, near)
	}
	return placed
}

// Crosses reports whether a message from one pipeline rank to another leaves the
// NVLink domain.
func (p *Plan) Crosses(from, to int) bool {
	stride, domain := strides(p.Scenario.Parallel)["pp"], max(p.Scenario.Cluster.NVLinkDomain, 1)
	return int64(from)*stride/domain != int64(to)*stride/domain
}
