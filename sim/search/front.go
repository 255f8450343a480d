package search

import (
	"cmp"
	"context"
	"slices"
)

// triple is what the front is of: time, memory, money.
type triple [3]float64

// covers reports whether a is as good as b in everything.
func (a triple) covers(b triple) bool { return a[0] <= b[0] && a[1] <= b[1] && a[2] <= b[2] }

// atLeast is what a candidate's point cannot be below.
func (s *search) atLeast(c *candidate) triple {
	return triple{c.timeS, c.memory, s.usd(c, c.timeS)}
}

func found(p *Point) triple { return triple{p.StepTimeS, p.PeakMemoryGiB, p.USDPerTTokens} }

// front are simulated points that fit and that no other one covers; of equal ones
// the first of the space.
type front struct{ points []*Point }

func (f *front) covers(t triple) bool {
	return slices.ContainsFunc(f.points, func(p *Point) bool { return found(p).covers(t) })
}

func (f *front) add(p *Point) {
	t := found(p)
	if f.covers(t) {
		return
	}
	f.points = slices.DeleteFunc(f.points, func(q *Point) bool { return t.covers(found(q)) })
	f.points = append(f.points, p)
}

// findFront simulates, fastest bound first, what no simulated point provably covers.
func (s *search) findFront(ctx context.Context) {
	f := &front{}
	for i := range s.candidates {
		if c := &s.candidates[i]; c.state == done && c.point.Fits {
			f.add(c.point)
		}
	}
	order := s.sorted(func(c *candidate) float64 { return c.timeS })
	at := 0
	for at < len(order) && !s.stopped(ctx) {
		var next []int
		for ; at < len(order) && len(next) < batch; at++ {
			if !f.covers(s.atLeast(&s.candidates[order[at]])) {
				next = append(next, order[at])
			}
		}
		s.simulate(next)
		for _, i := range next {
			if c := &s.candidates[i]; c.state == done && c.point.Fits {
				f.add(c.point)
			}
		}
		s.progress("front", at, len(order))
	}
	s.result.FrontWhole = s.result.Stopped == ""
	slices.SortFunc(f.points, func(a, b *Point) int {
		return cmp.Or(cmp.Compare(a.StepTimeS, b.StepTimeS), cmp.Compare(a.PeakMemoryGiB, b.PeakMemoryGiB), cmp.Compare(a.at, b.at))
	})
	for _, p := range f.points {
		s.result.Front = append(s.result.Front, *p)
	}
}
