// Package engine runs programs: relax in one pass over ops in topological
// order, events with a heap for what shares resources at a rate. Where nothing
// contends both give bit-identical timelines.
package engine

import (
	"errors"
	"fmt"
	"math"

	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// ErrOverflow: the timeline is longer than simulated time can count (106 days).
var ErrOverflow = errors.New("engine: simulated time overflows")

// Relax runs each op as soon as its lane and its dependencies allow, by the
// longest path in ID order. dur holds a duration for each WorkID. The slices of
// t are reused. The blocker of an op is its lane's previous op if that ended
// last, else the first dependency that did; None for ops that start at zero.
func Relax(p *program.Program, dur []unit.Time, t *timeline.Timeline) error {
	if err := checkDurations(p, dur); err != nil {
		return err
	}
	n := p.Len()
	t.Reset(p)
	start, end, blocker := t.Start[:n], t.End[:n], t.Blocker[:n]
	lane, work, depAt := p.Lane[:n], p.Work[:n], p.DepAt
	if n > 0 {
		depAt = depAt[:n+1]
	}
	dep := p.Dep
	free := t.Scratch(len(p.Lanes)) // last op of each lane, None at first
	longest := unit.Time(0)
	first := int32(0)
	for i := range lane {
		l := lane[i]
		at, by := unit.Time(0), program.None
		if prev := free[l]; prev >= 0 {
			if e := end[prev]; e > at {
				at, by = e, prev
			}
		}
		last := depAt[i+1]
		for _, d := range dep[first:last] {
			if e := end[d]; e > at {
				at, by = e, d
			}
		}
		first = last
		e := at + dur[work[i]]
		start[i], end[i], blocker[i] = at, e, by
		free[l] = program.OpID(i)
		longest |= e // a negative end stays negative
	}
	if longest < 0 {
		return ErrOverflow
	}
	return nil
}

// checkDurations refuses what would make times run backwards, or sums that
// could overflow unseen: no duration is longer than half the range.
func checkDurations(p *program.Program, dur []unit.Time) error {
	if len(dur) < len(p.Works) {
		return fmt.Errorf("engine: %d durations for %d kinds of work", len(dur), len(p.Works))
	}
	for i, d := range dur {
		if d < 0 || d > math.MaxInt64/2 {
			return fmt.Errorf("engine: work %d has a duration of %d ps", i, d)
		}
	}
	return nil
}
