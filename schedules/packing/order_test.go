package packing

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
)

// Over slices of samples that are all cut into n, the order is Seq1F1B's; over whole
// samples 1F1B's.
func TestOrderIsThatOfTheSchedules(t *testing.T) {
	for _, n := range []int{1, 3} {
		const p, m = 4, 6
		cuts := make([][]int, m)
		for i := range cuts {
			for k := range n {
				cuts[i] = append(cuts[i], 10*(k+1))
			}
		}
		lengths, plan := slicedPlan(cuts)
		j := &Job{Lengths: lengths, DP: 1, PP: p, CP: 1, Context: 30, Cost: linearCost}
		got, err := Order(j, plan)
		require.NoError(t, err)
		require.Len(t, got, 1)
		schedule, err := pipeline.Lookup("seq1f1b")
		require.NoError(t, err)
		want, err := schedule.Order(pipeline.Shape{Devices: p, Virtual: 1, Microbatches: m, Slices: n})
		require.NoError(t, err)
		for s := range want {
			var passes []Pass
			for _, slot := range want[s] {
				k := int(slot.Slice)
				if slot.Phase == pipeline.B {
					k = n - 1 - k // the plan lists backward units as they run
				}
				passes = append(passes, Pass{slot.Phase == pipeline.B, int(slot.Microbatch)*n + k})
			}
			require.Equal(t, passes, got[0][s], "stage %d", s)
		}
	}
}

// Every rank runs each unit of its lane once each way, and no unit of another lane.
func TestOrderHasEveryPass(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := anyJob(t)
		plan, err := hybridDP{}.Pack(j)
		require.NoError(t, err)
		order, err := Order(j, plan)
		require.NoError(t, err)
		require.Len(t, order, j.Lanes())
		for lane, stages := range order {
			want := 0
			for _, units := range [2][]Unit{plan.Forward, plan.Backward} {
				for i := range units {
					if lane >= int(units[i].First) && lane < int(units[i].First+units[i].Width) {
						want++
					}
				}
			}
			require.Len(t, stages, j.PP)
			for _, passes := range stages {
				require.Len(t, passes, want)
				seen := map[Pass]bool{}
				for _, p := range passes {
					require.False(t, seen[p])
					seen[p] = true
				}
			}
		}
	})
}
