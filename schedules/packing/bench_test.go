package packing

import "testing"

// A step of 100,000 sequences on 256 GPUs: 32 replicas of 4 stages and 2
// context-parallel ranks.
func BenchmarkPack(b *testing.B) {
	for _, name := range []string{"greedy", "ffd", "bfd", "fixed", "wlb_llm", "slimpack"} {
		b.Run(name, func(b *testing.B) {
			p, err := Lookup(name)
			if err != nil {
				b.Fatal(err)
			}
			j := testJob(b, "web", 100000, 32, 4, 2, 131072, 1)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := p.Pack(j); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEvaluate(b *testing.B) {
	j := testJob(b, "web", 100000, 32, 4, 2, 131072, 1)
	plan, err := SlimPack{}.Pack(j)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Evaluate(j, plan); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((len(plan.Forward)+len(plan.Backward))*j.PP)*float64(b.N)/b.Elapsed().Seconds(), "passes/s")
}
