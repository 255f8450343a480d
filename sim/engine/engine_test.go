package engine_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/engine"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// anyProgram is a random program in topological order, with durations; many of
// them are zero or equal, so that ends tie.
func anyProgram(t *rapid.T) (*program.Program, []unit.Time) {
	p := &program.Program{}
	lanes := rapid.IntRange(1, 5).Draw(t, "lanes")
	for l := range lanes {
		p.AddLane(int32(l/2), "lane")
	}
	var dur []unit.Time
	for range rapid.IntRange(1, 4).Draw(t, "works") {
		p.AddWork(program.Work{})
		dur = append(dur, unit.Time(rapid.IntRange(0, 4).Draw(t, "duration")))
	}
	for i := range rapid.IntRange(0, 60).Draw(t, "ops") {
		var deps []program.OpID
		if i > 0 {
			deps = rapid.SliceOfN(rapid.Map(rapid.IntRange(0, i-1), func(d int) program.OpID { return program.OpID(d) }), 0, 3).Draw(t, "deps")
		}
		p.Add(program.LaneID(rapid.IntRange(0, lanes-1).Draw(t, "lane")),
			program.WorkID(rapid.IntRange(0, len(dur)-1).Draw(t, "work")), deps...)
	}
	return p, dur
}

// predecessors lists what each op waits for in the order of the tie rule: the
// op before it in its lane, then its dependencies.
func predecessors(p *program.Program, op program.OpID) []program.OpID {
	for i := op - 1; i >= 0; i-- {
		if p.Lane[i] == p.Lane[op] {
			return append([]program.OpID{i}, p.Deps(op)...)
		}
	}
	return p.Deps(op)
}

// TestRelaxIsTheLongestPath: each op starts at the latest end of what it waits
// for, and its blocker is the first that ends then.
func TestRelaxIsTheLongestPath(t *testing.T) {
	var tl timeline.Timeline // reused from program to program
	rapid.Check(t, func(t *rapid.T) {
		p, dur := anyProgram(t)
		require.NoError(t, engine.Relax(p, dur, &tl))
		for i := range program.OpID(p.Len()) {
			start, by := unit.Time(0), program.None
			for _, d := range predecessors(p, i) {
				if tl.End[d] > start {
					start, by = tl.End[d], d
				}
			}
			require.Equal(t, start, tl.Start[i])
			require.Equal(t, start+dur[p.Work[i]], tl.End[i])
			require.Equal(t, by, tl.Blocker[i])
		}
	})
}

// TestEventsEqualRelax: where nothing is shared both executors agree to the bit,
// whatever they ran before.
func TestEventsEqualRelax(t *testing.T) {
	var relaxed, events timeline.Timeline
	var x engine.Executor
	rapid.Check(t, func(t *rapid.T) {
		p, dur := anyProgram(t)
		require.NoError(t, engine.Relax(p, dur, &relaxed))
		require.NoError(t, x.Run(p, dur, engine.Resources{}, &events))
		requireSame(t, &relaxed, &events)
	})
}

func requireSame(t require.TestingT, want, got *timeline.Timeline) {
	require.Equal(t, want.Start, got.Start)
	require.Equal(t, want.End, got.End)
	require.Equal(t, want.Blocker, got.Blocker)
}

// TestPipelineMakespan: with free sends, one-forward-one-backward over equal
// stages takes (m + p - 1) forwards and backwards (Narayanan et al., arXiv
// 2104.04473, section 2.2.1), in both executors.
func TestPipelineMakespan(t *testing.T) {
	for _, size := range [][2]int{{1, 1}, {1, 7}, {4, 4}, {4, 9}, {8, 64}, {16, 5}} {
		stages, m := size[0], size[1]
		var p program.Program
		oneF1B(&p, stages, m)
		require.NoError(t, p.Check())
		dur := []unit.Time{3, 7, 0}
		var a, b timeline.Timeline
		require.NoError(t, engine.Relax(&p, dur, &a))
		require.NoError(t, engine.Events(&p, dur, engine.Resources{}, &b))
		requireSame(t, &a, &b)
		require.EqualValues(t, (m+stages-1)*10, a.Makespan())
	}
}

// TestIllFormed: programs with arbitrary numbers are refused exactly where Check
// refuses them, without a panic.
func TestIllFormed(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, dur := anyProgram(t)
		harm := func(name string, s []int32) {
			if len(s) > 0 && rapid.Bool().Draw(t, name) {
				s[rapid.IntRange(0, len(s)-1).Draw(t, name+" at")] = rapid.Int32Range(-2, int32(p.Len())+2).Draw(t, name+" is")
			}
		}
		harm("offset", p.DepAt)
		for _, s := range []struct {
			name string
			n    int
			set  func(i int, v int32)
		}{
			{"lane", len(p.Lane), func(i int, v int32) { p.Lane[i] = program.LaneID(v) }},
			{"work", len(p.Work), func(i int, v int32) { p.Work[i] = program.WorkID(v) }},
			{"dep", len(p.Dep), func(i int, v int32) { p.Dep[i] = program.OpID(v) }},
		} {
			if one := []int32{0}; s.n > 0 {
				at := rapid.IntRange(0, s.n-1).Draw(t, s.name+" at")
				one[0] = -7
				if harm(s.name, one); one[0] != -7 {
					s.set(at, one[0])
				}
			}
		}
		if rapid.Bool().Draw(t, "short") && p.Len() > 0 {
			p.Work = p.Work[:p.Len()-1]
		}
		var tl timeline.Timeline
		want := p.Check()
		for _, err := range []error{engine.Relax(p, dur, &tl), engine.Events(p, dur, engine.Resources{}, &tl)} {
			if want == nil {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, want.Error())
			}
		}
	})
}

// TestDurationsOutOfRange: both executors refuse durations below zero and sums
// that 64 bits cannot hold, and take the longest that they can.
func TestDurationsOutOfRange(t *testing.T) {
	const most = math.MaxInt64
	chain := func(n int) *program.Program {
		p := &program.Program{}
		l := p.AddLane(0, "compute")
		for i := range n {
			p.Add(l, p.AddWork(program.Work{}), program.OpID(i-1))
		}
		return p
	}
	for _, c := range []struct {
		dur  []unit.Time
		want string
	}{
		{[]unit.Time{1, -1}, "engine: work 1 has a duration of -1 ps"},
		{[]unit.Time{most}, "engine: work 0: engine: simulated time overflows"},
		{[]unit.Time{most - 1, 1}, ""},
		{[]unit.Time{most - 1, 2}, "engine: simulated time overflows"},
		{[]unit.Time{most - 1, most - 1, most - 1}, "engine: simulated time overflows"},
		{[]unit.Time{most / 2, most / 2, 1}, ""},
		{[]unit.Time{most / 2, most / 2, 2}, "engine: simulated time overflows"},
	} {
		p := chain(len(c.dur))
		var tl timeline.Timeline
		for _, err := range []error{engine.Relax(p, c.dur, &tl), engine.Events(p, c.dur, engine.Resources{}, &tl)} {
			if c.want == "" {
				require.NoError(t, err)
			} else {
				require.EqualError(t, err, c.want)
			}
		}
		require.Error(t, engine.Relax(p, c.dur[1:], &tl), "too few durations")
	}
}

// TestNothingIsAllocatedAgain: a second run in the same memory allocates
// nothing.
func TestNothingIsAllocatedAgain(t *testing.T) {
	var p program.Program
	oneF1B(&p, 4, 16)
	var tl timeline.Timeline
	var x engine.Executor
	slow := engine.Resources{Slowdowns: []engine.Slowdown{{Rank: 1, Factor: 1.5}}}
	require.Zero(t, testing.AllocsPerRun(10, func() { _ = engine.Relax(&p, pipelineTimes, &tl) }))
	require.Zero(t, testing.AllocsPerRun(10, func() { _ = x.Run(&p, pipelineTimes, slow, &tl) }))
}
