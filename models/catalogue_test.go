package models

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCatalogue(t *testing.T) {
	names := Names()
	require.True(t, slices.IsSorted(names))
	for _, n := range names {
		m := lookup(t, n)
		require.Equal(t, n, m.Name)
		require.NoError(t, m.Validate())
		require.NotEmpty(t, m.Title, n)
		require.NotEmpty(t, m.Source, n)
		require.Zero(t, m.MTP, "%s: a scenario turns MTP on", n)
		require.NotContains(t, aliases, normalise(n), "%s is a model and an alias", n)
	}
	for a, n := range aliases {
		require.Contains(t, names, n, "alias %s", a)
		require.Equal(t, n, lookup(t, a).Name)
	}
}

// TestCatalogueRuns: the catalogue has the dimensions of the published runs.
func TestCatalogueRuns(t *testing.T) {
	// State-space hybrids and a model whose dimensions are not published.
	other := []string{"deepseek-v4-flash", "nemotron-h-56b", "nemotron3-nano", "nemotron3-super", "nemotron3-ultra", "nemotron3.5-lightning", "nemotron3_super_release_gb200_sm"}
	for _, r := range sharedRows(t, "published_runs.csv") {
		if slices.Contains(other, r["model"]) {
			continue
		}
		m := lookup(t, r["model"])
		dims := map[string]int64{"hidden": m.Hidden, "heads": m.Attn.Heads, "kv_heads": m.Attn.KVHeads, "ffn": m.FFN}
		if m.MoE != nil {
			dims["experts"], dims["topk"], dims["moe_ffn"] = m.MoE.Experts, m.MoE.TopK, m.MoE.FFN
			if m.FFN == 0 { // the column has the experts' width, or that of layers that are not there
				delete(dims, "ffn")
			}
		}
		for column, have := range dims {
			if r[column] != "" {
				require.Equal(t, r.whole(t, column), have, "%s, %s: %s", r["id"], m.Name, column)
			}
		}
		if r["vocab"] != "" { // some sources give it padded, one varies it
			require.True(t, m.Vocab <= r.whole(t, "vocab") && (r.whole(t, "vocab")-m.Vocab < 1024 || m.Name == "gpt-4b-vp"), "%s, %s: vocab", r["id"], m.Name)
		}
		if r["layers"] != "" { // some runs are of fewer layers
			require.LessOrEqual(t, r.whole(t, "layers"), m.Layers, "%s, %s", r["id"], m.Name)
		}
	}
}

func TestLookup(t *testing.T) {
	a := lookup(t, "deepseek-v3")
	a.MoE.Experts, a.Layers = 1, 1
	b := lookup(t, "DeepSeek_V3")
	require.Equal(t, int64(256), b.MoE.Experts, "a copy is its caller's own")
	require.Equal(t, int64(61), b.Layers)

	for name, want := range map[string]string{
		"llama3-80b":  `did you mean "llama3-70b"?`,
		"lama2-7b":    `did you mean "llama2-7b"?`,
		"mixtral-8x7": `did you mean "mixtral-8x7b"?`,
		"gpt_oss_12b": `did you mean "gpt-oss-120b"?`,
		"bert":        "known are co-gat-dailydialog, co-gat-mastodon, deepseek-v2",
		"":            "known are",
	} {
		_, err := Lookup(name)
		require.ErrorContains(t, err, want)
	}
}
