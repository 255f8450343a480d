package libs

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/kernels/gpu"
	"orrery/kernels/gpu/fakecuda"
	"orrery/kernels/libs/fakelibs"
)

// fakes points the driver and a library to stand-ins.
func fakes(t *testing.T, env, library string) gpu.Device {
	t.Helper()
	driver, err := fakecuda.Build(t.TempDir())
	if err != nil {
		t.Skip(err)
	}
	t.Setenv(gpu.LibraryEnv, driver)
	path, err := fakelibs.Build(t.TempDir(), library)
	require.NoError(t, err)
	t.Setenv(env, path)
	dev, err := gpu.Open("", 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}

func drawGEMM(t *rapid.T) gemm {
	g := gemm{layout: rapid.SampledFrom([]layout{fwd, dgrad, wgrad}).Draw(t, "layout"), dtype: rapid.SampledFrom([]string{"bf16", "fp8"}).Draw(t, "dtype"), batch: 1}
	g.m, g.n, g.k = rapid.Int64Range(1, 40).Draw(t, "m"), rapid.Int64Range(1, 40).Draw(t, "n"), rapid.Int64Range(1, 40).Draw(t, "k")
	if g.dtype == "bf16" && g.layout != wgrad {
		g.batch = rapid.Int64Range(1, 3).Draw(t, "batch")
	}
	return g
}

// Every layout and format is described to cuBLASLt as what its name says.
func TestGEMM(t *testing.T) {
	dev := fakes(t, LtEnv, "fakelt")
	rapid.Check(t, func(t *rapid.T) {
		g := drawGEMM(t)
		p, err := g.prepare(context.Background(), dev, rapid.Uint64().Draw(t, "seed"))
		require.NoError(t, err)
		require.NoError(t, p.Close())
	})
}

// A library that computes something else is found out before it is timed.
func TestWrongGEMMIsCaught(t *testing.T) {
	dev := fakes(t, LtEnv, "fakelt")
	t.Setenv("ORRERY_FAKE_LT_WRONG", "1")
	for _, l := range []layout{fwd, dgrad, wgrad} {
		_, err := gemm{l, 16, 16, 16, "bf16", 1}.prepare(context.Background(), dev, 1)
		require.ErrorContains(t, err, "cuBLASLt "+string(l)+" m=16 n=16 k=16 bf16: element")
	}
}

func TestNoCuBLASLt(t *testing.T) {
	t.Setenv(LtEnv, "libcublasLt-that-is-not-there.so")
	require.ErrorContains(t, ltLibrary.missing(), "nvidia-cublas")
	_, err := gemm{fwd, 16, 16, 16, "bf16", 1}.prepare(context.Background(), nil, 1)
	require.ErrorContains(t, err, "cuBLASLt is not there")
}

func TestGEMMCases(t *testing.T) {
	t.Setenv(LtEnv, "libcublasLt-that-is-not-there.so")
	seen := map[string]bool{}
	layouts := map[layout]int{}
	for _, c := range gemmCases() {
		require.False(t, seen[c.ID()], c.ID())
		seen[c.ID()] = true
		require.Positive(t, c.FLOPs)
		require.Positive(t, c.Bytes)
		for _, l := range []layout{fwd, dgrad, wgrad} {
			if slices.Contains(strings.Fields(string(c.Shape)), "layout="+string(l)) {
				layouts[l]++
			}
		}
	}
	for _, l := range []layout{fwd, dgrad, wgrad} {
		require.Greater(t, layouts[l], 100, l)
	}
}
