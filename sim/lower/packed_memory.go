package lower

import (
	"orrery/schedules/packing"
	"orrery/sim/program"
)

// Memory of packed units. A forward pass holds its tokens' activations until their
// backward, one that recomputes only keys and values; where a sample is cut, the
// gradients of the keys and values of a prefix exist from the backward of the last
// slice on until that of their own. A slice takes the difference of what the tokens up
// to its ends take: any cut of a sample takes as much, forward and backward.

// upTo is what the first tokens of a sample take on a lane.
func upTo(per float64, tokens, width int32) int64 {
	return int64(per * float64(tokens) / float64(width))
}

// held is what a unit's tokens take on a lane.
func held(per float64, u *packing.Unit) int64 {
	sum := upTo(per, u.Pad, u.Width)
	for _, s := range u.Slices {
		sum += upTo(per, s.X1+s.Pad, u.Width) - upTo(per, s.X0, u.Width)
	}
	return sum
}

// kept are the bytes of a unit of a stage from its forward to its backward, and those
// that a pass has besides while it runs.
func (l *packedLowering) kept(s int, u *packing.Unit) (stay, pass int64) {
	all := held(l.bytes[s][0], u)
	if !u.Recompute {
		return all, 0
	}
	stay = held(l.bytes[s][1], u)
	return stay, all - stay
}

// hold books what a pass takes when it starts.
func (l *packedLowering) hold(op program.OpID, rank int, p packing.Pass) {
	s, u := rank%len(l.p.Stages), l.unit(p)
	stay, pass := l.kept(s, u)
	if !p.Backward {
		l.memory(op, rank, true, stay+pass)
		return
	}
	grads := int64(0)
	for _, c := range u.Slices {
		if c.X0 > 0 && int(c.X1) == l.v.Job.Lengths[c.Sample] {
			grads += upTo(l.bytes[s][1], c.X1, u.Width)
		}
	}
	l.memory(op, rank, true, pass+grads)
}

// free books what is over when it ends.
func (l *packedLowering) free(op program.OpID, rank int, p packing.Pass) {
	s, u := rank%len(l.p.Stages), l.unit(p)
	stay, pass := l.kept(s, u)
	if !p.Backward {
		l.memory(op, rank, false, -pass)
		return
	}
	grads := int64(0)
	for _, c := range u.Slices {
		if c.X0 > 0 || int(c.X1) < l.v.Job.Lengths[c.Sample] {
			grads += upTo(l.bytes[s][1], c.X1, u.Width) - upTo(l.bytes[s][1], c.X0, u.Width)
		}
	}
	l.memory(op, rank, false, -stay-pass-grads)
}
