package packing

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
)

func testJob(t testing.TB, dist string, n, dp, pp, cp, context int, seed uint64) *Job {
	t.Helper()
	lengths, err := Draw(dist, n, context, seed)
	require.NoError(t, err)
	c, f := Llama8B(pp)
	j := &Job{Lengths: lengths, DP: dp, PP: pp, CP: cp, Context: context, Cost: c, Footprint: f}
	require.NoError(t, j.Check())
	return j
}

func TestLook(t *testing.T) {
	for _, d := range []string{"wikipedia", "code"} {
		for _, ctx := range []int{32768, 262144} {
			j := testJob(t, d, 4096, 8, 4, 4, ctx, 1)
			fmt.Println(d, ctx, j.Tokens(), LowerBound(j))
			for _, p := range All() {
				plan, err := p.Pack(j)
				require.NoError(t, err)
				m, err := Measure(j, plan)
				require.NoError(t, err, p.Name())
				fmt.Printf("%-15s %.3f gap %.3f bub %.3f dp %.2f cp %.2f F%d B%d merged %d cv %.2f %.2f mem %.0f %v pad %.2f hop %d\n", p.Name(), m.StepS, m.Gap, m.Bubble, m.DP, m.Lanes, m.Forward, m.Backward, m.Merged, m.CVForward, m.CVBackward, m.PeakTokens, m.Fits, m.Padding, plan.hop())
			}
		}
	}
}
