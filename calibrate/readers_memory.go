package calibrate

import (
	"path"
	"path/filepath"
	"slices"
	"strings"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	readers = append(readers, reader{
		name:  "one layer's kernels in vLLM (vidur)",
		match: func(rel string) bool { return hasTableName(rel, "compute__") && strings.HasSuffix(rel, "mlp.csv") },
		read:  readVidurLayer,
	})
}

// layerShape is one row's layer in vidur's tables.
type layerShape struct {
	tokens, tp           int64
	heads, kvHeads       int64
	hidden, inner, vocab int64 // inner: of the MLP, before TP
}

// vidurMemory gives the bytes of vLLM's memory-bound kernels, all in fp16
// (vidur/profiling/mlp/mlp_impl.py). Columns are named as there.
var vidurMemory = []struct {
	column string
	kernel func(layerShape) cost.Memory
}{
	{"emb", func(l layerShape) cost.Memory { return vidurOp("embedding", l.tokens*l.hidden, l.tokens*l.hidden) }},
	{"input_layernorm", func(l layerShape) cost.Memory {
		return vidurOp("rmsnorm_vllm", l.tokens*l.hidden, l.tokens*l.hidden)
	}},
	{"post_attention_layernorm", func(l layerShape) cost.Memory {
		return vidurOp("rmsnorm_vllm", l.tokens*l.hidden, l.tokens*l.hidden)
	}},
	{"attn_rope", func(l layerShape) cost.Memory {
		qk := l.tokens * l.hidden / l.heads * (l.heads + l.kvHeads) / l.tp
		return vidurOp("rope", qk, qk)
	}},
	{"mlp_act", func(l layerShape) cost.Memory {
		return vidurOp("swiglu", 2*l.tokens*l.inner/l.tp, l.tokens*l.inner/l.tp)
	}},
	{"add", func(l layerShape) cost.Memory {
		return vidurOp("residual_add", 2*l.tokens*l.hidden, l.tokens*l.hidden)
	}},
}

func vidurOp(op string, read, written int64) cost.Memory {
	return cost.Memory{Op: op, Read: 2 * read, Write: 2 * written}
}

// vidurGEMM gives the shapes of the layer's projections.
var vidurGEMM = []struct {
	column string
	nk     func(layerShape) (n, k int64)
}{
	{"attn_pre_proj", func(l layerShape) (int64, int64) {
		return l.hidden / l.heads * (l.heads + 2*l.kvHeads) / l.tp, l.hidden
	}},
	{"attn_post_proj", func(l layerShape) (int64, int64) { return l.hidden, l.hidden / l.tp }},
	{"mlp_up_proj", func(l layerShape) (int64, int64) { return 2 * l.inner / l.tp, l.hidden }},
	{"mlp_down_proj", func(l layerShape) (int64, int64) { return l.hidden, l.inner / l.tp }},
}

// readVidurLayer reads the kernels of a transformer layer: medians over repeats
// in milliseconds, to the microsecond. Its GEMMs are used on GPUs that
// no table of GEMMs covers, which is Ampere. An embedding split over ranks is
// refused: tokens of other ranks all look up one row, which stays in cache.
func readVidurLayer(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	var samples []Sample
	rejected := Rejected{}
	name := path.Base(filepath.ToSlash(file))
	err := eachRow(file, func(line int, r *attentionRow) {
		l := layerShape{tokens: r.int("num_tokens"), tp: r.int("num_tensor_parallel_workers"), heads: r.int("n_head"),
			kvHeads: r.int("n_kv_head"), hidden: r.int("n_embd"), inner: r.int("n_expanded_embd"), vocab: r.int("vocab_size")}
		if r.err != nil {
			return
		}
		if min(l.tokens, l.tp, l.heads, l.kvHeads, l.hidden, l.inner) < 1 {
			rejected["size below 1"]++
			return
		}
		take := func(column string, k cost.Kernel, dtype string) {
			text := r.text("time_stats." + column + ".median")
			if text == "" {
				rejected[column+": not measured in this row"]++
				return
			}
			micros := r.float("time_stats."+column+".median") * 1e3
			if !(micros > 0 && micros < longest) {
				rejected[column+": no time"]++
				return
			}
			samples = append(samples, Sample{Kernel: k, DType: dtype, Micros: micros, Table: name, Line: line})
		}
		for _, m := range vidurMemory {
			if m.column == "emb" && l.tp > 1 {
				rejected["emb: split over ranks, most tokens look up one cached row"]++
				continue
			}
			take(m.column, m.kernel(l), "half")
		}
		for _, m := range vidurGEMM {
			if g.Arch != "sm80" {
				rejected["projection: a table of GEMMs covers this GPU with newer kernels"]++
				continue
			}
			n, k := m.nk(l)
			take(m.column, cost.GEMM{M: l.tokens, N: n, K: k, DType: unit.FP16}, "half")
		}
	})
	return mergeRepeats(samples), rejected, err
}

// mergeRepeats makes one sample of each kernel, in the order of first rows: the
// median of its measurements.
func mergeRepeats(samples []Sample) []Sample {
	micros := map[cost.Kernel][]float64{}
	var out []Sample
	for _, s := range samples {
		if len(micros[s.Kernel]) == 0 {
			out = append(out, s)
		}
		micros[s.Kernel] = append(micros[s.Kernel], s.Micros)
	}
	for i, s := range out {
		t := micros[s.Kernel]
		out[i].Micros, out[i].Best = quantile(t, 0.5), slices.Min(t)
		if len(t) > 1 {
			out[i].Spread = slices.Max(t) / out[i].Best
		}
	}
	return out
}
