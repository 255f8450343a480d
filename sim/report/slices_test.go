package report

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/engine"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// reader reads a stream as the page's script does.
type reader struct {
	t require.TestingT
	b []byte
}

func newReader(t require.TestingT, text string) *reader {
	b, err := base64.StdEncoding.DecodeString(text)
	require.NoError(t, err)
	return &reader{t, b}
}

func (r *reader) u() int64 {
	x, n := binary.Uvarint(r.b)
	require.Positive(r.t, n)
	r.b = r.b[n:]
	return int64(x)
}

func (r *reader) z() int64 {
	x := uint64(r.u())
	return int64(x>>1) ^ -int64(x&1)
}

// slice is one that was read back.
type slice struct {
	label, microbatch int
	start, end        unit.Time
	blocker           int // number of a slice; -1 none, -2 left out
}

func decode(t require.TestingT, d *sliceData, price func(work int) unit.Time) (out []slice, path []int) {
	r := newReader(t, d.Slices)
	for _, lane := range d.Lanes {
		var end unit.Time
		for range lane.N {
			s := slice{label: int(r.u()), microbatch: int(r.u()) - 1}
			s.start = end + unit.Time(r.u())
			s.end = s.start + price(d.Labels[s.label].Work) + unit.Time(r.z())
			switch code := r.u(); code {
			case 0, 2:
				s.blocker = -1 - int(code/2)
			case 1:
				s.blocker = len(out) - 1
			default:
				z := code - 3
				s.blocker = len(out) + int(z>>1^-(z&1))
			}
			end = s.end
			out = append(out, s)
		}
	}
	require.Empty(t, r.b)
	r = newReader(t, d.Path)
	at := 0
	for range d.PathLen {
		at += int(r.z())
		path = append(path, at)
	}
	require.Empty(t, r.b)
	return out, path
}

// anySteps is a random program that has run, on lanes of ranks in any order.
func anySteps(t *rapid.T) *steps {
	p := &program.Program{}
	ranks := rapid.IntRange(1, 4).Draw(t, "ranks")
	for r := range ranks {
		p.AddLane(int32(r), "compute")
	}
	for range rapid.IntRange(0, 6).Draw(t, "more lanes") {
		p.AddLane(int32(rapid.IntRange(0, ranks-1).Draw(t, "rank")), "send")
	}
	dur := make([]unit.Time, rapid.IntRange(1, 5).Draw(t, "works"))
	priced := make([]unit.Time, len(dur))
	for i := range dur {
		p.AddWork(program.Work{Name: fmt.Sprintf("work %d", i)})
		dur[i] = unit.Time(rapid.Int64Range(0, 1e13).Draw(t, "duration"))
		priced[i] = dur[i] + unit.Time(rapid.Int64Range(-3, 3).Draw(t, "off")) // as where links are shared
	}
	mbs := []int32{}
	for i := range rapid.IntRange(0, 60).Draw(t, "ops") {
		var deps []program.OpID
		if i > 0 && rapid.Bool().Draw(t, "depends") {
			deps = append(deps, program.OpID(rapid.IntRange(0, i-1).Draw(t, "on")))
		}
		p.Add(program.LaneID(rapid.IntRange(0, len(p.Lanes)-1).Draw(t, "lane")), program.WorkID(rapid.IntRange(0, len(dur)-1).Draw(t, "work")), deps...)
		mbs = append(mbs, rapid.Int32Range(-1, 300).Draw(t, "microbatch"))
	}
	tl := &timeline.Timeline{}
	require.NoError(t, engine.Relax(p, dur, tl))
	return &steps{
		Timeline: tl, ranks: ranks,
		rank:       func(r int) rankData { return rankData{Name: fmt.Sprint(r), StandsFor: 1} },
		price:      func(w program.WorkID) unit.Time { return priced[w] },
		microbatch: func(id program.OpID) int32 { return mbs[id] },
		label: func(id program.OpID) (labelKey, labelData) {
			return labelKey{work: p.Work[id]}, labelData{int(p.Work[id]), p.Works[p.Work[id]].Name}
		},
	}
}

// What is read back from a page is the timeline: of every op its lane, work, microbatch,
// times to the picosecond and blocker, and the critical path; what does not fit the
// limit is whole ranks from the last, and is counted.
func TestSlicesAreTheTimeline(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := anySteps(t)
		p := s.Program
		limit := rapid.IntRange(1, 80).Draw(t, "limit")
		d, err := slicesOf(s, limit)
		require.NoError(t, err)
		again, err := slicesOf(s, limit)
		require.NoError(t, err)
		require.Equal(t, d, again)
		got, path := decode(t, d, func(w int) unit.Time { return s.price(program.WorkID(w)) })

		kept := len(d.Ranks)
		require.Equal(t, s.ranks, kept+d.LeftOutRanks)
		require.Equal(t, p.Len(), len(got)+d.LeftOutSlices)
		busy := map[int]bool{}
		for _, lane := range d.Lanes {
			busy[lane.Rank] = true
		}
		if len(busy) > 1 { // the first that has any is always there
			require.LessOrEqual(t, len(got), limit)
		}
		// Ops in the order of the page: ranks, their lanes, ops.
		number := map[program.OpID]int{}
		var ids []program.OpID
		for rank := range kept {
			for l, lane := range p.Lanes {
				if int(lane.Rank) != rank {
					continue
				}
				for id := range program.OpID(p.Len()) {
					if p.Lane[id] == program.LaneID(l) {
						number[id] = len(ids)
						ids = append(ids, id)
					}
				}
			}
		}
		require.Len(t, got, len(ids))
		for i, id := range ids {
			want := slice{microbatch: int(s.microbatch(id)), start: s.Start[id], end: s.End[id], label: got[i].label, blocker: -1}
			if by := s.Blocker[id]; by != program.None {
				want.blocker = -2
				if at, ok := number[by]; ok {
					want.blocker = at
				}
			}
			require.Equal(t, want, got[i])
			require.Equal(t, int(p.Work[id]), d.Labels[got[i].label].Work)
		}
		var wantPath []int
		for _, id := range s.CriticalPath() {
			if at, ok := number[id]; ok {
				wantPath = append(wantPath, at)
			}
		}
		require.Equal(t, wantPath, path)
		require.Equal(t, len(s.CriticalPath()), len(path)+d.LeftOutPath)
	})
}

// A timeline whose lanes overlap is refused: it could not be drawn.
func TestSlicesOverlapping(t *testing.T) {
	p := &program.Program{}
	l, w := p.AddLane(0, "compute"), p.AddWork(program.Work{})
	p.Add(l, w)
	p.Add(l, w)
	s := &steps{Timeline: &timeline.Timeline{Program: p, Start: []unit.Time{0, 5}, End: []unit.Time{6, 8}, Blocker: []program.OpID{program.None, 0}},
		ranks: 1, rank: func(int) rankData { return rankData{} }, price: func(program.WorkID) unit.Time { return 1 }, microbatch: func(program.OpID) int32 { return -1 },
		label: func(program.OpID) (labelKey, labelData) { return labelKey{}, labelData{} }}
	_, err := slicesOf(s, 10)
	require.ErrorContains(t, err, "op 1 starts before")
}
