package trace_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/engine"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/trace"
	"orrery/sim/unit"
)

// anyTrace has lanes of nested slices with names that need escapes, and times
// that nanoseconds do not hold. Names of ranks, lanes and slices are unique, so
// that what is decoded can be told apart.
func anyTrace(t *rapid.T) *trace.Trace {
	tr := &trace.Trace{}
	text := rapid.SampledFrom([]string{"", "F", `"quoted"`, "µs\n", "<script>"})
	for r := range rapid.IntRange(1, 3).Draw(t, "ranks") {
		tr.Ranks = append(tr.Ranks, trace.Rank{Name: fmt.Sprint(text.Draw(t, "rank"), r)})
	}
	for l := range rapid.IntRange(1, 4).Draw(t, "lanes") {
		rank := rapid.IntRange(0, len(tr.Ranks)-1).Draw(t, "rank of lane")
		tr.Lanes = append(tr.Lanes, trace.Lane{Rank: rank, Name: fmt.Sprint(text.Draw(t, "lane"), l)})
		var fill func(from, until unit.Time, depth int)
		fill = func(from, until unit.Time, depth int) {
			for range rapid.IntRange(0, 3).Draw(t, "slices") {
				from += unit.Time(rapid.Int64Range(0, int64(until-from)).Draw(t, "gap"))
				s := trace.Slice{Lane: l, Start: from, Kind: text.Draw(t, "kind"), Name: fmt.Sprint(text.Draw(t, "name"), len(tr.Slices))}
				s.End = from + unit.Time(rapid.Int64Range(0, int64(until-from)).Draw(t, "duration"))
				for _, k := range rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "µ"}), 0, 2, rapid.ID).Draw(t, "args") {
					s.Args = append(s.Args, trace.Arg{Key: k, Value: rapid.Int64().Draw(t, "value")})
				}
				slices.SortFunc(s.Args, func(a, b trace.Arg) int { return cmp.Compare(a.Key, b.Key) })
				tr.Slices = append(tr.Slices, s)
				if depth > 0 && s.End > s.Start {
					fill(s.Start, s.End, depth-1)
				}
				from = s.End
			}
		}
		fill(0, unit.Time(rapid.SampledFrom([]int64{3, 3000, 5_000_000, 100_000_000_000_000}).Draw(t, "length")), 2)
	}
	if n := len(tr.Slices); n > 0 {
		for range rapid.IntRange(0, 6).Draw(t, "flows") {
			tr.Flows = append(tr.Flows, trace.Flow{From: rapid.IntRange(0, n-1).Draw(t, "from"), To: rapid.IntRange(0, n-1).Draw(t, "to")})
		}
	}
	for range rapid.IntRange(0, 6).Draw(t, "counters") {
		tr.Counters = append(tr.Counters, trace.Counter{
			Rank: rapid.IntRange(0, len(tr.Ranks)-1).Draw(t, "rank of counter"), Name: fmt.Sprint("memory", text.Draw(t, "counter")),
			At: unit.Time(rapid.Int64Range(0, 1<<40).Draw(t, "at")), Value: rapid.Float64().Draw(t, "value"),
		})
	}
	slices.SortStableFunc(tr.Counters, func(a, b trace.Counter) int { return cmp.Compare(a.At, b.At) })
	return tr
}

// want is what a viewer should show of a trace, times in units of tick.
func want(tr *trace.Trace, tick unit.Time) *shown {
	out := &shown{}
	at := func(t unit.Time) int64 { return int64(t / tick) }
	owner := func(s trace.Slice) (process, thread string) {
		l := tr.Lanes[s.Lane]
		return tr.Ranks[l.Rank].Name, l.Name
	}
	for i, s := range tr.Slices {
		p, th := owner(s)
		w := shownSlice{p, th, s.Name, s.Kind, at(s.Start), at(s.End), 0, ""}
		for _, a := range s.Args {
			w.args += fmt.Sprintf("%s=%d;", a.Key, a.Value)
		}
		for _, outer := range tr.Slices[:i] {
			if outer.Lane == s.Lane && outer.End > s.Start {
				w.depth++
			}
		}
		out.slices = append(out.slices, w)
	}
	for _, c := range tr.Counters {
		out.counters = append(out.counters, shownCounter{tr.Ranks[c.Rank].Name, c.Name, at(c.At), c.Value})
	}
	for _, f := range tr.Flows {
		var ends [2]shownEnd
		for k, i := range []int{f.From, f.To} {
			p, th := owner(tr.Slices[i])
			ends[k] = shownEnd{p, th, tr.Slices[i].Name, at(tr.Slices[i].Start)}
		}
		out.flows = append(out.flows, ends)
	}
	return out
}

func requireShown(t require.TestingT, want, got *shown) {
	for _, s := range []*shown{want, got} { // the order of slices of different lanes is free
		slices.SortStableFunc(s.slices, func(a, b shownSlice) int {
			return cmp.Or(cmp.Compare(a.thread, b.thread), cmp.Compare(a.start, b.start), cmp.Compare(a.depth, b.depth), cmp.Compare(a.name, b.name))
		})
	}
	require.Equal(t, want.slices, got.slices)
	require.Equal(t, want.counters, got.counters)
	require.Equal(t, want.flows, got.flows)
}

// TestPerfettoShowsTheTrace decodes what was written: every slice at its
// nanosecond and at its depth, arguments, counters and both ends of flows.
func TestPerfettoShowsTheTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := anyTrace(t)
		var a, b bytes.Buffer
		require.NoError(t, trace.Perfetto(&a, tr))
		require.NoError(t, trace.Perfetto(&b, tr))
		require.Equal(t, a.Bytes(), b.Bytes())
		got, err := readPerfetto(a.Bytes())
		require.NoError(t, err)
		requireShown(t, want(tr, unit.Nanosecond), got)
	})
}

// TestChromeShowsTheTrace decodes what was written: as Perfetto's, but exact to
// the picosecond. Arrows are bound by time, so slices that they leave or reach
// have a length and no slices within.
func TestChromeShowsTheTrace(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tr := anyTrace(t)
		tr.Flows = slices.DeleteFunc(tr.Flows, func(f trace.Flow) bool { return !plain(tr, f.From) || !plain(tr, f.To) })
		var a, b bytes.Buffer
		require.NoError(t, trace.Chrome(&a, tr))
		require.NoError(t, trace.Chrome(&b, tr))
		require.Equal(t, a.Bytes(), b.Bytes())
		got, err := readChrome(&a)
		require.NoError(t, err)
		requireShown(t, want(tr, unit.Picosecond), got)
	})
}

// plain reports whether a slice has a length and nothing within it.
func plain(tr *trace.Trace, i int) bool {
	s := tr.Slices[i]
	if s.End == s.Start {
		return false
	}
	return i+1 == len(tr.Slices) || tr.Slices[i+1].Lane != s.Lane || tr.Slices[i+1].Start >= s.End
}

// TestFromTimeline: both files of a run show every op at its time, an arrow for
// each wait for a send, and each rank's memory.
func TestFromTimeline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := &program.Program{}
		stages := rapid.IntRange(1, 3).Draw(t, "stages")
		f := p.AddWork(program.Work{Name: "F", Kind: program.Forward})
		send := p.AddWork(program.Work{Name: "send", Kind: program.Send})
		for s := range int32(stages) {
			p.AddLane(s, fmt.Sprint("compute ", s))
			p.AddLane(s, fmt.Sprint("send ", s))
		}
		sends := 0
		for range rapid.IntRange(0, 5).Draw(t, "microbatches") {
			arrived := program.None
			for s := range stages {
				op := p.Add(program.LaneID(2*s), f, arrived)
				p.Mem = append(p.Mem, program.MemEvent{Op: op, Rank: int32(s), AtStart: true, Bytes: 1 << 30}, program.MemEvent{Op: op, Rank: int32(s), Bytes: -1 << 29})
				if s+1 < stages {
					arrived = p.Add(program.LaneID(2*s+1), send, op)
					sends++
				}
			}
		}
		dur := []unit.Time{unit.Time(rapid.IntRange(1, 5000).Draw(t, "F")), unit.Time(rapid.IntRange(1, 5000).Draw(t, "send time"))}
		var tl timeline.Timeline
		require.NoError(t, engine.Relax(p, dur, &tl))
		names := []trace.Arg{{Key: "same for all", Value: 7}}
		tr := trace.FromTimeline(&tl, trace.Options{
			Label:     func(id program.OpID) (string, []trace.Arg) { return fmt.Sprint("op ", id), names[:1:1] },
			HeldBytes: []unit.Bytes{2 * unit.GiB},
		})
		var pf, ch bytes.Buffer
		require.NoError(t, trace.Perfetto(&pf, tr))
		require.NoError(t, trace.Chrome(&ch, tr))
		perfetto, err := readPerfetto(pf.Bytes())
		require.NoError(t, err)
		chrome, err := readChrome(&ch)
		require.NoError(t, err)
		memory := tl.Memory()
		for _, c := range []struct {
			got  *shown
			tick unit.Time
		}{{perfetto, unit.Nanosecond}, {chrome, unit.Picosecond}} {
			require.Len(t, c.got.slices, p.Len())
			byName := map[string]shownSlice{}
			for _, s := range c.got.slices {
				byName[s.name] = s
			}
			for id := range p.Len() {
				s := byName[fmt.Sprint("op ", id)]
				lane := p.Lanes[p.Lane[id]]
				require.Equal(t, lane.Name, s.thread)
				require.Equal(t, fmt.Sprint("rank ", lane.Rank), s.process)
				require.Equal(t, int64(tl.Start[id]/c.tick), s.start)
				require.Equal(t, int64(tl.End[id]/c.tick), s.end)
				require.Zero(t, s.depth)
				require.Contains(t, s.args, fmt.Sprintf("op=%d;", id))
			}
			require.Len(t, c.got.flows, sends)
			for r, m := range memory {
				held := 0.0
				if r == 0 {
					held = 2
				}
				var values []float64
				for _, n := range c.got.counters {
					if n.process == fmt.Sprint("rank ", r) {
						require.Equal(t, trace.MemoryCounter, n.name)
						values = append(values, n.value-held)
					}
				}
				var want []float64
				if len(m.Curve) > 0 || held > 0 {
					want = append(want, 0)
				}
				for _, pt := range m.Curve {
					want = append(want, float64(pt.Bytes)/(1<<30))
				}
				require.Equal(t, want, values)
			}
		}
	})
}

// TestMalformedTraces: errors come before the first byte.
func TestMalformedTraces(t *testing.T) {
	good := func() *trace.Trace {
		return &trace.Trace{
			Ranks:    []trace.Rank{{}},
			Lanes:    []trace.Lane{{}},
			Slices:   []trace.Slice{{Start: 0, End: 5}, {Start: 2, End: 4}, {Start: 5, End: 9}},
			Counters: []trace.Counter{{}},
			Flows:    []trace.Flow{{From: 0, To: 2}},
		}
	}
	writers := map[string]func(io.Writer, *trace.Trace) error{"perfetto": trace.Perfetto, "chrome": trace.Chrome}
	for name, write := range writers {
		require.NoError(t, write(io.Discard, good()), name)
		for what, harm := range map[string]func(*trace.Trace){
			"rank of lane":    func(t *trace.Trace) { t.Lanes[0].Rank = 1 },
			"rank of counter": func(t *trace.Trace) { t.Counters[0].Rank = -1 },
			"time of counter": func(t *trace.Trace) { t.Counters[0].At = -1 },
			"flow":            func(t *trace.Trace) { t.Flows[0].To = 3 },
			"lane":            func(t *trace.Trace) { t.Slices[0].Lane = 1 },
			"negative start":  func(t *trace.Trace) { t.Slices[0].Start = -1 },
			"end":             func(t *trace.Trace) { t.Slices[2].End = 4 },
			"across the end":  func(t *trace.Trace) { t.Slices[1].End = 6 },
			"order":           func(t *trace.Trace) { t.Slices[2].Start, t.Slices[2].End = 1, 2 },
		} {
			tr := good()
			harm(tr)
			var b bytes.Buffer
			require.Error(t, write(&b, tr), "%s: %s", name, what)
			require.Zero(t, b.Len(), "%s: %s", name, what)
		}
		broken := errors.New("disk full")
		require.ErrorIs(t, write(failing{broken}, good()), broken, name)
	}
	tr := good()
	tr.Counters[0].Value = math.Inf(1)
	require.Error(t, trace.Chrome(io.Discard, tr))
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

// longTrace is as long as a step of 64 stages and 1,024 microbatches.
func longTrace() *trace.Trace {
	tr := &trace.Trace{Ranks: make([]trace.Rank, 64), Slices: make([]trace.Slice, 260096)}
	for l := range 64 * 3 {
		tr.Lanes = append(tr.Lanes, trace.Lane{Rank: l / 3})
	}
	for i := range tr.Slices {
		at := unit.Time(i/192) * unit.Millisecond
		tr.Slices[i] = trace.Slice{Lane: i % 192, Start: at, End: at + 700*unit.Microsecond, Name: fmt.Sprint("F mb ", i/192), Kind: "forward",
			Args: []trace.Arg{{Key: "op", Value: int64(i)}}}
	}
	return tr
}

func benchmarkWrite(b *testing.B, write func(io.Writer, *trace.Trace) error) {
	tr := longTrace()
	for b.Loop() {
		if err := write(io.Discard, tr); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(len(tr.Slices))*float64(b.N)/b.Elapsed().Seconds(), "slices/s")
	b.ReportAllocs()
}

func BenchmarkPerfetto(b *testing.B) { benchmarkWrite(b, trace.Perfetto) }
func BenchmarkChrome(b *testing.B)   { benchmarkWrite(b, trace.Chrome) }
