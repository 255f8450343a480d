package engine_test

import (
	"orrery/sim/program"
	"orrery/sim/unit"
)

// Works of a pipeline program, and their durations.
const (
	workF program.WorkID = iota
	workB
	workSend
)

var pipelineTimes = []unit.Time{unit.Millisecond, 2 * unit.Millisecond, 100 * unit.Microsecond}

// pipelineLanes is the number of lanes of a stage: compute, send forward, send
// backward.
const pipelineLanes = 3

// oneF1B is a step of one-forward-one-backward over p stages and m microbatches
// (Narayanan et al., arXiv 2104.04473, section 2.2.1): each stage runs up to
// p-s-1 forwards ahead, then alternates. Every pass between stages is sent on a
// lane of its own. It reuses the memory of prog.
func oneF1B(prog *program.Program, p, m int) {
	sends := 2 * (p - 1) * m
	n := 2*p*m + sends
	*prog = program.Program{
		Lane: sized(prog.Lane, n), Work: sized(prog.Work, n),
		Dep: sized(prog.Dep, n+sends), DepAt: append(sized(prog.DepAt, n+1), 0),
		Lanes: prog.Lanes[:0], Works: prog.Works[:0],
	}
	prog.AddWork(program.Work{Name: "F", Kind: program.Forward})
	prog.AddWork(program.Work{Name: "B", Kind: program.Backward})
	prog.AddWork(program.Work{Name: "send", Kind: program.Send})
	for s := range int32(p) {
		prog.AddLane(s, "compute")
		prog.AddLane(s, "send forward")
		prog.AddLane(s, "send backward")
	}
	const none = program.None
	fIn := make([]program.OpID, p*m) // what F of (stage, microbatch) waits for
	bIn := make([]program.OpID, p*m)
	f, b := make([]int, p), make([]int, p) // passes done
	for i := range fIn {
		fIn[i], bIn[i] = none, none
	}
	for left := 2 * p * m; left > 0; {
		for s := range p { // a sweep: each stage goes on until its input is missing
			lane := program.LaneID(s * pipelineLanes)
			for b[s] < m {
				if f[s] < m && f[s]-b[s] < p-s { // forward first while few are in flight
					i := f[s]
					in := fIn[s*m+i]
					if s > 0 && in == none {
						break
					}
					op := prog.Add(lane, workF, in)
					if s+1 < p {
						fIn[(s+1)*m+i] = prog.Add(lane+1, workSend, op)
					} else {
						bIn[s*m+i] = op
					}
					f[s]++
				} else {
					i := b[s]
					in := bIn[s*m+i]
					if in == none {
						break
					}
					op := prog.Add(lane, workB, in)
					if s > 0 {
						bIn[(s-1)*m+i] = prog.Add(lane+2, workSend, op)
					}
					b[s]++
				}
				left--
			}
		}
	}
}

// sized is an empty slice with room for n.
func sized[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, 0, n)
	}
	return s[:0]
}
