package packing

import (
	"math"
)

func init() { register(SlimPack{}) }

// SlimPack is SlimPack (arXiv:2509.26246), as far as it is public: samples are cut
// into slices and grouped into MicroPacks, by separate partitions for the forward
// and the backward, since the two cost differently; a solver of two phases first
// assigns samples to replicas, then cuts each replica's tokens; replicas are merged
// for outliers (DP-Merge); and the simulator, here [Evaluate], chooses.
//
// The paper's second phase is a mixed-integer program whose text is not public.
// Here units are consecutive tokens of the replica's samples, longest first, which
// makes the partition into a given number of units with the shortest longest one
// exact by bisection; how many units, how far stages run ahead and which samples
// merge replicas is searched with the simulator, under the limit of memory.
type SlimPack struct {
	// Mechanisms to leave out, to see what each is worth.
	NoSlices     bool // samples stay whole
	NoAsymmetry  bool // the backward runs the forward's units in reverse
	NoAssignment bool // phase 1: samples dealt to the replicas in turn
	NoSearch     bool // phase 2: units of equal tokens, no simulator
	NoMerge      bool // DP-Merge
	NoRamps      bool // units of one length from the first to the last
}

// Name is the packer's name.
func (SlimPack) Name() string { return "slimpack" }

// Describe says what it does.
func (SlimPack) Describe() string {
	return "slices in MicroPacks, cut separately for forward and backward, replicas merged for outliers (SlimPack, arXiv:2509.26246)"
}

// Pack plans a step.
func (o SlimPack) Pack(j *Job) (*Plan, error) {
	longest := descending(j.Lengths)
	var candidates []*outliers
	for _, m := range o.merges(j) {
		if c := o.outliers(j, longest, m); len(candidates) == 0 || !candidates[len(candidates)-1].equal(c) {
			candidates = append(candidates, c)
		}
	}
	var best *Plan
	var score outcome
	try := func(c *outliers, passes int) (better bool, err error) {
		plan, err := o.solve(o.assign(j, longest, c), passes)
		if err != nil {
			return false, err
		}
		t, err := Evaluate(j, plan)
		if err != nil {
			return false, err
		}
		s := t.outcome(j)
		if better = best == nil || s.better(score); better {
			best, score = plan, s
		}
		return better, nil
	}
	// A short look at each, then a long one at the best.
	chosen, passes := candidates[0], searchPasses
	if len(candidates) > 1 {
		passes = searchPasses * 2 / 3
		for _, c := range candidates {
			better, err := try(c, searchPasses/3/len(candidates))
			if err != nil {
				return nil, err
			}
			if better {
				chosen = c
			}
		}
	}
	if _, err := try(chosen, passes); err != nil {
		return nil, err
	}
	if o == (SlimPack{}) {
		return o.orSimpler(j, best, score)
	}
	return best, nil
}

// searchPasses bounds the search, in passes and slices that are built and timed: it
// takes about a second then, and the same plan comes out wherever it runs. What every
// part needs once is not counted.
const searchPasses = 3_000_000

// orSimpler is the plan, or that of a simple packer whose units SlimPack can express
// (of its padding there is no need) if it is better: in small jobs a search may miss it.
func (SlimPack) orSimpler(j *Job, best *Plan, score outcome) (*Plan, error) {
	for _, p := range []Packer{padding{}, sorted{}, lengthGrouped{}, greedy{}, ffd{}, bfd{}, fixed{}, seq1F1B{}} {
		plan, err := p.Pack(j)
		if err != nil {
			return nil, err
		}
		for i := range plan.Forward { // Backward shares them, or has no padding
			plan.Forward[i].Pad = 0
			for k := range plan.Forward[i].Slices {
				plan.Forward[i].Slices[k].Pad = 0
			}
		}
		t, err := Evaluate(j, plan)
		if err != nil {
			return nil, err
		}
		if s := t.outcome(j); s.better(score) {
			best, score = plan, s
		}
	}
	return best, nil
}

// merging says which samples merge replicas: those that take more than share of a
// replica's fair load, and at most so many replicas unless memory asks for more.
type merging struct {
	share float64
	most  int
}

// merges are the candidates for DP-Merge, from never on.
func (o SlimPack) merges(j *Job) []merging {
	if o.NoMerge {
		return []merging{{math.Inf(1), 1}}
	}
	if o.NoSearch {
		return []merging{{1, j.DP}}
	}
	out := []merging{{math.Inf(1), 1}}
	for n := 2; n <= j.DP; n *= 2 { // more replicas, but more exchange, and between nodes
		out = append(out, merging{1, n})
	}
	return append(out, merging{0.5, j.DP})
}

// solve is phase 2 for all parts: the dearest is searched with half of the passes; the
// others start from what was best there and are changed only until they are no slower.
func (o SlimPack) solve(parts []*part, passes int) (*Plan, error) {
	dearest := 0
	for i, p := range parts {
		p.passes = passes / 2 / max(1, len(parts)-1)
		if p.load > parts[dearest].load {
			dearest = i
		}
	}
	if o.NoSearch {
		for i := range parts {
			parts[i].try(o, cutting{tokens: slimPackTokens, hop: 1, pace: PaceTokens})
		}
		return join(parts)
	}
	parts[dearest].passes = passes / 2
	parts[dearest].search(o, nil)
	if parts[dearest].plan == nil {
		return nil, parts[dearest].err
	}
	slowest, first := parts[dearest].score.time, parts[dearest].cutting
	for i, p := range parts {
		if i == dearest {
			continue
		}
		p.try(o, first)
		if p.plan != nil {
			p.climb(o, false, slowest+slowest/1000)
		}
		if !p.score.fits {
			p.search(o, &first)
		}
		slowest = max(slowest, p.score.time)
	}
	for _, p := range parts {
		if !p.score.fits {
			o.save(parts, passes/2)
			break
		}
	}
	o.rebalance(parts)
	return join(parts)
}

// save searches again by the order of passes that holds the least, where the order
// that suits the dearest part is too much for another. All parts have one order.
func (o SlimPack) save(parts []*part, passes int) {
	for _, p := range parts {
		p.passes, p.plan, p.tried = passes/len(parts), nil, map[cutting]bool{}
		p.search(o, &cutting{hop: 1, pace: PaceNeed})
	}
}

// slimPackTokens is the size of a MicroPack where nothing searches for it.
const slimPackTokens = 8192

// join puts the parts' plans together. Parts share no lane and have one order.
func join(parts []*part) (*Plan, error) {
	for _, p := range parts {
		if p.plan == nil {
			return nil, p.err
		}
	}
	plan := &Plan{Hop: parts[0].plan.Hop, Pace: parts[0].plan.Pace}
	for _, p := range parts {
		plan.Forward = append(plan.Forward, p.global(p.plan.Forward)...)
		plan.Backward = append(plan.Backward, p.global(p.plan.Backward)...)
	}
	return plan, nil
}
