package models

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// row is a line of a CSV file by the header's names.
type row map[string]string

func (r row) num(t testing.TB, column string) float64 {
	v, err := strconv.ParseFloat(r[column], 64)
	require.NoError(t, err, "column %s", column)
	return v
}

func (r row) whole(t testing.TB, column string) int64 {
	v, err := strconv.ParseInt(r[column], 10, 64)
	require.NoError(t, err, "column %s", column)
	return v
}

// sharedRows reads a table of conformance vectors, which are kept beside the
// repository; without them the test is skipped.
func sharedRows(t testing.TB, name string) []row {
	t.Helper()
	dir, err := os.Getwd()
	require.NoError(t, err)
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		up := filepath.Dir(dir)
		require.NotEqual(t, up, dir, "no go.mod above the test")
		dir = up
	}
	path := filepath.Join(dir, "..", "shared", "data", filepath.FromSlash(name))
	f, err := os.Open(path)
	if err != nil {
		t.Skipf("no conformance vectors: ../shared/data/%s is missing", name)
	}
	defer f.Close()
	lines, err := csv.NewReader(f).ReadAll()
	require.NoError(t, err)
	require.Greater(t, len(lines), 1, "%s is empty", name)
	rows := make([]row, 0, len(lines)-1)
	for _, l := range lines[1:] {
		r := row{}
		for i, column := range lines[0] {
			r[column] = l[i]
		}
		rows = append(rows, r)
	}
	return rows
}

// vectorModels are the models of params.csv as its config column writes them,
// independent of the catalogue.
func vectorModels(t testing.TB) map[string]*Model {
	t.Helper()
	models := map[string]*Model{}
	for _, r := range sharedRows(t, "schedules/params.csv") {
		var c struct {
			L, V, H, N, KV, D, FFN, Pos int64
			GLU, Tied, Bias             bool
			QKNorm                      bool `json:"qk_norm"`
			QKVBias                     bool `json:"qkv_bias"`
			Norm                        string
			E, K, Shared                int64
			MoEFFN                      int64 `json:"moe_ffn"`
			DenseLayers                 int64 `json:"dense_layers"`
			RouterBias                  bool  `json:"router_bias"`
			MLA                         *struct {
				QLoRA          int64 `json:"q_lora"`
				KVLoRA         int64 `json:"kv_lora"`
				Nope, Rope, VD int64
			}
		}
		require.NoError(t, json.Unmarshal([]byte(r["config"]), &c))
		m := &Model{Name: r["model"], Layers: c.L, Hidden: c.H, FFN: c.FFN, Vocab: c.V, Positions: c.Pos,
			Attn:  Attention{Heads: c.N, KVHeads: c.KV, HeadDim: c.D},
			Gated: c.GLU, Tied: c.Tied, Bias: c.Bias, QKNorm: c.QKNorm, QKVBias: c.QKVBias,
			Norm: map[string]string{"rms": "rms", "ln": "layer"}[c.Norm]}
		if c.MLA != nil {
			m.Attn.QLoRA, m.Attn.KVLoRA, m.Attn.Nope, m.Attn.Rope, m.Attn.VDim = c.MLA.QLoRA, c.MLA.KVLoRA, c.MLA.Nope, c.MLA.Rope, c.MLA.VD
		}
		if c.E > 0 {
			m.MoE = &MoE{Experts: c.E, TopK: c.K, FFN: c.MoEFFN, SharedFFN: c.Shared, FirstDense: c.DenseLayers, RouterBias: c.RouterBias}
		}
		require.NoError(t, m.Validate())
		models[m.Name] = m
	}
	return models
}

func lookup(t testing.TB, name string) *Model {
	t.Helper()
	m, err := Lookup(name)
	require.NoError(t, err)
	return m
}
