package report

import (
	"fmt"
	"io"

	"orrery/sim"
	"orrery/sim/program"
	"orrery/sim/trace"
	"orrery/sim/unit"
)

// Perfetto writes the timeline for ui.perfetto.dev.
func Perfetto(w io.Writer, run *sim.Run) error { return trace.Perfetto(w, Trace(run)) }

// Chrome writes the timeline for chrome://tracing, gzipped.
func Chrome(w io.Writer, run *sim.Run) error { return trace.Chrome(w, Trace(run)) }

// Trace turns a run into tracks: a process for each rank, a thread for each of
// its lanes, a slice for each op, an arrow for each send, and a counter of each
// rank's memory.
func Trace(run *sim.Run) *trace.Trace {
	p, tl := run.Program, run.Timeline
	t := &trace.Trace{}
	for r := range run.Lanes {
		t.Ranks = append(t.Ranks, trace.Rank{Name: run.RankName(r)})
	}
	for _, l := range p.Lanes {
		t.Lanes = append(t.Lanes, trace.Lane{Rank: int(l.Rank), Name: l.Name})
	}
	slice := make([]int, p.Len())
	for id := range program.OpID(p.Len()) {
		w := p.Works[p.Work[id]]
		tag := run.Tag(id)
		slice[id] = len(t.Slices)
		s := trace.Slice{Lane: int(p.Lane[id]), Start: tl.Start[id], End: tl.End[id], Name: w.Name, Kind: w.Kind.String()}
		if tag.Microbatch >= 0 {
			s.Name = fmt.Sprintf("%s mb %d", w.Name, tag.Microbatch)
			s.Args = []trace.Arg{{Key: "stage", Value: int64(tag.Stage)}, {Key: "microbatch", Value: int64(tag.Microbatch)}}
		}
		t.Slices = append(t.Slices, s)
	}
	for id := range program.OpID(p.Len()) {
		for _, d := range p.Deps(id) {
			if p.Works[p.Work[d]].Kind == program.Send {
				t.Flows = append(t.Flows, trace.Flow{From: slice[d], To: slice[id]})
			}
		}
	}
	for r := range run.Step.Lanes {
		for _, pt := range run.MemoryCurve(r) {
			t.Counters = append(t.Counters, trace.Counter{Rank: r, Name: "memory GiB", At: pt.At, Value: pt.Bytes / float64(unit.GiB)})
		}
	}
	return t
}
