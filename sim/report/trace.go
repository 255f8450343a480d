package report

import (
	"fmt"
	"io"

	"orrery/sim"
	"orrery/sim/program"
	"orrery/sim/trace"
)

// Perfetto writes the timeline for ui.perfetto.dev.
func Perfetto(w io.Writer, run *sim.Run) error { return trace.Perfetto(w, Trace(run)) }

// Chrome writes the timeline for chrome://tracing, gzipped.
func Chrome(w io.Writer, run *sim.Run) error { return trace.Chrome(w, Trace(run)) }

// Trace turns a run into tracks, with the stage and microbatch of each op.
func Trace(run *sim.Run) *trace.Trace {
	label := func(id program.OpID) (string, []trace.Arg) {
		name, tag := run.Program.Works[run.Program.Work[id]].Name, run.Tag(id)
		if tag.Microbatch < 0 {
			return name, nil
		}
		return fmt.Sprintf("%s mb %d", name, tag.Microbatch),
			[]trace.Arg{{Key: "stage", Value: int64(tag.Stage)}, {Key: "microbatch", Value: int64(tag.Microbatch)}}
	}
	var classes []trace.MemoryClass
	for _, m := range run.Result.Modules {
		classes = append(classes, trace.MemoryClass{Class: m.MemoryClass(), Name: m.Module + " GiB"})
	}
	return trace.FromTimeline(run.Timeline, trace.Options{RankName: run.RankName, Label: label, HeldBytes: run.HeldBytes(), Classes: classes})
}
