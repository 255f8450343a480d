package libs

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/kernels/shapes"
)

func TestGrouped(t *testing.T) {
	dev := fakes(t, CublasEnv, "fakecublas")
	rapid.Check(t, func(t *rapid.T) {
		groups := rapid.Int64Range(1, 5).Draw(t, "groups")
		e := shapes.Experts{Groups: groups, Tokens: rapid.Int64Range(groups, 50).Draw(t, "tokens"), N: rapid.Int64Range(1, 20).Draw(t, "n"),
			K: rapid.Int64Range(1, 20).Draw(t, "k"), MaxOverMean: rapid.SampledFrom([]float64{1, 1.5}).Draw(t, "skew")}
		p, err := grouped{e, rapid.SampledFrom([]layout{fwd, dgrad}).Draw(t, "layout")}.prepare(context.Background(), dev, 1)
		require.NoError(t, err)
		require.NoError(t, p.Close())
	})
	require.NotEmpty(t, groupedCases())
}

// Every collective moves what its name says, among any number of GPUs.
func TestNCCL(t *testing.T) {
	t.Setenv("ORRERY_FAKE_GPUS", "8")
	dev := fakes(t, NCCLEnv, "fakenccl")
	require.NoError(t, ncclMissing())
	for _, kind := range []string{"all_reduce", "all_gather", "reduce_scatter", "all_to_all", "send_recv"} {
		for _, ranks := range []int{2, 4, 8} {
			if kind == "send_recv" && ranks > 2 {
				continue
			}
			p, err := collective{kind, ranks, 1024}.prepare(context.Background(), dev, 1)
			require.NoError(t, err, "%s among %d", kind, ranks)
			require.NoError(t, p.Close())
		}
	}
	for _, c := range ncclCases() {
		require.GreaterOrEqual(t, c.Needs, 2)
	}
}

func TestOneGPUIsTooFewForNCCL(t *testing.T) {
	fakes(t, NCCLEnv, "fakenccl")
	require.EqualError(t, ncclMissing(), "NCCL sweeps need 2 GPUs or more, this machine has 1")
}
