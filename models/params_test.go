package models

import (
	"regexp"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParamsVectors(t *testing.T) {
	vectors := vectorModels(t)
	for _, r := range sharedRows(t, "schedules/params.csv") {
		m := vectors[r["model"]]
		buffers := int64(0)
		if m.MoE != nil && m.MoE.RouterBias {
			buffers = m.MoE.Experts * m.MoELayers()
		}
		require.Equal(t, r.whole(t, "total_params"), m.Params(), m.Name)
		require.Equal(t, r.whole(t, "active_params"), m.ActiveParams(), m.Name)
		require.Equal(t, r.whole(t, "total_without_router_bias_buffers"), m.Params()-buffers, m.Name)
		require.Equal(t, r.whole(t, "attn_params_per_layer"), m.LayerParams(0).Attn, m.Name)
		require.Equal(t, r.whole(t, "embedding_params"), m.EmbeddingParams(), m.Name)
		require.Equal(t, r.whole(t, "output_params"), m.OutputParams(), m.Name)

		dense := m.Clone() // the column has a dense layer even where no layer is
		dense.MoE = nil
		require.Equal(t, r.whole(t, "dense_layer_params"), dense.LayerParams(0).Total(), m.Name)
		moe := int64(0)
		if m.MoE != nil {
			moe = m.LayerParams(m.Layers - 1).Total()
		}
		require.Equal(t, r.whole(t, "moe_layer_params"), moe, m.Name)

		same := lookup(t, m.Name)
		require.Equal(t, m.Params(), same.Params(), "catalogue: %s", m.Name)
		require.Equal(t, m.ActiveParams(), same.ActiveParams(), "catalogue: %s", m.Name)
	}
}

// TestPublishedParams holds the catalogue against exact totals: sums over the
// weights of the checkpoints on Hugging Face, and what llm-foundry's benchmark
// reports for MPT at 2048 tokens.
func TestPublishedParams(t *testing.T) {
	for name, want := range map[string]int64{
		"llama2-7b": 6_738_415_616, "llama2-13b": 13_015_864_320, "llama2-70b": 68_976_648_192,
		"llama3-8b": 8_030_261_248, "llama3-70b": 70_553_706_496, "llama3.1-405b": 405_853_388_800,
		"mixtral-8x7b": 46_702_792_704, "mixtral-8x22b-v32768": 140_630_071_296,
		"qwen3-0.6b": 596_049_920, "qwen3-4b": 4_022_468_096, "qwen3-8b": 8_190_735_360, "qwen3-14b": 14_768_307_200, "qwen3-32b": 32_762_123_264,
		"qwen3-30b-a3b": 30_532_122_624, "qwen3-235b-a22b": 235_093_634_560,
		"gpt-oss-20b": 20_914_757_184, "gpt-oss-120b": 116_829_156_672,
		"mpt-350m": 355_985_408, "mpt-760m": 760_470_528, "mpt-1b": 1_315_950_592, "mpt-3b": 2_651_837_440,
		"mpt-7b": 6_658_859_008, "mpt-13b": 12_853_954_560, "mpt-30b": 29_975_214_080, "mpt-70b": 64_862_437_376,
	} {
		require.Equal(t, want, lookup(t, name).Params(), name)
	}
	glm := lookup(t, "glm-4.5-air") // expert bias buffers are not among a checkpoint's parameters
	require.Equal(t, int64(106_852_245_504), glm.Params()-glm.MoELayers()*glm.MoE.Experts)
}

// TestPublishedNames holds the catalogue against the round figures that models
// are known by, in 1e9 parameters; active ones without the input embedding
// where the source says so.
func TestPublishedNames(t *testing.T) {
	for _, c := range []struct {
		name          string
		total, active float64 // 0: not published
		noEmbedding   bool
		within        float64
	}{
		{"deepseek-v2", 236, 21, false, 0.02},                            // arXiv:2405.04434, abstract
		{"deepseek-v3", 671, 37, false, 0.02},                            // arXiv:2412.19437, abstract
		{"llama4-maverick", 400, 17, false, 0.015},                       // model card
		{"llama4-scout", 109, 17, false, 0.015},                          // model card, vision encoder included
		{"gpt-oss-120b", 116.83, 5.13, true, 0.002},                      // arXiv:2508.10925, table 1
		{"gpt-oss-20b", 20.91, 3.61, true, 0.002},                        // arXiv:2508.10925, table 1
		{"qwen3-30b-a3b", 30.5, 3.3, false, 0.02},                        // arXiv:2505.09388, model card
		{"qwen3-235b-a22b", 235, 22, false, 0.01},                        // arXiv:2505.09388
		{"glm-4.5-air", 106, 12, true, 0.08},                             // arXiv:2508.06471, table 1
		{"glm-4.5", 355, 32, true, 0.05},                                 // arXiv:2508.06471, table 1
		{"moonlight-16b-a3b", 15.96, 3, false, 0.03},                     // arXiv:2502.16982
		{"grok1-314b", 314, 0, false, 0.01},                              // xai-org/grok-1
		{"nemotron4-15b", 15.6, 0, false, 0.005},                         // arXiv:2402.16819: 3.2 + 12.5
		{"nemotron4-340b", 341, 0, false, 0.005},                         // arXiv:2406.11704: 9.4 + 331.6
		{"nemotron-22b", 22, 0, false, 0.05},                             // its name
		{"gpt-22b", 22, 0, false, 0.01},                                  // arXiv:2205.05198, table 3
		{"mt-nlg-530b", 529.6, 0, false, 0.005},                          // arXiv:2205.05198, table 3
		{"megatron-1t", 1008, 0, false, 0.001},                           // arXiv:2205.05198, table 3
		{"gpt3-175b", 174.6, 0, false, 0.001},                            // arXiv:2005.14165, table 2.1 (rounded)
		{"mixtral-8x7b", 46.7, 12.9, false, 0.005},                       // arXiv:2401.04088
		{"mixtral-8x22b", 141, 39, false, 0.01},                          // mistral.ai/news/mixtral-8x22b
		{"gpt3_15b_8t_release", 15.6, 0, false, 0.005},                   // its name
		{"gpt3-5b", 5, 0, false, 0.02}, {"gpt3-20b", 20, 0, false, 0.02}, // their names
	} {
		m := lookup(t, c.name)
		require.InEpsilon(t, c.total, float64(m.Params())/1e9, c.within, c.name)
		active := m.ActiveParams()
		if c.noEmbedding {
			active -= m.EmbeddingParams()
		}
		if c.active > 0 {
			require.InEpsilon(t, c.active, float64(active)/1e9, c.within, "%s, active", c.name)
		}
	}
}

// TestMPTPositions: llm-foundry's counts grow by hidden parameters per token of
// the sequence, so positions are learned and counted.
func TestMPTPositions(t *testing.T) {
	found := regexp.MustCompile(`params=(\d+)`)
	rows := 0
	for _, r := range sharedRows(t, "published_runs.csv") {
		if r["source"] != "mosaicml/llm-foundry MPT benchmarks" {
			continue
		}
		m := lookup(t, r["model"])
		m.Positions = r.whole(t, "seq")
		want, err := strconv.ParseInt(found.FindStringSubmatch(r["notes"])[1], 10, 64)
		require.NoError(t, err)
		require.Equal(t, want, m.Params(), "%s, %s", r["id"], m.Name)
		rows++
	}
	require.NotZero(t, rows)
}

// TestMTP: DeepSeek-V3's module is 14 B with its copies of embedding and output
// layer, which it shares (README of deepseek-ai/DeepSeek-V3, "685B").
func TestMTP(t *testing.T) {
	m := lookup(t, "deepseek-v3")
	base, active := m.Params(), m.ActiveParams()
	m.MTP = 1
	require.InEpsilon(t, 14e9, float64(m.Params()-base+m.EmbeddingParams()+m.OutputParams()), 0.05)
	unused := (m.MoE.Experts - m.MoE.TopK) * m.ExpertParams()
	require.Equal(t, m.MTPParams()-unused, m.ActiveParams()-active)
}
