package packing

import "fmt"

// span is where a sample's slices have been seen, in one of the lists.
type span struct {
	first, width int32 // lanes; width 0 where the sample has not been seen
	next         int32 // token that must come next
	recompute    int64 // a sum over the slices of units that recompute, to compare
	recomputed   int32 // tokens in such units
}

// Validate checks that a plan computes the job: every token of every sample
// exactly once in the forward and once in the backward units; the slices of a
// sample on the same lanes, in order in the forward and in reverse in the
// backward, so that keys, values and their gradients are where and when they are
// needed; slices recomputed in both lists or in none. [Evaluate] adds what
// depends on the order of lanes: no deadlock, and memory.
func Validate(j *Job, p *Plan) error {
	if p.Hop < 0 {
		return fmt.Errorf("hop %d, must be 0 or more", p.Hop)
	}
	if p.Pace > PaceNeed {
		return fmt.Errorf("pace %d, known are %d to %d", p.Pace, PaceUnits, PaceNeed)
	}
	forward, backward := make([]span, len(j.Lengths)), make([]span, len(j.Lengths))
	for i, l := range j.Lengths {
		backward[i].next = int32(l)
	}
	for i := range p.Forward {
		if err := check(j, &p.Forward[i], forward, true); err != nil {
			return fmt.Errorf("forward unit %d: %w", i, err)
		}
	}
	for i := range p.Backward {
		if err := check(j, &p.Backward[i], backward, false); err != nil {
			return fmt.Errorf("backward unit %d: %w", i, err)
		}
	}
	for i, l := range j.Lengths {
		f, b := forward[i], backward[i]
		switch {
		case int(f.next) != l || f.width == 0:
			return fmt.Errorf("sample %d has %d tokens, the forward units have %d", i, l, f.next)
		case b.next != 0:
			return fmt.Errorf("sample %d has %d tokens, the backward units have %d", i, l, l-int(b.next))
		case f.first != b.first || f.width != b.width:
			return fmt.Errorf("sample %d runs forward on %d lanes from %d, backward on %d from %d", i, f.width, f.first, b.width, b.first)
		case f.recompute != b.recompute || f.recomputed != b.recomputed:
			return fmt.Errorf("sample %d: the forward units drop other slices than the backward units recompute", i)
		}
	}
	return nil
}

// check checks one unit and takes its slices off what is left of the samples.
func check(j *Job, u *Unit, seen []span, forward bool) error {
	if u.First < 0 || u.Width < 1 || int(u.First)+int(u.Width) > j.Lanes() {
		return fmt.Errorf("%d lanes from %d, there are %d", u.Width, u.First, j.Lanes())
	}
	if len(u.Slices) == 0 {
		return fmt.Errorf("it is empty")
	}
	if u.Pad < 0 {
		return fmt.Errorf("%d tokens of padding", u.Pad)
	}
	if u.Sharding > Blocks {
		return fmt.Errorf("sharding %d, known are %d to %d", u.Sharding, PerSample, Blocks)
	}
	for _, s := range u.Slices {
		if s.Sample < 0 || int(s.Sample) >= len(j.Lengths) {
			return fmt.Errorf("sample %d, there are %d", s.Sample, len(j.Lengths))
		}
		if s.X0 < 0 || s.X1 <= s.X0 || int(s.X1) > j.Lengths[s.Sample] || s.Pad < 0 || int(s.X1)+int(s.Pad) > j.Context {
			return fmt.Errorf("tokens %d to %d and %d of padding of sample %d, which has %d; the context is %d", s.X0, s.X1, s.Pad, s.Sample, j.Lengths[s.Sample], j.Context)
		}
		have := &seen[s.Sample]
		if have.width == 0 {
			have.first, have.width = u.First, u.Width
		}
		if have.first != u.First || have.width != u.Width {
			return fmt.Errorf("sample %d is on %d lanes from %d, and its slice %d to %d on %d from %d", s.Sample, have.width, have.first, s.X0, s.X1, u.Width, u.First)
		}
		if forward {
			if s.X0 != have.next {
				return fmt.Errorf("the slice %d to %d of sample %d comes where token %d is next", s.X0, s.X1, s.Sample, have.next)
			}
			have.next = s.X1
		} else {
			if s.X1 != have.next {
				return fmt.Errorf("the slice %d to %d of sample %d comes where token %d is the last without its backward", s.X0, s.X1, s.Sample, have.next)
			}
			have.next = s.X0
		}
		if u.Recompute {
			// Sums of tokens and of their positions: slices may be cut differently, and
			// the order of the two lists is not the same.
			q := int64(s.X1 - s.X0)
			have.recomputed += s.X1 - s.X0
			have.recompute += q * (int64(s.X0) + int64(s.X1))
		}
	}
	return nil
}
