// Package timeline holds when each op of a program started and ended, and what
// held it up.
package timeline

import (
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

	scratch []program.OpID
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

// Scratch is n ops, all None, for an executor's use; it is kept with the
// timeline so that a reused timeline costs no allocation.
func (t *Timeline) Scratch(n int) []program.OpID {
	if cap(t.scratch) < n {
		t.scratch = make([]program.OpID, n)
	}
	s := t.scratch[:n]
	for i := range s {
		s[i] = program.None
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
	for i, j := 0, len(out)-1; i < j; i, j = i+1, j-1 {
		out[i], out[j] = out[j], out[i]
	}
	return out
}

// Busy is the time that each lane runs ops.
func (t *Timeline) Busy() []unit.Time {
	busy := make([]unit.Time, len(t.Program.Lanes))
	for i, l := range t.Program.Lane {
		busy[l] += t.End[i] - t.Start[i]
	}
	return busy
}
