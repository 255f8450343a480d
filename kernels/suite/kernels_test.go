package suite

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/kernels/emu"
	"orrery/kernels/gpu"
	"orrery/kernels/gpu/fakecuda"
)

// emulated opens the fake driver with the kernels compiled for the CPU.
func emulated(t *testing.T) gpu.Device {
	t.Helper()
	dir := t.TempDir()
	driver, err := fakecuda.Build(dir)
	if err != nil {
		t.Skip(err)
	}
	library := os.Getenv(emu.LibraryEnv)
	if library == "" {
		sub := filepath.Join(dir, "emu")
		require.NoError(t, os.Mkdir(sub, 0o755))
		if library, err = emu.Build(sub); err != nil {
			t.Skip(err)
		}
	}
	t.Setenv(gpu.LibraryEnv, driver)
	t.Setenv(emu.LibraryEnv, library)
	dev, err := gpu.Open("", 0)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, dev.Close()) })
	return dev
}

// drawn sizes of each kernel: odd ones, tails, a single row.
var drawn = []struct {
	kernel
	draw func(t *rapid.T) definition
}{
	{kernel{"memory", "hbm_copy"}, func(t *rapid.T) definition { return hbmCopy(n(t, "n", 1, 3000)) }},
	{kernel{"memory", "hbm_read"}, func(t *rapid.T) definition {
		return hbmRead(n(t, "n", 1, 3000), int32(n(t, "times", 1, 3)))
	}},
	{kernel{"memory", "hbm_write"}, func(t *rapid.T) definition { return hbmWrite(n(t, "n", 1, 3000)) }},
	{kernel{"memory", "hbm_triad"}, func(t *rapid.T) definition { return hbmTriad(n(t, "n", 1, 3000)) }},
	{kernel{"launch", "tile_stream"}, func(t *rapid.T) definition {
		return tileStream(n(t, "tiles", 1, 5), n(t, "size16", 1, 5000), n(t, "blocks", 1, 4))
	}},
	{kernel{"launch", "fma_loop"}, func(t *rapid.T) definition { return fmaLoop(int32(n(t, "iterations", 0, 20))) }},
	{kernel{"layer", "rmsnorm"}, func(t *rapid.T) definition { return rmsNorm(n(t, "rows", 1, 5), 8*n(t, "cols8", 1, 200)) }},
	{kernel{"layer", "rmsnorm_bwd"}, func(t *rapid.T) definition {
		return rmsNormBackward(n(t, "rows", 1, 20), 8*n(t, "cols8", 1, 100))
	}},
	{kernel{"layer", "rope"}, func(t *rapid.T) definition {
		return rope(n(t, "tokens", 1, 5), n(t, "heads", 1, 9), 2*n(t, "half", 1, 65), float32(rapid.SampledFrom([]int{1, -1}).Draw(t, "way")))
	}},
	{kernel{"layer", "swiglu"}, func(t *rapid.T) definition { return swiGLU(n(t, "rows", 1, 9), 8*n(t, "cols8", 1, 90)) }},
	{kernel{"layer", "swiglu_bwd"}, func(t *rapid.T) definition { return swiGLUBackward(n(t, "rows", 1, 9), 8*n(t, "cols8", 1, 90)) }},
	{kernel{"layer", "residual_add"}, func(t *rapid.T) definition { return residualAdd(8 * n(t, "n8", 1, 900)) }},
	{kernel{"layer", "cross_entropy"}, func(t *rapid.T) definition { return crossEntropy(n(t, "rows", 1, 4), 8*n(t, "vocab8", 1, 300)) }},
	{kernel{"layer", "embedding"}, func(t *rapid.T) definition {
		return embedding(n(t, "rows", 1, 9), 8*n(t, "cols8", 1, 90), n(t, "vocab", 1, 50))
	}},
	{kernel{"layer", "embedding_grad"}, func(t *rapid.T) definition {
		return embeddingGrad(n(t, "rows", 1, 9), 8*n(t, "cols8", 1, 90), n(t, "vocab", 1, 5))
	}},
	{kernel{"moe", "router"}, func(t *rapid.T) definition {
		e := n(t, "experts", 1, 300)
		return router(n(t, "tokens", 1, 20), e, n(t, "k", 1, min(e, 9)))
	}},
	{kernel{"moe", "permute"}, func(t *rapid.T) definition {
		return permute(n(t, "tokens", 1, 9), n(t, "k", 1, 4), 8*n(t, "cols8", 1, 90))
	}},
	{kernel{"moe", "unpermute"}, func(t *rapid.T) definition {
		return unpermute(n(t, "tokens", 1, 9), n(t, "k", 1, 4), 8*n(t, "cols8", 1, 90))
	}},
	{kernel{"optimizer", "grad_norm"}, func(t *rapid.T) definition { return gradNorm(4 * n(t, "n4", 1, 9000)) }},
	{kernel{"optimizer", "grad_norm_final"}, func(t *rapid.T) definition { return gradNormFinal(n(t, "n", 1, 2000)) }},
	{kernel{"optimizer", "adam"}, func(t *rapid.T) definition {
		return adam(4 * rapid.SampledFrom([]int64{1, 100, chunkElements / 4, chunkElements/4 + 3}).Draw(t, "n4"))
	}},
	{kernel{"optimizer", "cast_fp8"}, func(t *rapid.T) definition { return castFP8(8 * n(t, "n8", 1, 900)) }},
	{kernel{"optimizer", "cast_fp8_block"}, func(t *rapid.T) definition { return castFP8Block(128 * n(t, "groups", 1, 60)) }},
}

func n(t *rapid.T, name string, low, high int64) int64 {
	return rapid.Int64Range(low, high).Draw(t, name)
}

// Every kernel computes what its reference does, at any size.
func TestKernels(t *testing.T) {
	dev := emulated(t)
	for _, c := range drawn {
		t.Run(c.entry, func(t *testing.T) {
			m, f, err := c.load(dev)
			require.NoError(t, err)
			rapid.Check(t, func(t *rapid.T) {
				require.NoError(t, c.check(dev, f, c.draw(t), rapid.Uint64().Draw(t, "seed")))
			})
			require.NoError(t, m.Unload())
		})
	}
}
