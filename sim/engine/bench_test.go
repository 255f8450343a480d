package engine_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/sim/engine"
	"orrery/sim/net"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// opsPerSecond reports what a benchmark of programs of n ops reached.
func opsPerSecond(b *testing.B, n int) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportAllocs()
}

func benchmarkRelax(b *testing.B, p, m int) {
	var prog program.Program
	var tl timeline.Timeline
	oneF1B(&prog, p, m)
	require.NoError(b, engine.Relax(&prog, pipelineTimes, &tl))
	for b.Loop() {
		_ = engine.Relax(&prog, pipelineTimes, &tl)
	}
	opsPerSecond(b, prog.Len())
}

func BenchmarkRelax1F1B8x64(b *testing.B)    { benchmarkRelax(b, 8, 64) }
func BenchmarkRelax1F1B64x1024(b *testing.B) { benchmarkRelax(b, 64, 1024) }

// BenchmarkRelax1F1B64x1024Build builds the program of a step, straight from
// the order of its passes, and relaxes it.
func BenchmarkRelax1F1B64x1024Build(b *testing.B) {
	var prog program.Program
	var tl timeline.Timeline
	for b.Loop() {
		oneF1B(&prog, 64, 1024)
		_ = engine.Relax(&prog, pipelineTimes, &tl)
	}
	opsPerSecond(b, prog.Len())
}

func BenchmarkEvents1F1B64x1024(b *testing.B) {
	var prog program.Program
	var tl timeline.Timeline
	var x engine.Executor
	oneF1B(&prog, 64, 1024)
	require.NoError(b, x.Run(&prog, pipelineTimes, engine.Resources{}, &tl))
	for b.Loop() {
		_ = x.Run(&prog, pipelineTimes, engine.Resources{}, &tl)
	}
	opsPerSecond(b, prog.Len())
}

// BenchmarkEventsShared1F1B64x1024 sends at a rate: both sends of a stage leave
// through one link, so that each start and each end changes what others get.
func BenchmarkEventsShared1F1B64x1024(b *testing.B) {
	const stages = 64
	var prog program.Program
	oneF1B(&prog, stages, 1024)
	dur := []unit.Time{pipelineTimes[workF], pipelineTimes[workB], 0}
	res := engine.Resources{Flows: make([]net.Flow, len(dur))}
	for s := range stages {
		prog.AddWork(program.Work{Name: "send", Kind: program.Send})
		dur = append(dur, 10*unit.Microsecond)
		res.LinkGBps = append(res.LinkGBps, 50)
		res.Flows = append(res.Flows, net.Flow{Path: []net.LinkID{net.LinkID(s)}, Bytes: 64e6})
	}
	for i, w := range prog.Work {
		if w == workSend {
			prog.Work[i] += program.WorkID(1 + prog.Lanes[prog.Lane[i]].Rank)
		}
	}
	var tl timeline.Timeline
	var x engine.Executor
	require.NoError(b, x.Run(&prog, dur, res, &tl))
	for b.Loop() {
		_ = x.Run(&prog, dur, res, &tl)
	}
	opsPerSecond(b, prog.Len())
}
