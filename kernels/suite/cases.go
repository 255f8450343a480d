package suite

import (
	"fmt"
	"math"
	"strings"

	"orrery/kernels/bench"
	"orrery/kernels/sample"
	"orrery/models"
)

func init() {
	for _, s := range []struct {
		name  string
		cases func() []bench.Case
	}{{"memory", memoryCases}, {"layer", layerCases}, {"moe", moeCases}, {"optimizer", optimizerCases},
		{"launch", launchCases}, {"clock", clockCases}, {"stream", streamCases}} {
		bench.Register(bench.Suite{Name: s.name, Missing: func() error { return nil }, Cases: s.cases})
	}
}

// at makes a case of a memory-bound kernel: the bytes that one call reads and
// writes go into the shape, as `sim price memory` takes them. op is the priced
// operation where the kernel has another name.
func (k kernel) at(op string, read, written int64, sizes string, weight float64, small, real definition) bench.Case {
	parts := []string{fmt.Sprintf("read=%d write=%d", read, written)}
	if sizes != "" {
		parts = append(parts, sizes)
	}
	if op != "" && op != k.entry {
		parts = append(parts, "op="+op)
	}
	c := bench.Case{Family: "memory_bound", Kernel: k.entry, Hash: k.hash(), Shape: sample.Shape(strings.Join(parts, " ")), DType: "bf16",
		Bytes: float64(read + written), Weight: weight}
	c.Prepare = k.prepare(small, real, c.Bytes)
	return c
}

// closeTo is 1 at a usual size and falls by half for every factor of four.
func closeTo(size, usual int64) float64 {
	return math.Exp2(-math.Abs(math.Log2(float64(size)/float64(usual))) / 2)
}

// memoryCases: bandwidth from 4 KiB to 2 GiB, and of a buffer in the L2 cache.
func memoryCases() []bench.Case {
	var out []bench.Case
	for bytes := int64(4 << 10); bytes <= 2<<30; bytes *= 2 {
		n, w := bytes/16, 2*closeTo(bytes, 256<<20)
		out = append(out,
			kernel{"memory", "hbm_copy"}.at("copy", bytes, bytes, "", w, hbmCopy(1000), hbmCopy(n)),
			kernel{"memory", "hbm_read"}.at("", bytes, 0, "", w, hbmRead(1000, 2), hbmRead(n, 1)),
			kernel{"memory", "hbm_write"}.at("fill", 0, bytes, "", w/2, hbmWrite(1000), hbmWrite(n)),
			kernel{"memory", "hbm_triad"}.at("", 2*bytes, bytes, "", w/2, hbmTriad(1000), hbmTriad(n)))
	}
	const times = 64 // the first of them comes from device memory
	for bytes := int64(1 << 20); bytes <= 48<<20; bytes *= 2 {
		out = append(out, kernel{"memory", "hbm_read"}.at("", times*bytes, 0, fmt.Sprintf("times=%d", times), closeTo(bytes, 16<<20),
			hbmRead(1000, 3), hbmRead(bytes/16, times)))
	}
	return bench.Ordered(out)
}

// widths of the catalogue's models on a rank, TP 1 to 8, each with how many
// models have it.
func widths(of func(*models.Model) int64) map[int64]int {
	out := map[int64]int{}
	for _, name := range models.Transformers() {
		m, err := models.Lookup(name)
		if err != nil {
			continue // a name of the catalogue is always found
		}
		for _, tp := range []int64{1, 2, 4, 8} {
			if w := of(m) / tp; w >= 64 && w%8 == 0 && of(m)%tp == 0 {
				out[w]++
			}
		}
	}
	return out
}

var tokenCounts = []int64{1024, 2048, 4096, 8192, 16384, 32768}

// overTokens makes cases at every token count and width. Common widths and 8,192
// tokens come first; what does not fit 2 GiB is left to the fit.
func overTokens(widths map[int64]int, usual int64, make func(tokens, width int64, weight float64) bench.Case) []bench.Case {
	var out []bench.Case
	for width, models := range widths {
		for _, tokens := range tokenCounts {
			if 2*tokens*width > 2<<30 {
				continue
			}
			out = append(out, make(tokens, width, math.Sqrt(float64(models))*closeTo(tokens, 8192)*closeTo(width, usual)))
		}
	}
	return out
}

// most of the lists, so that a whole run takes minutes, not hours.
const mostCases = 60

func first(cases []bench.Case) []bench.Case {
	cases = bench.Ordered(cases)
	return cases[:min(mostCases, len(cases))]
}

func layerCases() []bench.Case {
	whole := map[int64]int{}
	for _, name := range models.Transformers() {
		if m, err := models.Lookup(name); err == nil && m.Hidden%8 == 0 {
			whole[m.Hidden]++
		}
	}
	var out []bench.Case
	out = append(out, first(overTokens(whole, 8192, func(t, h int64, w float64) bench.Case {
		return kernel{"layer", "rmsnorm"}.at("", 2*t*h, 2*t*h, fmt.Sprintf("rows=%d cols=%d", t, h), 2*w, rmsNorm(3, 264), rmsNorm(t, h))
	}))...)
	out = append(out, first(overTokens(whole, 8192, func(t, h int64, w float64) bench.Case {
		return kernel{"layer", "rmsnorm_bwd"}.at("rmsnorm", 4*t*h, 2*t*h, fmt.Sprintf("rows=%d cols=%d", t, h), w, rmsNormBackward(9, 264), rmsNormBackward(t, h))
	}))...)
	out = append(out, first(overTokens(whole, 8192, func(t, h int64, w float64) bench.Case {
		return kernel{"layer", "residual_add"}.at("", 4*t*h, 2*t*h, fmt.Sprintf("rows=%d cols=%d", t, h), w, residualAdd(2640), residualAdd(t*h))
	}))...)
	out = append(out, first(overTokens(whole, 8192, func(t, h int64, w float64) bench.Case {
		const vocab = 128256
		return kernel{"layer", "embedding"}.at("", 2*t*h, 2*t*h, fmt.Sprintf("rows=%d cols=%d vocab=%d", t, h, vocab), w/2,
			embedding(9, 264, 40), embedding(t, h, vocab))
	}))...)
	out = append(out, first(overTokens(whole, 8192, func(t, h int64, w float64) bench.Case {
		const vocab = 32768 // of a rank, in fp32
		return kernel{"layer", "embedding_grad"}.at("", 2*t*h, 4*t*h, fmt.Sprintf("rows=%d cols=%d vocab=%d", t, h, vocab), w/4,
			embeddingGrad(9, 264, 40), embeddingGrad(t, h, vocab))
	}))...)
	ffn := widths(func(m *models.Model) int64 { return m.FFN })
	out = append(out, first(overTokens(ffn, 4096, func(t, f int64, w float64) bench.Case {
		return kernel{"layer", "swiglu"}.at("", 4*t*f, 2*t*f, fmt.Sprintf("rows=%d cols=%d", t, f), 2*w, swiGLU(5, 264), swiGLU(t, f))
	}))...)
	out = append(out, first(overTokens(ffn, 4096, func(t, f int64, w float64) bench.Case {
		return kernel{"layer", "swiglu_bwd"}.at("swiglu", 6*t*f, 4*t*f, fmt.Sprintf("rows=%d cols=%d", t, f), w, swiGLUBackward(5, 264), swiGLUBackward(t, f))
	}))...)
	heads := widths(func(m *models.Model) int64 {
		if m.Attn.HeadDim != 128 {
			return 0
		}
		return (m.Attn.Heads + m.Attn.KVHeads) * 128
	})
	for _, way := range []float32{1, -1} {
		out = append(out, first(overTokens(heads, 2304, func(t, q int64, w float64) bench.Case {
			name := fmt.Sprintf("rows=%d heads=%d dim=128 way=%g", t, q/128, way)
			return kernel{"layer", "rope"}.at("", 2*t*q, 2*t*q, name, w, rope(3, 5, 66, way), rope(t, max(q/128, 1), 128, way))
		}))...)
	}
	vocab := widths(func(m *models.Model) int64 { return m.Vocab })
	out = append(out, first(overTokens(vocab, 16032, func(t, v int64, w float64) bench.Case {
		return kernel{"layer", "cross_entropy"}.at("", 4*t*v, 2*t*v, fmt.Sprintf("rows=%d vocab=%d", t, v), 2*w, crossEntropy(3, 1032), crossEntropy(t, v))
	}))...)
	return bench.Ordered(out)
}

func moeCases() []bench.Case {
	var out []bench.Case
	for _, name := range models.Transformers() {
		m, err := models.Lookup(name)
		if err != nil || m.MoE == nil {
			continue
		}
		e, k, h := m.MoE.Experts, m.MoE.TopK, m.Hidden
		for _, t := range tokenCounts {
			w := closeTo(t, 4096)
			sizes := fmt.Sprintf("rows=%d cols=%d k=%d", t, h, k)
			out = append(out, kernel{"moe", "router"}.at("", 4*t*e, 8*t*k, fmt.Sprintf("rows=%d experts=%d k=%d", t, e, k), w/2, router(9, 40, 3), router(t, e, k)))
			if 2*t*k*h > 2<<30 || h%8 != 0 {
				continue
			}
			out = append(out,
				kernel{"moe", "permute"}.at("", 2*t*h, 2*t*k*h, sizes, w, permute(9, 3, 264), permute(t, k, h)),
				kernel{"moe", "unpermute"}.at("", 2*t*k*h, 2*t*h, sizes, w, unpermute(9, 3, 264), unpermute(t, k, h)))
		}
	}
	return bench.Ordered(out)
}

func optimizerCases() []bench.Case {
	var out []bench.Case
	for n := int64(1 << 16); n <= 1<<28; n *= 4 {
		w, sizes := closeTo(n, 1<<26), fmt.Sprintf("n=%d", n)
		out = append(out,
			kernel{"optimizer", "adam"}.at("", 16*n, 14*n, sizes, w, adam(chunkElements+12), adam(n)),
			kernel{"optimizer", "grad_norm"}.at("", 4*n, 0, sizes, w, gradNorm(4004), gradNorm(n)),
			kernel{"optimizer", "cast_fp8"}.at("", 2*n, n, sizes, w, castFP8(2640), castFP8(n)),
			kernel{"optimizer", "cast_fp8_block"}.at("cast_fp8", 2*n, n+4*n/128, sizes+" block=128", w, castFP8Block(1280), castFP8Block(n)))
	}
	out = append(out, kernel{"optimizer", "grad_norm_final"}.at("", 4096, 4, "n=1024", 0.01, gradNormFinal(100), gradNormFinal(1024)))
	return bench.Ordered(out)
}
