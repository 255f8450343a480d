package timeline

import (
	"cmp"
	"slices"

	"orrery/sim/program"
	"orrery/sim/unit"
)

// Memory is what the memory events of a program make of one rank's memory,
// beside whatever it holds from the start.
type Memory struct {
	Curve []MemoryPoint // one point for each instant in which it changes
	// Peak is the first point that no other exceeds; At zero by no op where the
	// rank never holds more than at the start.
	Peak        MemoryPoint
	PeakByClass []int64 // bytes at the peak, by class of the program's events
}

// MemoryPoint is what a rank holds from a time on.
type MemoryPoint struct {
	At    unit.Time
	Op    program.OpID // the last op that changed it in this instant
	Bytes int64
}

// Memory is the memory of each rank over the run. At one instant frees come
// before allocations (an op's inputs go before the next op's outputs come, as a
// stream-ordered allocator reuses them), then events count in order of ops. An
// allocation and its free in the same instant leave no trace.
func (t *Timeline) Memory() []Memory {
	return t.memory(func(program.MemEvent) bool { return true })
}

// MemoryOf is Memory of the events of one class alone.
func (t *Timeline) MemoryOf(class uint8) []Memory {
	return t.memory(func(m program.MemEvent) bool { return m.Class == class })
}

func (t *Timeline) memory(of func(program.MemEvent) bool) []Memory {
	p := t.Program
	classes := 0
	events := make([]memoryEvent, 0, len(p.Mem))
	for _, m := range p.Mem {
		if !of(m) {
			continue
		}
		at := t.End[m.Op]
		if m.AtStart {
			at = t.Start[m.Op]
		}
		events = append(events, memoryEvent{at, m})
		classes = max(classes, int(m.Class)+1)
	}
	slices.SortStableFunc(events, func(a, b memoryEvent) int {
		return cmp.Or(cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.at, b.at), order(a.Bytes >= 0, b.Bytes >= 0), cmp.Compare(a.Op, b.Op))
	})
	out := make([]Memory, t.ranks())
	for r := range out {
		out[r].Peak.Op = program.None
		out[r].PeakByClass = make([]int64, classes)
	}
	held := make([]int64, classes)
	for len(events) > 0 {
		rank := events[0].Rank
		n := slices.IndexFunc(events, func(e memoryEvent) bool { return e.Rank != rank })
		if n < 0 {
			n = len(events)
		}
		clear(held)
		out[rank].sweep(events[:n], held)
		events = events[n:]
	}
	return out
}

type memoryEvent struct {
	at unit.Time
	program.MemEvent
}

// sweep runs over one rank's events in order; held is by class, zero at first.
func (m *Memory) sweep(events []memoryEvent, held []int64) {
	sum := int64(0)
	for i, e := range events {
		held[e.Class] += e.Bytes
		sum += e.Bytes
		if i+1 < len(events) && events[i+1].at == e.at {
			continue
		}
		pt := MemoryPoint{e.at, e.Op, sum}
		m.Curve = append(m.Curve, pt)
		if sum > m.Peak.Bytes {
			m.Peak = pt
			copy(m.PeakByClass, held)
		}
	}
}

// order puts false before true.
func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
