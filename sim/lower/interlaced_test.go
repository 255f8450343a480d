package lower_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/schedules/pipeline"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// A lowered step of interlaced 1F1B with free transfers takes as long as the order
// under the timing model of schedules/pipeline, and gives all memory back.
func TestInterlacedRunsAsSimulated(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := rapid.SampledFrom([]int64{2, 4, 8}).Draw(t, "p")
		costs := pipeline.Costs{F: unit.Time(rapid.Int64Range(1, 100).Draw(t, "F")), I: unit.Time(rapid.Int64Range(1, 200).Draw(t, "B"))}
		logits, gradients := unit.Time(rapid.Int64Range(0, 100).Draw(t, "logits")), unit.Time(rapid.Int64Range(0, 100).Draw(t, "gradients"))
		s := step(t, map[string]any{"cluster.gpus": p, "parallel.pp": p, "training.global_batch": rapid.Int64Range(1, 3*p).Draw(t, "m"), "schedule.name": "interlaced_1f1b"})
		shares := int32(len(s.Plan.Stages))
		got, _ := makespanBy(t, s, func(kind program.Kind, tag lower.Tag) unit.Time {
			switch {
			case kind != program.Forward && kind != program.Backward:
				return 0
			case tag.Stage == shares && kind == program.Forward:
				return logits
			case tag.Stage == shares:
				return gradients
			case kind == program.Forward:
				return costs.F
			}
			return costs.I
		})
		want, err := pipeline.InterlacedVocabulary(s.Plan.Shape, costs, logits, gradients)
		require.NoError(t, err)
		require.Equal(t, want.Makespan, got)

		held, peak := make([]int64, p), make([]int64, p)
		for _, e := range s.Program.Mem {
			held[e.Rank] += e.Bytes
			if s.Tags[e.Op].Stage < shares {
				peak[e.Rank] = max(peak[e.Rank], held[e.Rank])
			}
		}
		require.Equal(t, make([]int64, p), held)
		for d := range peak { // logits come and go between the passes of stages
			require.Equal(t, int64(want.Peak[d])*int64(s.Plan.ActivationBytes(d)), peak[d])
		}
	})
}
