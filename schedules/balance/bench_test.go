package balance

import "testing"

// BenchmarkPlan plans 256 experts on 64 ranks with 2 redundant slots, skewed 4
// to 1: the load per expert is summed, the plan made and grouped.
func BenchmarkPlan(b *testing.B) {
	load := skewed(b, 256, 4, 1)
	for _, balancer := range All() {
		b.Run(balancer.Name(), func(b *testing.B) {
			planner := start(b, balancer.Name(), Setup{Ranks: 64, Experts: 256, Slots: 2, Prices: Qwen3Prices()})
			var p Plan
			b.ReportAllocs()
			for b.Loop() {
				if l, ok := planner.(Learner); ok {
					if err := l.Observe(load); err != nil {
						b.Fatal(err)
					}
				}
				if err := planner.Plan(load, &p); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkTraffic is the dispatch volumes of a plan.
func BenchmarkTraffic(b *testing.B) {
	load := skewed(b, 256, 4, 1)
	p := planOnce(b, "ultraep", Setup{Ranks: 64, Experts: 256, Slots: 2}, load)
	var r Router
	var traffic []float64
	b.ReportAllocs()
	for b.Loop() {
		var err error
		if traffic, err = r.Traffic(load, p, traffic); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLowerBound(b *testing.B) {
	load := skewed(b, 256, 8, 1)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := LowerBound(load, Setup{Ranks: 64, Experts: 256, Slots: 1}, MainsStay, 0); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkDraw draws a load of 64 ranks x 8192 tokens.
func BenchmarkDraw(b *testing.B) {
	s, err := Drift{Law: &Generator{Kind: "deepseek_r1_prefill", Ranks: 64, Experts: 256, TopK: 8, Tokens: 8192}, Sigma: 0.3, Rho: 0.9}.Start(0)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		s.Next()
	}
}
