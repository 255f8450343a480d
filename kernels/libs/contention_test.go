package libs

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"orrery/kernels/bench"
	"orrery/kernels/emu"
	"orrery/kernels/measure"
)

// The GEMM runs alone, and both run beside each other, on the stand-ins.
func TestContention(t *testing.T) {
	dev := fakes(t, LtEnv, "fakelt")
	library, err := emu.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	t.Setenv(emu.LibraryEnv, library)
	small := gemm{fwd, 16, 16, 16, "bf16", 1}
	at := time.Unix(0, 0)
	for _, c := range []contention{{small, 0, false}, {small, 4, false}, {small, 4, true}} {
		p, err := c.asCase().Prepare(context.Background(), dev, 1)
		require.NoError(t, err)
		_, own := p.(bench.Sampler)
		require.True(t, own)
		require.NoError(t, p.Close())
	}
	row, err := measure.Case(context.Background(), dev, contention{small, 0, false}.asCase(), measure.Options{Now: func() time.Time { return at }, MinSamples: 1, MaxSamples: 1})
	require.NoError(t, err)
	require.Equal(t, besideSamples, row.N)
	require.Len(t, contentionCases(), 15)
}
