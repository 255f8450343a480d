//go:build invariants

package engine

import (
	"fmt"

	"orrery/sim/program"
	"orrery/sim/timeline"
)

// checkInvariants holds a timeline to what is true of every run: no op starts
// before its lane is free or a dependency has ended, none ends before it starts,
// and each starts exactly when its blocker ends, or at zero.
func checkInvariants(t *timeline.Timeline) error {
	p := t.Program
	if err := p.Check(); err != nil {
		return err
	}
	lanes := t.LaneEnds(len(p.Lanes))
	for i := range program.OpID(p.Len()) {
		free := &lanes[p.Lane[i]]
		if t.Start[i] < free.At {
			return fmt.Errorf("engine: op %d starts at %v, within op %d of its lane, which ends at %v", i, t.Start[i], free.Op, free.At)
		}
		for _, d := range p.Deps(i) {
			if t.Start[i] < t.End[d] {
				return fmt.Errorf("engine: op %d starts at %v, before its dependency %d ends at %v", i, t.Start[i], d, t.End[d])
			}
		}
		if t.End[i] < t.Start[i] {
			return fmt.Errorf("engine: op %d ends at %v, before it starts at %v", i, t.End[i], t.Start[i])
		}
		if by := t.Blocker[i]; by == program.None && t.Start[i] != 0 || by != program.None && t.End[by] != t.Start[i] {
			return fmt.Errorf("engine: op %d starts at %v, but its blocker %d does not end then", i, t.Start[i], by)
		}
		free.At, free.Op = t.End[i], i
	}
	return nil
}
