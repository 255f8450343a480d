package search

import (
	"context"
	"math"
	"slices"

	"orrery/scenarios"
	"orrery/sim/compare"
	"orrery/sim/unit"
)

// rounds is how often a point is simulated for each value of an axis of which it is
// not yet known how good its best point is.
const rounds = 3

// shownParts is how many rows of the step's breakdown a reason names.
const shownParts = 4

// holder is what is known of the points that have one value of an axis.
type holder struct {
	axis, value int
	valid       int
	best, next  int     // candidates: the best simulated, the open one with the least bound; -1: none
	least       float64 // memory of those that do not fit
}

// explain tells of each value of each axis how good its best point is, and why that
// is not the best of all.
func (s *search) explain(ctx context.Context) {
	if s.best < 0 {
		s.reasons()
		return
	}
	for range rounds {
		var next []int
		for _, h := range s.holders() {
			if h.next >= 0 && (h.best < 0 || s.objective(&s.candidates[h.next], s.candidates[h.next].timeS, s.candidates[h.next].memory) < s.value(&s.candidates[h.best])) &&
				!slices.Contains(next, h.next) {
				next = append(next, h.next)
			}
		}
		if len(next) == 0 || s.stopped(ctx) {
			break
		}
		s.simulate(next)
		s.progress("reasons", 0, 0)
	}
	s.reasons()
}

// holders are the values that points of the space have, by axis.
func (s *search) holders() []holder {
	var out []holder
	first := make([]int, len(s.sp.axes)) // of an axis's values in out
	for i, a := range s.sp.axes {
		first[i] = len(out)
		for v := range a.Values {
			out = append(out, holder{axis: i, value: v, best: -1, next: -1, least: math.Inf(1)})
		}
	}
	for i := range s.candidates {
		c := &s.candidates[i]
		at := s.objective(c, c.timeS, c.memory)
		for a, v := range s.groups[c.group] {
			if v != omitted {
				s.hold(&out[first[a]+int(v)], c, i, at)
			}
		}
		s.hold(&out[first[len(first)-1]+int(c.recompute)], c, i, at)
	}
	return out
}

// hold notes that a candidate, whose objective is at least so much, has a value.
func (s *search) hold(h *holder, c *candidate, i int, at float64) {
	h.valid++
	switch {
	case c.state == tooLarge || c.state == done && !c.point.Fits:
		h.least = min(h.least, c.memory)
	case c.state == done && (h.best < 0 || s.better(c, &s.candidates[h.best])):
		h.best = i
	case c.state == open:
		if h.next < 0 || at < s.objective(&s.candidates[h.next], s.candidates[h.next].timeS, s.candidates[h.next].memory) {
			h.next = i
		}
	}
}

// reasons writes down what is known.
func (s *search) reasons() {
	for _, h := range s.holders() {
		a := &s.sp.axes[h.axis]
		_, refused := s.refusals[refusal{h.axis, h.value}]
		if len(a.Values) < 2 || h.valid == 0 && !refused && !a.asked { // makes no sense beside the others
			continue
		}
		r := Reason{Key: a.Key, Value: text(a.Values[h.value]), Valid: h.valid}
		switch {
		case h.valid == 0:
			r.Why = s.refusals[refusal{h.axis, h.value}]
			if r.Why == "" {
				r.Why = "goes with no other axis's value"
			}
		case h.best < 0 && h.next < 0:
			r.Why = "nothing with it fits"
			if !math.IsInf(h.least, 1) {
				r.LeastMemoryGiB = h.least
			}
		default:
			s.rate(&r, h)
		}
		s.result.Reasons = append(s.result.Reasons, r)
	}
}

// rate compares the best point with a value with the best of all.
func (s *search) rate(r *Reason, h holder) {
	r.Bound = math.Inf(1)
	if h.next >= 0 {
		c := &s.candidates[h.next]
		r.Bound = s.objective(c, c.timeS, c.memory)
	}
	if h.best < 0 {
		r.Why = "not simulated"
		return
	}
	c, best := &s.candidates[h.best], &s.candidates[s.best]
	r.Objective = s.value(c)
	r.Bound = min(r.Bound, r.Objective)
	r.Best = h.best == s.best
	if r.Best {
		return
	}
	r.Over = r.Objective/s.value(best) - 1
	r.Parts, r.RestS = parts(best.point, c.point)
	r.Set = s.differing(c, best, h.axis)
}

// differing are the settings of a candidate that another has not, but for an axis.
func (s *search) differing(c, other *candidate, but int) []string {
	var out []string
	theirs := s.sp.values(s.groups[other.group], int(other.recompute))
	for _, o := range s.sp.values(s.groups[c.group], int(c.recompute)) {
		same := slices.ContainsFunc(theirs, func(t scenarios.Override) bool { return t.Key == o.Key && text(t.Value) == text(o.Value) })
		if !same && o.Key != s.sp.axes[but].Key {
			out = append(out, setting(o))
		}
	}
	return out
}

// parts are the largest changes of the step from a to b, and the sum of the others.
func parts(a, b *Point) (out []Part, rest float64) {
	step := compare.Compare(compare.Side{Result: a.result}, compare.Side{Result: b.result}).Step
	for _, g := range step.Groups {
		for _, row := range g.Rows {
			out = append(out, Part{Name: row.Name, ChangeS: unit.Time(row.Change).Seconds()})
		}
	}
	slices.SortStableFunc(out, func(x, y Part) int {
		switch p, q := math.Abs(x.ChangeS), math.Abs(y.ChangeS); {
		case p > q:
			return -1
		case p < q:
			return 1
		}
		return 0
	})
	if len(out) > shownParts {
		for _, p := range out[shownParts:] {
			rest += p.ChangeS
		}
		out = out[:shownParts]
	}
	return out, rest
}
