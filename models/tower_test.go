package models

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// Totals that are published, within what ends and norms that are not modelled
// (position tables, class tokens, the embedding of the time step) come to.
func TestPublishedTowers(t *testing.T) {
	for name, want := range map[string]struct {
		billions, tolerance float64
		source              string
	}{
		"clip-vit-l":        {0.304, 0.03, "ViT-L/14 of OpenCLIP's model table, 303.97 M in the image tower"},
		"siglip-so400m":     {0.428, 0.06, "428 M in the image tower, the attention pool of 15 M included"},
		"vit-g":             {1.011, 0.03, "EVA, arXiv:2211.07636: 1.0 B"},
		"vit-1.3b":          {1.2, 0.05, "dots.vlm1: a 1.2 B vision encoder"},
		"whisper-large-v3":  {0.637, 0.03, "635 M in the encoder of the 1.55 B"},
		"mmdit-20b":         {20.4, 0.02, "arXiv:2508.02324: 20 B"},
		"sd3.5-large-mmdit": {8.06, 0.06, "model card: 8.1 B"},
	} {
		tower, err := LookupTower(name)
		require.NoError(t, err)
		require.NoError(t, tower.Validate())
		_, connector := tower.EndParams(2048)
		got := float64(tower.Params(2048)-connector) / 1e9
		require.InEpsilon(t, want.billions, got, want.tolerance, "%s: %s", name, want.source)
	}
	for _, name := range append(TowerNames(false), TowerNames(true)...) {
		tower, err := LookupTower(strings.ToUpper(strings.ReplaceAll(name, "-", "_")))
		require.NoError(t, err)
		require.Equal(t, name, tower.Name)
	}
	_, err := LookupTower("vit-1.2b")
	require.ErrorContains(t, err, `did you mean "vit-1.3b"?`)
	_, err = LookupTower("resnet")
	require.ErrorContains(t, err, "known are clip-vit-l, ")
}

// FLOPs are additive in items, twice the parameters a token passes through without
// attention, and grow with every size.
func TestTowerFLOPs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		names := append(TowerNames(false), TowerNames(true)...)
		tower, err := LookupTower(rapid.SampledFrom(names).Draw(t, "tower"))
		require.NoError(t, err)
		n, c := rapid.Int64Range(1, 1<<14).Draw(t, "tokens")*4, rapid.Int64Range(0, 1<<10).Draw(t, "beside")
		f := func(tokens, beside int64, pairs float64) float64 {
			return tower.ForwardFLOPs(tokens, beside, pairs, 2048)
		}
		require.InEpsilon(t, f(n, c, 7)+f(2*n, 3*c, 9), f(3*n, 4*c, 16), 1e-9)
		require.Greater(t, f(n, c, 1e6), f(n, c, 0))
		cut, _ := tower.LayerParams()
		matrices := float64(cut) / float64(tower.Streams) * float64(tower.Body.Layers)
		require.InEpsilon(t, 2*matrices*float64(n), f(n, 0, 0), 0.05, "the ends and biases are small")
	})
}
