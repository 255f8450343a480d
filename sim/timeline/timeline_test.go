package timeline_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/engine"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// anyRun is a random program that has run. Every third lane of a rank is a
// compute lane; times are a few picoseconds, so that tests can look at each.
func anyRun(t *rapid.T) *timeline.Timeline {
	p := &program.Program{}
	lanes := rapid.IntRange(1, 6).Draw(t, "lanes")
	for l := range lanes {
		p.AddLane(int32(l/3), []string{"compute", "tp", "dp"}[l%3])
	}
	dur := make([]unit.Time, rapid.IntRange(1, 5).Draw(t, "works"))
	for i := range dur {
		p.AddWork(program.Work{Kind: rapid.SampledFrom([]program.Kind{program.Forward, program.TPComm, program.GradReduce}).Draw(t, "kind")})
		dur[i] = unit.Time(rapid.IntRange(0, 4).Draw(t, "duration"))
	}
	for i := range rapid.IntRange(0, 30).Draw(t, "ops") {
		var deps []program.OpID
		if i > 0 && rapid.Bool().Draw(t, "depends") {
			deps = append(deps, program.OpID(rapid.IntRange(0, i-1).Draw(t, "on")))
		}
		op := p.Add(program.LaneID(rapid.IntRange(0, lanes-1).Draw(t, "lane")), program.WorkID(rapid.IntRange(0, len(dur)-1).Draw(t, "work")), deps...)
		for range rapid.IntRange(0, 2).Draw(t, "events") {
			p.Mem = append(p.Mem, program.MemEvent{
				Op: op, Rank: p.Lanes[p.Lane[op]].Rank, Class: uint8(rapid.IntRange(0, 2).Draw(t, "class")),
				AtStart: rapid.Bool().Draw(t, "at start"), Bytes: int64(rapid.IntRange(-9, 9).Draw(t, "bytes")),
			})
		}
	}
	tl := &timeline.Timeline{}
	require.NoError(t, engine.Relax(p, dur, tl))
	return tl
}

// TestCriticalPath: the path starts at zero, has no gaps, and is as long as the
// run; no run is shorter than its busiest lane.
func TestCriticalPath(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tl := anyRun(t)
		path := tl.CriticalPath()
		now := unit.Time(0)
		for _, op := range path {
			require.Equal(t, now, tl.Start[op])
			now = tl.End[op]
		}
		require.Equal(t, tl.Makespan(), now)
		require.Equal(t, tl.Program.Len() > 0, len(path) > 0)
		busy := make([]unit.Time, len(tl.Program.Lanes))
		for op, lane := range tl.Program.Lane {
			busy[lane] += tl.End[op] - tl.Start[op]
			require.LessOrEqual(t, busy[lane], tl.Makespan())
		}
	})
}

// TestMemoryByTheInstant compares the sweep with adding up, for each instant,
// all events until then.
func TestMemoryByTheInstant(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tl := anyRun(t)
		p := tl.Program
		for rank, got := range tl.Memory() {
			held := func(until unit.Time, class int) (sum int64) {
				for _, m := range p.Mem {
					at := tl.End[m.Op]
					if m.AtStart {
						at = tl.Start[m.Op]
					}
					if int(m.Rank) == rank && at <= until && (class < 0 || int(m.Class) == class) {
						sum += m.Bytes
					}
				}
				return sum
			}
			now, peak := 0, int64(0)
			for at := range tl.Makespan() + 1 {
				want := held(at, -1)
				if now < len(got.Curve) && got.Curve[now].At == at {
					require.Equal(t, want, got.Curve[now].Bytes)
					op := got.Curve[now].Op
					require.True(t, tl.Start[op] == at || tl.End[op] == at)
					now++
				} else if now > 0 {
					require.Equal(t, want, got.Curve[now-1].Bytes, "a change at %d is missing", at)
				} else {
					require.Zero(t, want)
				}
				if want > peak {
					peak = want
					require.GreaterOrEqual(t, got.Peak.Bytes, want)
				}
			}
			require.Len(t, got.Curve, now, "a point is out of order")
			require.Equal(t, peak, got.Peak.Bytes)
			for class, b := range got.PeakByClass {
				if got.Peak.Op == program.None {
					require.Zero(t, b)
				} else {
					require.Equal(t, held(got.Peak.At, class), b)
				}
			}
		}
	})
}

// TestMemoryOfOneInstant: two microbatches of 100 bytes follow each other; the
// first is freed when the second comes, so the rank never holds both.
func TestMemoryOfOneInstant(t *testing.T) {
	p := &program.Program{}
	l, w := p.AddLane(0, "compute"), p.AddWork(program.Work{})
	for range 2 {
		op := p.Add(l, w)
		p.Mem = append(p.Mem, program.MemEvent{Op: op, AtStart: true, Bytes: 100, Class: 1}, program.MemEvent{Op: op, Bytes: -100, Class: 1})
	}
	var tl timeline.Timeline
	require.NoError(t, engine.Relax(p, []unit.Time{5}, &tl))
	require.Equal(t, []timeline.Memory{{
		Curve:       []timeline.MemoryPoint{{0, 0, 100}, {5, 1, 100}, {10, 1, 0}},
		Peak:        timeline.MemoryPoint{At: 0, Op: 0, Bytes: 100},
		PeakByClass: []int64{0, 100},
	}}, tl.Memory())
}

// The memory of each class alone adds up to the memory of all.
func TestMemoryOfClasses(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &program.Program{}
		lane := p.AddLane(0, "compute")
		w := p.AddWork(program.Work{})
		n := rapid.IntRange(1, 8).Draw(t, "ops")
		tl := timeline.Timeline{Program: p}
		for i := range n {
			op := p.Add(lane, w)
			tl.Start, tl.End = append(tl.Start, unit.Time(2*i)), append(tl.End, unit.Time(2*i+1))
			for range rapid.IntRange(0, 3).Draw(t, "events") {
				p.Mem = append(p.Mem, program.MemEvent{Op: op, Class: uint8(rapid.IntRange(0, 2).Draw(t, "class")),
					AtStart: rapid.Bool().Draw(t, "at start"), Bytes: rapid.Int64Range(-50, 50).Draw(t, "bytes")})
			}
		}
		final := func(m []timeline.Memory) int64 {
			if c := m[0].Curve; len(c) > 0 {
				return c[len(c)-1].Bytes
			}
			return 0
		}
		sum, peaks := int64(0), int64(0)
		for class := range uint8(3) {
			m := tl.MemoryOf(class)
			sum, peaks = sum+final(m), peaks+m[0].Peak.Bytes
		}
		all := tl.Memory()
		require.Equal(t, final(all), sum)
		require.LessOrEqual(t, all[0].Peak.Bytes, peaks)
	})
}
