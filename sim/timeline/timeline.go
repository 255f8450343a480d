// Package timeline holds when each op of a program started and ended, and what
// held it up, and reads from that what people ask: busy and idle lanes, the
// critical path, exposed communication, memory.
package timeline

import (
	"slices"

	"orrery/sim/program"
	"orrery/sim/unit"
)

// Timeline is the answer of an executor for one program.
type Timeline struct {
	Program    *program.Program
	Start, End []unit.Time
	// Blocker is the op whose end set an op's start (None where it started at
	// zero): following it from the last op gives the critical path.
	Blocker []program.OpID

	lanes []LaneEnd
}

// LaneEnd is how far a lane has come: when it is free, and its last op.
type LaneEnd struct {
	At unit.Time
	Op program.OpID
}

// Reset makes room for a program's ops; memory is reused where it suffices.
func (t *Timeline) Reset(p *program.Program) {
	n := p.Len()
	t.Program = p
	if cap(t.Start) < n || cap(t.End) < n || cap(t.Blocker) < n {
		t.Start, t.End, t.Blocker = make([]unit.Time, n), make([]unit.Time, n), make([]program.OpID, n)
	}
	t.Start, t.End, t.Blocker = t.Start[:n], t.End[:n], t.Blocker[:n]
}

// LaneEnds is an entry for each of n lanes, free since zero, for an executor's
// use; it is kept with the timeline so that a reused timeline costs no
// allocation.
func (t *Timeline) LaneEnds(n int) []LaneEnd {
	if cap(t.lanes) < n {
		t.lanes = make([]LaneEnd, n)
	}
	s := t.lanes[:n]
	for i := range s {
		s[i] = LaneEnd{Op: program.None}
	}
	return s
}

// Makespan is the end of the last op.
func (t *Timeline) Makespan() unit.Time {
	var m unit.Time
	for _, e := range t.End {
		m = max(m, e)
	}
	return m
}

// CriticalPath is the chain of ops that set the makespan, from the first to
// the last. Of several ops that end last, the one with the lowest ID ends it.
func (t *Timeline) CriticalPath() []program.OpID {
	last := program.None
	for i, e := range t.End {
		if last == program.None || e > t.End[last] {
			last = program.OpID(i)
		}
	}
	var out []program.OpID
	for id := last; id != program.None; id = t.Blocker[id] {
		out = append(out, id)
	}
	slices.Reverse(out)
	return out
}

// ranks is one more than the highest rank that owns a lane or has memory.
func (t *Timeline) ranks() int {
	n := int32(0)
	for _, l := range t.Program.Lanes {
		n = max(n, l.Rank+1)
	}
	for _, m := range t.Program.Mem {
		n = max(n, m.Rank+1)
	}
	return int(n)
}
