package ordersearch

import (
	"testing"

	"orrery/schedules/pipeline"
)

// The size of published runs: 8 devices, two chunks, 32 microbatches; costs are those
// of the 6.2B model in zero-bubble's v_schedule.py.
func benchmarkModel(b *testing.B) *model {
	m, err := newModel(Problem{Shape: pipeline.Shape{Devices: 8, Virtual: 2, Microbatches: 32, Slices: 1}, Placement: V,
		Costs: pipeline.Costs{F: 29802, I: 29428, W: 19530, Comm: 577}, Limit: 16})
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// BenchmarkTabu is steps of the local search: moves weighed, and one made.
func BenchmarkTabu(b *testing.B) {
	m := benchmarkModel(b)
	o := newOrder(m)
	starts, _ := m.starts(&Result{Named: m.named()})
	o.set(starts[0].word)
	c := newChain(o, 1, 0)
	b.ReportAllocs()
	for b.Loop() {
		c.step++
		if !c.advance() {
			c.kick(8)
		}
	}
	b.ReportMetric(float64(c.judged)/b.Elapsed().Seconds(), "moves/s")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "steps/s")
}

// BenchmarkList is one run of list scheduling.
func BenchmarkList(b *testing.B) {
	m := benchmarkModel(b)
	r := rules(m)[0]
	b.ReportAllocs()
	for b.Loop() {
		list(m, r)
	}
	b.ReportMetric(float64(b.N*len(m.cost))/b.Elapsed().Seconds(), "passes/s")
}

// BenchmarkBound is the lower bound.
func BenchmarkBound(b *testing.B) {
	m := benchmarkModel(b)
	for b.Loop() {
		lowerBound(m)
	}
}
