package calibrate

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	readers = append(readers,
		reader{
			name:  "expert layers (aiconfigurator)",
			match: func(rel string) bool { return hasTableName(rel, "moe_") },
			read:  readMoE,
		},
		reader{
			name:  "grouped GEMM of Megatron with TransformerEngine (SimuMax)",
			match: func(rel string) bool { return strings.HasSuffix(rel, ".json") && strings.Contains(rel, "simumax/") },
			read:  readSimuMaxGrouped,
		},
	)
}

// moeSeries is one run of the collector: a layer at all its token counts.
type moeSeries struct {
	samples      []Sample
	overRoofline []float64
}

// readMoE reads a table of expert layers. Some series of the bf16 tables on
// Hopper, all their rows, take four to six times as long as the same layer under
// another distribution and as everything around them: the autotuner of
// TensorRT-LLM presumably settled on a bad tactic. A series is taken for
// one of those if its median time over the roofline is more than twice that of
// the table's middle series in its format. Fits leave these out; Evaluate judges
// them by themselves.
func readMoE(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	const launch = 40 // us, of all kernels of the layer together
	rejected := Rejected{}
	var order []cost.MoE
	series := map[cost.MoE]*moeSeries{}
	var bad error
	err := eachRow(file, func(line int, r *attentionRow) {
		k := cost.MoE{
			Tokens: r.int("num_tokens"), Hidden: r.int("hidden_size"), Inter: r.int("inter_size"),
			TopK: r.int("topk"), Experts: r.int("num_experts"), TP: r.int("moe_tp_size"), EP: r.int("moe_ep_size"),
			Distribution: r.text("distribution"),
			Ungated:      strings.Contains(r.text("kernel_source"), "nongated"),
		}
		name := r.text("moe_dtype")
		micros := r.float("latency") * 1e3 // tables are in milliseconds
		dtype, known := tableDTypes[name]
		switch {
		case r.err != nil || bad != nil:
			return
		case !known:
			rejected["dtype "+name+" is not a format that kernels are priced in"]++
			return
		case !(micros > 0):
			rejected["no time"]++
			return
		}
		k.DType = dtype
		t, _, err := k.Terms(g)
		if err != nil {
			bad = fmt.Errorf("%s:%d: %w", filepath.Base(file), line, err)
			return
		}
		peak := g.PeakTFLOPS[unit.BF16]
		if p, ok := g.PeakTFLOPS[dtype]; ok {
			peak = p
		} else if p, ok := g.PeakTFLOPS[unit.FP8]; ok && dtype == unit.FP8Block {
			peak = p
		}
		layer := k
		layer.Tokens = 0
		s := series[layer]
		if s == nil {
			s = &moeSeries{}
			series[layer] = s
			order = append(order, layer)
		}
		s.samples = append(s.samples, Sample{Kernel: k, DType: string(dtype), Micros: micros, Table: filepath.Base(file), Line: line})
		s.overRoofline = append(s.overRoofline, micros/(launch+max(t.TileTFLOP/peak*1e6, t.WeightMicros)+2*t.ActMicros))
	})
	if err != nil {
		return nil, nil, err
	}
	if bad != nil {
		return nil, nil, bad
	}
	medians := map[unit.DType][]float64{}
	for _, layer := range order {
		medians[layer.DType] = append(medians[layer.DType], quantile(series[layer].overRoofline, 0.5))
	}
	var samples []Sample
	for _, layer := range order {
		s := series[layer]
		if quantile(s.overRoofline, 0.5) > 2*quantile(medians[layer.DType], 0.5) {
			for i := range s.samples {
				s.samples[i].Apart = "mistuned"
			}
		}
		samples = append(samples, s.samples...)
	}
	return samples, rejected, nil
}

// readSimuMaxGrouped reads the grouped GEMMs of expert layers as Megatron-LM runs
// them (TransformerEngine, one cuBLAS call for each expert on several streams).
// M, N and K are those of the forward product in all three stages
// (simu_tools/efficency_test/test_grouped_gemm_efficiency.py).
func readSimuMaxGrouped(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	stages := map[string]cost.Layout{"fwd": cost.Fwd, "bwd_grad_act": cost.Dgrad, "bwd_grad_w": cost.Wgrad}
	return readSimuMax(file, "group_matmul", g, func(f map[string]string, tflops float64) (Sample, string) {
		n := func(key string) int64 { v, _ := strconv.ParseInt(f[key], 10, 64); return v }
		layout, known := stages[f["stage"]]
		k := cost.GroupedGEMM{Groups: n("ng"), Tokens: n("ng") * n("M"), N: n("N"), K: n("K"), DType: unit.BF16, Layout: layout}
		switch {
		case !known || k.Groups < 1 || k.Tokens < 1 || k.N < 1 || k.K < 1 || !(tflops > 0) || f["dtype"] != "bf16":
			return Sample{}, "grouped GEMM not understood"
		case layout == cost.Wgrad && f["main_grad_dtype"] != "fp32":
			return Sample{}, "gradients accumulated in bf16: cost.GroupedGEMM has fp32"
		}
		if layout == cost.Dgrad { // K and N of the product itself
			k.N, k.K = k.K, k.N
		}
		return Sample{Kernel: k, DType: string(unit.BF16), Micros: k.FLOPs() / tflops / 1e6}, ""
	})
}
