package trace

import (
	"fmt"
	"slices"

	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// Options say what a program does not know about itself. The zero value names
// ranks by number and works by their own names.
type Options struct {
	RankName func(rank int) string
	// Label names an op and adds arguments that tell what it belongs to.
	Label func(program.OpID) (name string, args []Arg)
	// HeldBytes is what each rank holds beside the program's memory events, from
	// the start; it may be shorter than there are ranks.
	HeldBytes []unit.Bytes
	// Classes name counters of their own for classes of memory events.
	Classes []MemoryClass
}

// MemoryClass is a class of memory events with the name of its counter.
type MemoryClass struct {
	Class uint8
	Name  string
}

// MemoryCounter is the name of the counter of a rank's memory, in GiB.
const MemoryCounter = "memory GiB"

// FromTimeline shows a timeline: a process for each rank, a thread for each of
// its lanes, a slice for each op in the order of ops with its number and that of
// its blocker, an arrow from each send to the ops that wait for it, and a counter
// of each rank's memory, with those of named classes of it.
func FromTimeline(tl *timeline.Timeline, o Options) *Trace {
	p := tl.Program
	t := &Trace{Slices: make([]Slice, 0, p.Len())}
	memory := tl.Memory()
	for r := range memory {
		name := fmt.Sprintf("rank %d", r)
		if o.RankName != nil {
			name = o.RankName(r)
		}
		t.Ranks = append(t.Ranks, Rank{name})
	}
	for _, l := range p.Lanes {
		t.Lanes = append(t.Lanes, Lane{int(l.Rank), l.Name})
	}
	for id := range program.OpID(p.Len()) {
		w := &p.Works[p.Work[id]]
		s := Slice{Lane: int(p.Lane[id]), Start: tl.Start[id], End: tl.End[id], Name: w.Name, Kind: w.Kind.String()}
		if o.Label != nil {
			s.Name, s.Args = o.Label(id)
		}
		s.Args = append(slices.Clip(s.Args), Arg{"op", int64(id)})
		if by := tl.Blocker[id]; by != program.None {
			s.Args = append(s.Args, Arg{"blocker", int64(by)})
		}
		t.Slices = append(t.Slices, s)
		for _, d := range p.Deps(id) {
			if p.Works[p.Work[d]].Kind == program.Send {
				t.Flows = append(t.Flows, Flow{From: int(d), To: int(id)})
			}
		}
	}
	for r := range memory {
		held := unit.Bytes(0)
		if r < len(o.HeldBytes) {
			held = o.HeldBytes[r]
		}
		if len(memory[r].Curve) == 0 && held == 0 {
			continue
		}
		t.Counters = append(t.Counters, Counter{Rank: r, Name: MemoryCounter, Value: held.GiB()})
		for _, pt := range memory[r].Curve {
			t.Counters = append(t.Counters, Counter{r, MemoryCounter, pt.At, (held + unit.Bytes(pt.Bytes)).GiB()})
		}
	}
	for _, c := range o.Classes {
		for r, m := range tl.MemoryOf(c.Class) {
			for _, pt := range m.Curve {
				t.Counters = append(t.Counters, Counter{r, c.Name, pt.At, unit.Bytes(pt.Bytes).GiB()})
			}
		}
	}
	return t
}
