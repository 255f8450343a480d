package engine_test

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/sim/engine"
	"orrery/sim/net"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// TestFlowsAlone: flows that never meet take latency and bytes over capacity, as
// Relax has it with these durations.
func TestFlowsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, dur := anyProgram(t)
		// A lane runs one op at a time: flows on a link of their lane never meet.
		// Works are made one for each pair of work and lane.
		works := len(dur)
		res := engine.Resources{Flows: make([]net.Flow, works*len(p.Lanes))}
		fixed, alone := make([]unit.Time, len(res.Flows)), make([]unit.Time, len(res.Flows))
		for range p.Lanes {
			res.LinkGBps = append(res.LinkGBps, float64(rapid.SampledFrom([]int{1, 2, 4}).Draw(t, "GB/s")))
		}
		p.Works = make([]program.Work, len(res.Flows))
		for l := range p.Lanes {
			for w := range works {
				i := l*works + w
				fixed[i], alone[i] = dur[w], dur[w]
				if rapid.Bool().Draw(t, "flow") {
					b := float64(4 * rapid.IntRange(0, 3).Draw(t, "bytes"))
					res.Flows[i] = net.Flow{Path: []net.LinkID{net.LinkID(l)}, Bytes: b}
					alone[i] += unit.Time(b / res.LinkGBps[l] * float64(unit.Nanosecond))
				}
			}
		}
		for i, l := range p.Lane {
			p.Work[i] += program.WorkID(int(l) * works)
		}
		var want, got timeline.Timeline
		require.NoError(t, engine.Relax(p, alone, &want))
		require.NoError(t, engine.Events(p, fixed, res, &got))
		requireSame(t, &want, &got)
	})
}

// TestFlowsShare: flows on one link, each on a lane of its own. The expected
// ends are max-min fair sharing worked out by hand.
func TestFlowsShare(t *testing.T) {
	const ns = unit.Nanosecond
	flow := func(bytes, weight float64) net.Flow {
		return net.Flow{Path: []net.LinkID{0}, Bytes: bytes, Weight: weight}
	}
	for name, c := range map[string]struct {
		after []unit.Time // each flow follows an op of this duration
		flows []net.Flow
		want  []unit.Time
	}{
		"alone":                 {[]unit.Time{0}, []net.Flow{flow(100, 0)}, []unit.Time{10 * ns}},
		"two equal":             {[]unit.Time{0, 0}, []net.Flow{flow(100, 0), flow(100, 0)}, []unit.Time{20 * ns, 20 * ns}},
		"short and long":        {[]unit.Time{0, 0}, []net.Flow{flow(50, 0), flow(100, 0)}, []unit.Time{10 * ns, 15 * ns}},
		"weights one and three": {[]unit.Time{0, 0}, []net.Flow{flow(30, 1), flow(90, 3)}, []unit.Time{12 * ns, 12 * ns}},
		"one joins later":       {[]unit.Time{0, 5 * ns}, []net.Flow{flow(100, 0), flow(100, 0)}, []unit.Time{15 * ns, 20 * ns}},
		"one follows at once":   {[]unit.Time{0, 10 * ns}, []net.Flow{flow(100, 0), flow(100, 0)}, []unit.Time{10 * ns, 20 * ns}},
	} {
		p := &program.Program{}
		var dur []unit.Time
		res := engine.Resources{LinkGBps: []float64{10}}
		for i, f := range c.flows {
			l := p.AddLane(int32(i), "nic")
			p.Add(l, p.AddWork(program.Work{}))
			p.Add(l, p.AddWork(program.Work{}))
			dur = append(dur, c.after[i], 0)
			res.Flows = append(res.Flows, net.Flow{}, f)
		}
		var tl timeline.Timeline
		require.NoError(t, engine.Events(p, dur, res, &tl), name)
		for i, want := range c.want {
			require.Equal(t, c.after[i], tl.Start[2*i+1], name)
			require.Equal(t, want, tl.End[2*i+1], name)
		}
	}
}

// TestResourcesRefused: malformed resources are errors.
func TestResourcesRefused(t *testing.T) {
	p := &program.Program{}
	p.Add(p.AddLane(0, "nic"), p.AddWork(program.Work{}))
	path := []net.LinkID{0}
	for name, res := range map[string]engine.Resources{
		"no such link":    {Flows: []net.Flow{{Path: path, Bytes: 1}}},
		"negative bytes":  {LinkGBps: []float64{1}, Flows: []net.Flow{{Path: path, Bytes: -1}}},
		"NaN bytes":       {LinkGBps: []float64{1}, Flows: []net.Flow{{Path: path, Bytes: math.NaN()}}},
		"no capacity":     {LinkGBps: []float64{0}, Flows: []net.Flow{{Path: path, Bytes: 1}}},
		"never ends":      {LinkGBps: []float64{1e-300}, Flows: []net.Flow{{Path: path, Bytes: 1}}},
		"too many flows":  {LinkGBps: []float64{1}, Flows: make([]net.Flow, 2)},
		"zero factor":     {Slowdowns: []engine.Slowdown{{}}},
		"NaN factor":      {Slowdowns: []engine.Slowdown{{Factor: math.NaN()}}},
		"negative rank":   {Slowdowns: []engine.Slowdown{{Rank: -1, Factor: 1}}},
		"stopped forever": {Slowdowns: []engine.Slowdown{{Factor: math.Inf(1)}}},
		"empty window":    {Slowdowns: []engine.Slowdown{{From: 5, Until: 5, Factor: 2}}},
		"overlap":         {Slowdowns: []engine.Slowdown{{From: 5, Factor: 2}, {Until: 6, Factor: 2}}},
		"too slow":        {Slowdowns: []engine.Slowdown{{Factor: 1e300}}},
	} {
		var tl timeline.Timeline
		require.Error(t, engine.Events(p, []unit.Time{1}, res, &tl), name)
	}
}

// TestSlowdownWindows: one op of 100 ps from 50 ps on.
func TestSlowdownWindows(t *testing.T) {
	type w = engine.Slowdown
	for name, c := range map[string]struct {
		slow []w
		want unit.Time
	}{
		"none":            {nil, 150},
		"another rank":    {[]w{{Rank: 1, Factor: 9}}, 150},
		"for good":        {[]w{{Factor: 2}}, 300}, // the op before is slow too
		"before":          {[]w{{From: 20, Until: 40, Factor: 2}}, 160},
		"after":           {[]w{{From: 150, Factor: 2}}, 150},
		"from within":     {[]w{{From: 100, Factor: 2}}, 200},
		"within":          {[]w{{From: 100, Until: 120, Factor: 2}}, 160},
		"pause":           {[]w{{From: 100, Until: 130, Factor: math.Inf(1)}}, 180},
		"two":             {[]w{{From: 130, Until: 140, Factor: math.Inf(1)}, {From: 60, Until: 80, Factor: 4}}, 175},
		"faster":          {[]w{{From: 50, Factor: 0.5}}, 100},
		"a factor of one": {[]w{{From: 60, Until: 70, Factor: 1}}, 150},
	} {
		p := &program.Program{}
		l := p.AddLane(0, "compute")
		p.Add(l, p.AddWork(program.Work{}))
		p.Add(l, p.AddWork(program.Work{}))
		p.AddLane(1, "compute")
		var tl timeline.Timeline
		require.NoError(t, engine.Events(p, []unit.Time{50, 100}, engine.Resources{Slowdowns: c.slow}, &tl), name)
		require.Equal(t, c.want, tl.End[1], name)
	}
}

// TestSlowdownOfAllScales: every rank twice as slow is a timeline twice as long,
// op by op.
func TestSlowdownOfAllScales(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, dur := anyProgram(t)
		var res engine.Resources
		for r := range int32(3) {
			res.Slowdowns = append(res.Slowdowns, engine.Slowdown{Rank: r, Factor: 2})
		}
		double := make([]unit.Time, len(dur))
		for i, d := range dur {
			double[i] = 2 * d
		}
		var want, got timeline.Timeline
		require.NoError(t, engine.Relax(p, double, &want))
		require.NoError(t, engine.Events(p, dur, res, &got))
		requireSame(t, &want, &got)
	})
}

// TestStragglerIsNeverFaster: slowing one rank moves no end forward.
func TestStragglerIsNeverFaster(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, dur := anyProgram(t)
		from := unit.Time(rapid.IntRange(0, 20).Draw(t, "from"))
		s := engine.Slowdown{Rank: 0, From: from, Until: from + unit.Time(rapid.IntRange(1, 20).Draw(t, "for")),
			Factor: rapid.SampledFrom([]float64{1, 1.5, 3, math.Inf(1)}).Draw(t, "factor")}
		var fast, slow timeline.Timeline
		require.NoError(t, engine.Relax(p, dur, &fast))
		require.NoError(t, engine.Events(p, dur, engine.Resources{Slowdowns: []engine.Slowdown{s}}, &slow))
		for i := range fast.End {
			require.GreaterOrEqual(t, slow.End[i], fast.End[i])
		}
	})
}
