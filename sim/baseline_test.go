package sim

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/scenarios"
)

// baseline is one way of running Llama 70B at 512K on 256 GPUs without SlimPipe.
type baseline struct {
	tp, cp, pp, vp   int
	schedule, again  string
	mfu, gib         float64
	fits             bool
	contextOverNodes int // nodes that a context-parallel group touches
}

func (b baseline) String() string {
	return fmt.Sprintf("t%d c%d p%d d%d v%d %s %s: MFU %.1f %%, %.1f GiB", b.tp, b.cp, b.pp, 256/(b.tp*b.cp*b.pp), b.vp, b.schedule, b.again, 100*b.mfu, b.gib)
}

// baselines simulates the grid: every tp within a node, cp and pp whose data
// parallel size the batch of 8 allows; none, interleaved 1F1B in every even cut
// of the layers, and ZB-V; the three kinds of recomputation of SlimPipe's
// evaluation. What the scenario's checks refuse (fewer microbatches than devices,
// say) is not in it.
func baselines(t *testing.T) []baseline {
	t.Helper()
	var out []baseline
	try := func(b baseline) {
		res, err := scenarios.Load("long-context/llama-70b-512k-256-megatron", []string{
			fmt.Sprint("parallel.tp=", b.tp), fmt.Sprint("parallel.cp=", b.cp), fmt.Sprint("parallel.pp=", b.pp), "parallel.dp=auto",
			fmt.Sprint("parallel.vp=", b.vp), "training.recompute=" + b.again, "schedule.name=" + b.schedule})
		if err != nil {
			return
		}
		r, err := Simulate(context.Background(), &res.Scenario, Options{NoAdvice: true})
		require.NoError(t, err, b)
		b.mfu, b.gib, b.fits = r.Result.MFU, r.Result.PeakMemoryGiB, r.Result.Fits
		b.schedule = res.Scenario.Schedule.Name
		b.contextOverNodes = max(b.tp*b.cp/8, 1)
		out = append(out, b)
	}
	for _, tp := range []int{1, 2, 4, 8} {
		for cp := 1; cp <= 32; cp *= 2 {
			for pp := 1; pp <= 16 && tp*cp*pp <= 256; pp *= 2 {
				if 256/(tp*cp*pp) > 8 {
					continue
				}
				for _, again := range []string{"none", "selective:layernorm+fc1", "full"} {
					for _, vp := range []int{1, 2, 5, 10, 20, 40} {
						try(baseline{tp: tp, cp: cp, pp: pp, vp: vp, schedule: "auto", again: again})
					}
					try(baseline{tp: tp, cp: cp, pp: pp, vp: 2, schedule: "zbv", again: again})
				}
			}
		}
	}
	return out
}

func best(all []baseline, of func(baseline) bool) (b baseline) {
	for _, c := range all {
		if of(c) && c.mfu > b.mfu {
			b = c
		}
	}
	return b
}

// The Megatron-LM configuration that SlimPipe's artifact names for Llama 70B at
// 512K on 256 GPUs, t8 c4 p4 d2 v20 with full recomputation, is the best of the grid
// below the 62 GiB that its authors plan with, as long as a context is spread over
// no more than the four nodes that it uses. What fits of ZB-V is slower. Over more
// nodes the ring still hides behind attention by the prices here, norms and fc1
// alone are recomputed, and the best baseline is another: two stages, 16 nodes a
// context.
func TestBestBaselineAt512K(t *testing.T) {
	all := baselines(t)
	require.Greater(t, len(all), 300)

	published := best(all, func(b baseline) bool { return b.fits && b.gib < 62 && b.contextOverNodes <= 4 })
	t.Log("over up to 4 nodes, below 62 GiB:", published)
	zbv := best(all, func(b baseline) bool { return b.fits && b.schedule == "zbv" })
	t.Log("ZB-V:", zbv)
	require.Less(t, zbv.mfu, published.mfu)
	require.Equal(t, [4]int{8, 4, 4, 20}, [4]int{published.tp, published.cp, published.pp, published.vp})
	require.Equal(t, "full", published.again)
	fuller := best(all, func(b baseline) bool { return b.fits && b.contextOverNodes <= 4 })
	t.Log("over up to 4 nodes, 80 GB:", fuller)
	require.Less(t, fuller.mfu, 1.05*published.mfu)

	wide := best(all, func(b baseline) bool { return b.fits })
	t.Log("of all that fit:", wide)
	require.Equal(t, [3]int{8, 16, 2}, [3]int{wide.tp, wide.cp, wide.pp})
	require.Equal(t, "selective:layernorm+fc1", wide.again)
	require.Greater(t, wide.mfu, 1.2*published.mfu)
}
