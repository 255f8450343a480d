package net

import (
	"encoding/json"
	"maps"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/unit"
)

// rates are those of flows that all start at once.
func rates(t require.TestingT, caps []float64, flows []Flow) []float64 {
	s, err := NewSharing(caps)
	require.NoError(t, err)
	ids := make([]FlowID, len(flows))
	for i, f := range flows {
		ids[i], err = s.Start(0, f)
		require.NoError(t, err)
	}
	out := make([]float64, len(flows))
	for i, id := range ids {
		out[i] = s.RateGBps(id)
	}
	return out
}

// refCase is one entry of maxmin.json; rates are GB/s, sizes bytes and times
// nanoseconds here, where the table has no units.
type refCase struct {
	Name   string
	Cap    map[string]float64
	Flows  map[string][]string
	Demand map[string]float64
	Weight map[string]float64
	Rates  map[string]float64
	Sizes  map[string]float64
	Starts map[string]float64
	FCT    map[string]float64
}

func TestMaxMinEqualsReference(t *testing.T) {
	raw, err := os.ReadFile(sharedFile(t, "schedules/maxmin.json"))
	require.NoError(t, err)
	var cases []refCase
	require.NoError(t, json.Unmarshal(raw, &cases))
	require.Len(t, cases, 12)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			links := slices.Sorted(maps.Keys(c.Cap))
			var caps []float64
			for _, l := range links {
				caps = append(caps, c.Cap[l])
			}
			names := slices.Sorted(maps.Keys(c.Flows))
			var flows []Flow
			var timed []TimedFlow
			for _, name := range names {
				f := Flow{Bytes: 1e9, Weight: c.Weight[name], DemandGBps: c.Demand[name]}
				for _, l := range c.Flows[name] {
					f.Path = append(f.Path, LinkID(slices.Index(links, l)))
				}
				flows = append(flows, f)
				f.Bytes = c.Sizes[name]
				timed = append(timed, TimedFlow{Flow: f, Start: unit.Time(c.Starts[name]) * unit.Nanosecond})
			}
			if c.FCT != nil {
				ends, err := Completions(caps, timed)
				require.NoError(t, err)
				for i, name := range names {
					require.Equal(t, unit.Time(math.Round(c.FCT[name]*1000)), ends[i], name)
				}
				return
			}
			require.NotEmpty(t, c.Rates)
			for i, r := range rates(t, caps, flows) {
				require.InEpsilon(t, c.Rates[names[i]], r, 1e-12, names[i])
			}
		})
	}
}

func drawCaps(t *rapid.T) []float64 {
	return rapid.SliceOfN(rapid.Float64Range(1, 900), 1, 10).Draw(t, "capacities")
}

func drawFlow(t *rapid.T, links int) Flow {
	f := Flow{
		Path:  rapid.SliceOfN(rapid.Map(rapid.IntRange(0, links-1), func(i int) LinkID { return LinkID(i) }), 1, 4).Draw(t, "path"),
		Bytes: float64(rapid.IntRange(1, 1e9).Draw(t, "bytes")),
	}
	if rapid.Bool().Draw(t, "weighted") {
		f.Weight = rapid.Float64Range(0.1, 10).Draw(t, "weight")
	}
	if rapid.Bool().Draw(t, "limited") {
		f.DemandGBps = rapid.Float64Range(0.1, 500).Draw(t, "demand")
	}
	return f
}

func drawFlows(t *rapid.T, links, most int) []Flow {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Flow { return drawFlow(t, links) }), 1, most).Draw(t, "flows")
}

// The two properties that define the max-min fair allocation.
func checkFair(t require.TestingT, caps []float64, flows []Flow, got []float64) {
	const eps = 1e-9
	load := make([]float64, len(caps))
	top := make([]float64, len(caps)) // highest rate a unit of weight
	share := func(i int) float64 {
		if w := flows[i].Weight; w > 0 {
			return got[i] / w
		}
		return got[i]
	}
	for i, f := range flows {
		for _, l := range f.Path {
			load[l] += got[i]
			top[l] = max(top[l], share(i))
		}
	}
	for l := range caps {
		require.LessOrEqual(t, load[l], caps[l]*(1+eps), "link %d is over its capacity", l)
	}
	for i, f := range flows {
		if f.DemandGBps > 0 {
			require.LessOrEqual(t, got[i], f.DemandGBps*(1+eps))
			if got[i] >= f.DemandGBps*(1-eps) {
				continue
			}
		}
		require.True(t, slices.ContainsFunc(f.Path, func(l LinkID) bool {
			return load[l] >= caps[l]*(1-eps) && share(i) >= top[l]*(1-eps)
		}), "flow %d has neither its demand nor a bottleneck", i)
	}
}

func TestMaxMinIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		caps := drawCaps(t)
		flows := drawFlows(t, len(caps), 20)
		checkFair(t, caps, flows, rates(t, caps, flows))
	})
}

func TestMaxMinIgnoresOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		caps := drawCaps(t)
		flows := drawFlows(t, len(caps), 20)
		order := rapid.Permutation(index(len(flows))).Draw(t, "order")
		var shuffled []Flow
		for _, i := range order {
			shuffled = append(shuffled, flows[i])
		}
		want, got := rates(t, caps, flows), rates(t, caps, shuffled)
		for k, i := range order {
			require.InEpsilon(t, want[i], got[k], 1e-9)
		}
	})
}

func index(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = i
	}
	return out
}

// Recomputing only what a change touches gives what computing all gives, and
// every byte passes: at each event the rates are those of the flows in
// progress, and a flow's rate integrates to its size.
func TestIncrementalEqualsFromScratch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		caps := drawCaps(t)
		s, err := NewSharing(caps)
		require.NoError(t, err)
		type progress struct {
			Flow
			passed float64
		}
		live := map[FlowID]*progress{}
		advance := func(to unit.Time) {
			for id, p := range live {
				p.passed += s.RateGBps(id) * float64(to-s.Now()) / 1000
			}
		}
		check := func() {
			ids := slices.Sorted(maps.Keys(live))
			var flows []Flow
			for _, id := range ids {
				flows = append(flows, live[id].Flow)
			}
			want := rates(t, caps, flows)
			for i, id := range ids {
				require.InEpsilon(t, want[i], s.RateGBps(id), 1e-9)
			}
			require.Equal(t, len(live), s.Active())
		}
		finish := func() {
			at, id, ok := s.Next()
			require.True(t, ok)
			advance(at)
			gotAt, gotID, ok := s.Finish()
			require.True(t, ok)
			require.Equal(t, at, gotAt)
			require.Equal(t, id, gotID)
			p := live[id]
			// Ends are whole picoseconds: allow what passes in a few.
			require.InDelta(t, p.Bytes, p.passed, 1e-9*p.Bytes+0.01*900)
			delete(live, id)
		}
		for range rapid.IntRange(1, 30).Draw(t, "events") {
			if len(live) > 0 && rapid.Bool().Draw(t, "finish") {
				finish()
			} else {
				f := drawFlow(t, len(caps))
				at := s.Now() + unit.Time(rapid.Int64Range(0, 1e9).Draw(t, "later"))
				if next, _, ok := s.Next(); ok && next < at {
					at = next
				}
				advance(at)
				id, err := s.Start(at, f)
				require.NoError(t, err)
				require.NotContains(t, live, id)
				live[id] = &progress{Flow: f}
			}
			check()
		}
		for len(live) > 0 {
			finish()
			check()
		}
	})
}

// Alone, a flow takes its bytes over the narrowest link, to the picosecond.
func TestLoneFlowIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		caps := drawCaps(t)
		f := drawFlow(t, len(caps))
		f.DemandGBps, f.Weight = 0, 0
		slices.Sort(f.Path)
		f.Path = slices.Compact(f.Path) // twice over a link would halve it
		narrow := math.Inf(1)
		for _, l := range f.Path {
			narrow = min(narrow, caps[l])
		}
		start := unit.Time(rapid.Int64Range(0, 1e15).Draw(t, "start"))
		ends, err := Completions(caps, []TimedFlow{{f, start}})
		require.NoError(t, err)
		require.Equal(t, start+unit.Time(math.Round(f.Bytes/narrow*1000)), ends[0])
	})
}

// Flows on other links, and flows that come and go without moving its rate, do
// not shift a flow's end by a picosecond.
func TestUntouchedFlowDoesNotDrift(t *testing.T) {
	caps := []float64{10, 3, 50}
	flows := []TimedFlow{{Flow: Flow{Path: []LinkID{0, 1}, Bytes: 1e6 + 1}}}
	alone, err := Completions(caps, flows)
	require.NoError(t, err)
	for i := range 100 {
		at := unit.Time(i) * 3 * unit.Microsecond
		flows = append(flows,
			TimedFlow{Flow{Path: []LinkID{0, 2}, Bytes: 1000 + float64(i), DemandGBps: 0.7}, at},
			TimedFlow{Flow{Path: []LinkID{2}, Bytes: 777}, at})
	}
	busy, err := Completions(caps, flows)
	require.NoError(t, err)
	require.Equal(t, alone[0], busy[0])
}

func TestSharingEdges(t *testing.T) {
	for _, c := range []float64{0, -1, math.NaN(), math.Inf(1)} {
		_, err := NewSharing([]float64{c})
		require.Error(t, err)
	}
	s, err := NewSharing([]float64{10})
	require.NoError(t, err)
	_, _, ok := s.Next()
	require.False(t, ok)
	_, _, ok = s.Finish()
	require.False(t, ok)
	for _, f := range []Flow{
		{Path: []LinkID{1}}, {Path: []LinkID{-1}}, {Bytes: -1}, {Bytes: math.NaN()}, {Weight: -1}, {DemandGBps: math.NaN()},
	} {
		_, err := s.Start(0, f)
		require.Error(t, err, "%+v", f)
	}
	_, err = s.Start(5, Flow{Bytes: 100}) // no link: no time
	require.NoError(t, err)
	at, _, ok := s.Finish()
	require.True(t, ok)
	require.Equal(t, unit.Time(5), at)
	_, err = s.Start(5, Flow{Bytes: 100, DemandGBps: 10})
	require.NoError(t, err)
	_, err = s.Start(4, Flow{})
	require.ErrorContains(t, err, "before")
	_, err = s.Start(unit.Second, Flow{})
	require.ErrorContains(t, err, "not finished")
	at, _, _ = s.Finish()
	require.Equal(t, 5+10*unit.Nanosecond, at)
	_, err = s.Start(at, Flow{Path: []LinkID{0}}) // no bytes: no time
	require.NoError(t, err)
	end, _, _ := s.Finish()
	require.Equal(t, at, end)
}

// benchmarkSharing keeps `live` flows between random pairs of 512 ports busy;
// an op is an arrival or a completion.
func benchmarkSharing(b *testing.B, domain, live int) {
	const ports = 512
	caps := make([]float64, 2*ports) // up, down
	for i := range caps {
		caps[i] = 50
	}
	s, err := NewSharing(caps)
	require.NoError(b, err)
	path := make([]LinkID, 2)
	seed := uint32(1)
	draw := func(n int) int { // xorshift: same flows every run
		seed ^= seed << 13
		seed ^= seed >> 17
		seed ^= seed << 5
		return int(seed % uint32(n))
	}
	start := func() {
		base := draw(ports/domain) * domain
		path[0], path[1] = LinkID(base+draw(domain)), LinkID(ports+base+draw(domain))
		if _, err := s.Start(s.Now(), Flow{Path: path, Bytes: float64(1e5 + draw(1e6))}); err != nil {
			b.Fatal(err)
		}
	}
	for range live {
		start()
	}
	cycle := func() {
		if _, _, ok := s.Finish(); !ok {
			b.Fatal("no flow in progress")
		}
		start()
	}
	for range 10 * live { // grow the slices
		cycle()
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		cycle()
	}
	b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
}

func BenchmarkSharingNodes(b *testing.B)  { benchmarkSharing(b, 8, 256) }   // 64 nodes of 8
func BenchmarkSharingSparse(b *testing.B) { benchmarkSharing(b, 512, 128) } // small components
func BenchmarkSharingDense(b *testing.B)  { benchmarkSharing(b, 512, 512) } // one large component

func TestSharingAllocatesNothingInSteadyState(t *testing.T) {
	s, err := NewSharing([]float64{10, 20, 30, 40})
	require.NoError(t, err)
	path := []LinkID{0, 1}
	n := 0
	cycle := func() {
		for i := range 20 {
			path[0], path[1] = LinkID((i+n)%4), LinkID((i*3+1)%4)
			if _, err := s.Start(s.Now(), Flow{Path: path, Bytes: float64(1000 + i), DemandGBps: float64(i % 3)}); err != nil {
				t.Fatal(err)
			}
		}
		for range 20 {
			s.Finish()
		}
		n++
	}
	for range 8 {
		cycle()
	}
	require.Zero(t, testing.AllocsPerRun(10, cycle))
}
