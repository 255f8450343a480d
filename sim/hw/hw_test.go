package hw

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"orrery/sim/unit"
)

func TestRegistriesHaveNoDuplicates(t *testing.T) {
	require.NoError(t, gpus.err())
	require.NoError(t, nodes.err())
}

func TestRegistryReportsDuplicates(t *testing.T) {
	r := newRegistry[GPU]("GPU")
	r.add(&GPU{}, "x1", []string{"x"})
	require.NoError(t, r.err())
	r.add(&GPU{}, "x2", []string{"X"})
	require.ErrorContains(t, r.err(), `"x"`)
}

func TestEveryGPUIsPlausible(t *testing.T) {
	for _, name := range GPUNames() {
		t.Run(name, func(t *testing.T) {
			g, err := LookupGPU(name)
			require.NoError(t, err)
			require.Equal(t, name, g.Name)
			require.NotEmpty(t, g.Title)
			require.NotEmpty(t, g.Source)
			require.True(t, strings.HasPrefix(g.Arch, "sm"), g.Arch)
			require.Positive(t, g.SMs)
			require.Positive(t, g.L2)
			require.Positive(t, g.NVLinkGBps)
			require.Positive(t, g.PowerW)
			require.Greater(t, g.HBM, 30*unit.GiB)
			require.Greater(t, g.HBMGBps, 1000.0)
			for d := range g.PeakTFLOPS {
				require.True(t, d.Valid(), d)
			}
			for _, d := range []unit.DType{unit.FP32, unit.TF32, unit.BF16, unit.FP16} {
				require.Positive(t, g.PeakTFLOPS[d], d)
			}
			// Halving the width never slows a tensor core down.
			require.LessOrEqual(t, g.PeakTFLOPS[unit.TF32], g.PeakTFLOPS[unit.BF16])
			if p, ok := g.PeakTFLOPS[unit.FP8]; ok {
				require.InEpsilon(t, 2*g.PeakTFLOPS[unit.BF16], p, 1e-3)
			}
			// The peak is no more than tensor cores can do at the highest
			// clock: FMAs a clock and SM are 1024 (sm80), 2048 (sm90) and
			// 4096 (sm100) for bf16, NVIDIA architecture whitepapers.
			fma := map[string]float64{"sm80": 1024, "sm90": 2048, "sm100": 4096, "sm103": 4096}[g.Arch]
			require.NotZero(t, fma, "arch %s has no known rate", g.Arch)
			ceiling := 2 * fma * float64(g.SMs) * g.MaxSMMHz * 1e6 / 1e12
			require.LessOrEqual(t, g.PeakTFLOPS[unit.BF16], ceiling*1.001)
			if g.BaseProfile != "" {
				base, err := LookupGPU(g.BaseProfile)
				require.NoError(t, err)
				require.Empty(t, base.BaseProfile, "a base has its own profile")
			}
			node, err := DefaultNode(name)
			require.NoError(t, err)
			require.Equal(t, name, node.GPU)
		})
	}
}

func TestEveryNodeIsPlausible(t *testing.T) {
	for _, name := range NodeNames() {
		n, err := LookupNode(name)
		require.NoError(t, err)
		require.NotEmpty(t, n.Source, name)
		_, err = LookupGPU(n.GPU)
		require.NoError(t, err)
		require.Positive(t, n.GPUsPerNode, name)
		require.Zero(t, n.NVLinkDomain%n.GPUsPerNode, name)
		require.Positive(t, n.NICGBps, name)
		require.Positive(t, n.HostGBps, name)
	}
}

// Memory sizes that users see in nvidia-smi, in MiB.
func TestHBMAsDriverReports(t *testing.T) {
	for name, mib := range map[string]unit.Bytes{"a100": 81920, "h100": 81559, "h200": 143771, "b200": 183359, "gb200": 189471} {
		g, err := LookupGPU(name)
		require.NoError(t, err)
		require.Equal(t, mib*unit.MiB, g.HBM, name)
	}
}

func TestLookup(t *testing.T) {
	for alias, want := range map[string]string{
		"H100": "h100", "A100-40GB": "a100-40gb", "GB200": "gb200", "nvidia H100_SXM": "h100", "B300": "b300",
	} {
		g, err := LookupGPU(alias)
		require.NoError(t, err)
		require.Equal(t, want, g.Name)
	}
	n, err := DefaultNode("H100-96GB")
	require.NoError(t, err)
	require.Equal(t, "grand-teton", n.Name)

	_, err = LookupGPU("h10")
	require.ErrorContains(t, err, `did you mean "h100"`)
	_, err = LookupGPU("completely-different")
	require.ErrorContains(t, err, "known are a100, ")
	_, err = LookupNode("dgx-h10")
	require.ErrorContains(t, err, "did you mean")
	_, err = DefaultNode("nope-nope-nope")
	require.Error(t, err)
}

func ExampleLookupGPU() {
	_, err := LookupGPU("h10")
	fmt.Println(err)
	// Output: no GPU is called "h10"; did you mean "h100"?
}
