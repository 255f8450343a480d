package engine

import (
	"cmp"
	"fmt"
	"math"
	"slices"

	"orrery/sim/unit"
)

// Slowdown stretches what a rank does in a window of time: a straggler, a
// throttled GPU, a pause.
type Slowdown struct {
	Rank int32
	// From and Until bound the window; an Until of zero means for good.
	From, Until unit.Time
	// Factor is how many times as long work takes, above zero; an infinite
	// factor stops the rank until the window ends.
	Factor float64
}

// slowdowns are windows in order of rank, then time.
type slowdowns []Slowdown

// set takes windows over. Those of one rank may not overlap.
func (s *slowdowns) set(all []Slowdown) error {
	own := (*s)[:0]
	for _, w := range all {
		if w.Until == 0 {
			w.Until = math.MaxInt64
		}
		if w.Rank < 0 || !(w.Factor > 0) || w.From < 0 || w.Until <= w.From || math.IsInf(w.Factor, 1) && w.Until == math.MaxInt64 {
			return fmt.Errorf("engine: rank %d is slowed %g times from %v until %v: want a factor above zero,"+
				" and finite where the window has no end", w.Rank, w.Factor, w.From, w.Until)
		}
		own = append(own, w)
	}
	slices.SortFunc(own, func(a, b Slowdown) int { return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.From, b.From)) })
	for i := 1; i < len(own); i++ {
		if own[i].Rank == own[i-1].Rank && own[i].From < own[i-1].Until {
			return fmt.Errorf("engine: two slowdowns of rank %d overlap at %v", own[i].Rank, own[i].From)
		}
	}
	*s = own
	return nil
}

// end is when a rank has done what takes it d at its own speed from now; it is
// negative where time overflows.
func (s slowdowns) end(rank int32, now, d unit.Time) unit.Time {
	at, _ := slices.BinarySearchFunc(s, rank, func(w Slowdown, r int32) int { return cmp.Compare(w.Rank, r) })
	for _, w := range s[at:] {
		if w.Rank != rank || d == 0 || now+d >= 0 && now+d <= w.From {
			break
		}
		if w.Until <= now || w.Factor == 1 {
			continue
		}
		if now < w.From {
			d -= w.From - now
			now = w.From
		}
		stretched := math.Round(float64(d) * w.Factor)
		if stretched < math.MaxInt64 && unit.Time(stretched) <= w.Until-now {
			return now + unit.Time(stretched)
		}
		if w.Until == math.MaxInt64 {
			return -1
		}
		d = max(d-unit.Time(math.Round(float64(w.Until-now)/w.Factor)), 0)
		now = w.Until
	}
	return now + d
}
