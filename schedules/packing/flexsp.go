package packing

import (
	"cmp"
	"math"
	"slices"
)

func init() { register(flexSP{}) }

// flexSP is FlexSP (arXiv:2412.01523): microbatches of similar lengths, in each of
// which the ranks form groups of different degrees of sequence parallelism. How many
// groups of each degree, and how many samples of each bucket of lengths each degree
// takes, is an integer program (section 4.2); the number of microbatches is chosen by
// time among the smallest that fit memory (section 4.3), here with the simulator.
type flexSP struct{}

func (flexSP) Name() string { return "flexsp" }

func (flexSP) Describe() string {
	return "sequence-parallel groups of different degrees, by an integer program over buckets (FlexSP, arXiv:2412.01523)"
}

// flexBuckets is the number of buckets of lengths (the paper's default is 16).
const flexBuckets = 8

func (f flexSP) Pack(j *Job) (*Plan, error) {
	order := descending(j.Lengths)
	most := j.unitTokens()
	least := (j.Tokens() + most*j.Lanes() - 1) / (most * j.Lanes())
	return j.fastest(func(yield func(*Plan) bool) {
		for scale := 1; scale <= 8; scale *= 2 {
			var samples []placed
			units := []Unit(nil)
			for _, batch := range equalTokens(j, order, least*scale) {
				samples = f.batch(j, batch, most)
				units = append(units, j.unitsOf(samples, most)...)
			}
			slices.SortStableFunc(units, func(a, b Unit) int { return cmp.Compare(b.Width, a.Width) })
			if !yield(&Plan{Forward: units, Backward: units}) {
				return
			}
		}
	})
}

// equalTokens cuts the samples, in order, into n batches of about the same tokens.
func equalTokens(j *Job, order []int32, n int) [][]int32 {
	total, seen, from := j.Tokens(), 0, 0
	var out [][]int32
	for i, s := range order {
		seen += j.Lengths[s]
		if seen*n >= total*(len(out)+1) {
			out = append(out, order[from:i+1])
			from = i + 1
		}
	}
	if from < len(order) {
		out = append(out, order[from:])
	}
	return out
}

// batch places the samples of a microbatch: the integer program for falling times,
// by bisection, then samples to groups.
func (f flexSP) batch(j *Job, samples []int32, perLane int) []placed {
	p := newGroups(j, samples, perLane)
	low, high := 0.0, 0.0
	for _, s := range samples {
		a, b := j.Cost.SampleOn(j.Lengths[s], 0, p.degrees[p.smallest(j.Lengths[s])])
		high += a + b
	}
	best := p.solve(high)
	if best == nil {
		// The lanes cannot hold the microbatch at once in any grouping: one group of all.
		out := make([]placed, len(samples))
		for i, s := range samples {
			out[i] = placed{s, 0, p.degrees[len(p.degrees)-1]}
		}
		return out
	}
	for range 12 {
		mid := (low + high) / 2
		if g := p.solve(mid); g != nil {
			best, high = g, mid
		} else {
			low = mid
		}
	}
	return p.place(j, best)
}

// groups is the integer program of one microbatch.
type groups struct {
	degrees []int     // 1, 2, 4, ... lanes
	perLane int       // tokens
	lanes   int       // in all
	buckets []bucket  // longest first
	times   []float64 // by bucket and degree, seconds a sample
}

type bucket struct {
	samples []int32
	tokens  float64 // of its longest sample
	first   int     // smallest degree that holds it
}

func newGroups(j *Job, samples []int32, perLane int) *groups {
	p := &groups{perLane: perLane, lanes: j.Lanes()}
	for d := 1; d <= j.Lanes(); d *= 2 {
		p.degrees = append(p.degrees, d)
	}
	for from := range flexBuckets {
		lo, hi := from*len(samples)/flexBuckets, (from+1)*len(samples)/flexBuckets
		if lo == hi {
			continue
		}
		l := j.Lengths[samples[lo]]
		b := bucket{samples: samples[lo:hi], tokens: float64(l), first: p.smallest(l)}
		p.buckets = append(p.buckets, b)
		for _, d := range p.degrees {
			f, g := j.Cost.SampleOn(l, 0, d)
			p.times = append(p.times, f+g)
		}
	}
	return p
}

// smallest is the index of the smallest degree that holds a sample.
func (p *groups) smallest(tokens int) int {
	for i, d := range p.degrees {
		if tokens <= p.perLane*d {
			return i
		}
	}
	return len(p.degrees) - 1
}

func (p *groups) time(bucket, degree int) float64 { return p.times[bucket*len(p.degrees)+degree] }

// grouping is a solution: groups of each degree, and samples of each bucket by degree.
type grouping struct {
	count []int
	share [][]float64
}

// place turns a solution into lanes: what is left of the lanes makes more groups of
// the degrees in use; the longest samples of a bucket take the larger degrees; in a
// degree, longest first to the group with the least work.
func (p *groups) place(j *Job, g *grouping) []placed {
	byDegree := make([][]int32, len(p.degrees))
	for b := range p.buckets {
		left, carry := p.buckets[b].samples, 0.0
		for d := len(p.degrees) - 1; d >= 0; d-- {
			carry += g.share[b][d]
			n := min(len(left), int(math.Round(carry)))
			carry -= float64(n)
			byDegree[d] = append(byDegree[d], left[:n]...)
			left = left[n:]
			if d == p.buckets[b].first {
				byDegree[d] = append(byDegree[d], left...)
				break
			}
		}
	}
	free := p.lanes
	for d, n := range g.count {
		if len(byDegree[d]) == 0 {
			g.count[d] = 0
			n = 0
		} else if n == 0 {
			g.count[d], n = 1, 1
		}
		free -= n * p.degrees[d]
	}
	for d := len(p.degrees) - 1; d >= 0; d-- {
		for g.count[d] > 0 && free >= p.degrees[d] {
			g.count[d]++
			free -= p.degrees[d]
		}
	}
	var out []placed
	at := 0
	for d := len(p.degrees) - 1; d >= 0; d-- {
		if g.count[d] == 0 {
			continue
		}
		w := p.degrees[d]
		work := newLeast(g.count[d])
		for _, s := range byDegree[d] {
			f, b := j.Cost.SampleOn(j.Lengths[s], 0, w)
			first := at + work.add(f+b)*w
			if first+w > p.lanes { // rounding asked for a group more than there is room
				first = 0
			}
			out = append(out, placed{s, first, w})
		}
		at += g.count[d] * w
	}
	return out
}
