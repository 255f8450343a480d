package engine_test

import (
	"testing"

	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

type laneEnd struct {
	at unit.Time
	op program.OpID
}

func relaxB(p *program.Program, dur []unit.Time, t *timeline.Timeline, free []laneEnd) int {
	n := p.Len()
	t.Reset(p)
	for i := range free {
		free[i] = laneEnd{0, program.None}
	}
	start, end, blocker := t.Start[:n], t.End[:n], t.Blocker[:n]
	lane, work, depAt := p.Lane[:n], p.Work[:n], p.DepAt[1:n+1]
	dep := p.Dep
	longest := unit.Time(0)
	first := uint32(0)
	for i, l := range lane {
		w := work[i]
		last := uint32(depAt[i])
		if uint(l) >= uint(len(free)) || uint(w) >= uint(len(dur)) || first > last || last > uint32(len(dep)) {
			return i
		}
		f := &free[l]
		at, by := f.at, f.op
		if at == 0 {
			by = program.None
		}
		for _, d := range dep[first:last] {
			if uint(d) >= uint(i) {
				return i
			}
			if e := end[d]; e > at {
				at, by = e, d
			}
		}
		first = last
		e := at + dur[w]
		start[i], end[i], blocker[i] = at, e, by
		f.at, f.op = e, program.OpID(i)
		longest |= e
	}
	if longest < 0 {
		return 1
	}
	return -1
}

func relaxEnds(p *program.Program, dur []unit.Time, end []unit.Time, free []unit.Time) int {
	n := p.Len()
	clear(free)
	end = end[:n]
	lane, work, depAt := p.Lane[:n], p.Work[:n], p.DepAt[1:n+1]
	dep := p.Dep
	longest := unit.Time(0)
	first := uint32(0)
	for i, l := range lane {
		w := work[i]
		last := uint32(depAt[i])
		if uint(l) >= uint(len(free)) || uint(w) >= uint(len(dur)) || first > last || last > uint32(len(dep)) {
			return i
		}
		at := free[l]
		for _, d := range dep[first:last] {
			if uint(d) >= uint(i) {
				return i
			}
			at = max(at, end[d])
		}
		first = last
		e := at + dur[w]
		end[i] = e
		free[l] = e
		longest |= e
	}
	if longest < 0 {
		return 1
	}
	return -1
}

func BenchmarkRelaxB(b *testing.B) {
	var prog program.Program
	var tl timeline.Timeline
	oneF1B(&prog, 64, 1024)
	free := make([]laneEnd, len(prog.Lanes))
	for b.Loop() {
		if relaxB(&prog, pipelineTimes, &tl, free) >= 0 {
			b.Fatal()
		}
	}
	opsPerSecond(b, prog.Len())
}
func BenchmarkRelaxEnds(b *testing.B) {
	var prog program.Program
	var tl timeline.Timeline
	oneF1B(&prog, 64, 1024)
	tl.Reset(&prog)
	free := make([]unit.Time, len(prog.Lanes))
	for b.Loop() {
		if relaxEnds(&prog, pipelineTimes, tl.End, free) >= 0 {
			b.Fatal()
		}
	}
	opsPerSecond(b, prog.Len())
}
