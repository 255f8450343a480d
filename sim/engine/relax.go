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

// ErrOverflow says that the timeline is longer than simulated time can count (106 days).
var ErrOverflow = errors.New("engine: simulated time overflows")

// Relax runs each op as soon as its lane and its dependencies allow, by the
// longest path in ID order. dur holds a duration for each WorkID. The slices of
// t are reused. The blocker of an op is its lane's previous op if that ended
// last, else the first dependency that did; None for ops that start at zero.
//
// A program that is not in topological order, or an ID out of range, is an
// error, as is a negative duration; a sum of durations that unit.Time cannot
// hold is [ErrOverflow]. After an error t holds nothing of use.
func Relax(p *program.Program, dur []unit.Time, t *timeline.Timeline) error {
	if err := checkInput(p, dur); err != nil {
		return err
	}
	t.Reset(p)
	n := p.Len()
	if n == 0 {
		return nil
	}
	start, end, blocker := t.Start[:n], t.End[:n], t.Blocker[:n]
	lane, work, depEnd, dep := p.Lane[:n], p.Work[:n], p.DepAt[1:n+1], p.Dep
	lanes := t.LaneEnds(len(p.Lanes))
	longest, first := unit.Time(0), uint(0)
	for i, l := range lane {
		w, last := work[i], uint(depEnd[i])
		// These stand in for the compiler's own checks and cost no more.
		if uint(l) >= uint(len(lanes)) || uint(w) >= uint(len(dur)) || first > last || last > uint(len(dep)) {
			return illFormed(p, i)
		}
		free := &lanes[l]
		at, by := free.At, free.Op
		if at == 0 {
			by = program.None
		}
		for _, d := range dep[first:last] {
			if uint(d) >= uint(i) {
				return illFormed(p, i)
			}
			if e := end[d]; e > at {
				at, by = e, d
			}
		}
		first = last
		e := at + dur[w]
		start[i], end[i], blocker[i] = at, e, by
		free.At, free.Op = e, program.OpID(i)
		longest |= e // at and dur are not negative: a sum that overflows is
	}
	if longest < 0 {
		return ErrOverflow
	}
	return checkInvariants(t)
}

// checkInput refuses lengths that do not match and durations that would make
// time run backwards. A price that saturated (unit.Seconds) is too long.
func checkInput(p *program.Program, dur []unit.Time) error {
	if n := p.Len(); len(p.Work) != n || n > 0 && (len(p.DepAt) != n+1 || p.DepAt[0] != 0) {
		return p.Check()
	}
	if len(dur) < len(p.Works) {
		return fmt.Errorf("engine: %d durations for %d kinds of work", len(dur), len(p.Works))
	}
	for i, d := range dur {
		if d < 0 {
			return fmt.Errorf("engine: work %d has a duration of %d ps", i, d)
		}
		if d == math.MaxInt64 {
			return fmt.Errorf("engine: work %d: %w", i, ErrOverflow)
		}
	}
	return nil
}

// illFormed tells what is wrong with a program at op i.
func illFormed(p *program.Program, i int) error {
	if err := p.Check(); err != nil {
		return err
	}
	return fmt.Errorf("engine: op %d cannot run", i)
}
