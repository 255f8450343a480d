package scenarios

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// A scenario without origins is the one with them, and one whose recomputation was
// set afterwards is the one that was resolved with it, errors and all.
func TestBaseScenario(t *testing.T) {
	base := map[string]*Base{}
	for _, name := range []string{"quickstart", "deepseek-v3-h100"} {
		b, err := Open(name)
		require.NoError(t, err)
		base[name] = b
	}
	recomputed := []string{"none", "selective", "selective:mlp+layernorm", "selective:moe+mla_up_proj", "full", "full:2", "full:1000", "some"}
	rapid.Check(t, func(t *rapid.T) {
		b := base[rapid.SampledFrom([]string{"quickstart", "deepseek-v3-h100"}).Draw(t, "scenario")]
		set := []Override{{"parallel.tp", rapid.SampledFrom([]int64{1, 2, 4, 8}).Draw(t, "tp")}, {"parallel.vp", rapid.SampledFrom([]int64{1, 2, 3}).Draw(t, "vp")},
			{"parallel.sp", rapid.Bool().Draw(t, "sp")}}
		want, err := b.Resolve(set)
		got, err2 := b.Scenario(set)
		if err != nil {
			require.EqualError(t, err2, err.Error())
			return
		}
		require.NoError(t, err2)
		require.Equal(t, &want.Scenario, got)

		rc := rapid.SampledFrom(recomputed).Draw(t, "recompute")
		want, err = b.Resolve(append(set, Override{"training.recompute", rc}))
		again, err2 := got.Recomputing(rc)
		if err != nil {
			require.Equal(t, Reason(err), Reason(err2))
			return
		}
		require.NoError(t, err2)
		require.Equal(t, &want.Scenario, again)
	})
}
