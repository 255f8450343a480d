package calibrate

import (
	"strconv"
	"strings"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	readers = append(readers, reader{
		name:  "GEMM of Megatron-LM in three layouts (SimuMax)",
		match: func(rel string) bool { return strings.HasSuffix(rel, ".json") && strings.Contains(rel, "simumax/") },
		read:  readSimuMaxGEMM,
	})
}

// readSimuMaxGEMM reads linear layers as Megatron-LM runs them: TN is the forward
// product, NN the gradient of the input, NT the gradient of the weight, added to
// an fp32 buffer.
func readSimuMaxGEMM(file string, g *hw.GPU) ([]Sample, Rejected, error) {
	layouts := map[string]cost.Layout{"TN": cost.Fwd, "NN": cost.Dgrad, "NT": cost.Wgrad}
	return readSimuMax(file, "matmul", g, func(f map[string]string, tflops float64) (Sample, string) {
		n := func(key string) int64 { v, _ := strconv.ParseInt(f[key], 10, 64); return v }
		layout, known := layouts[f["layout"]]
		k := cost.GEMM{M: n("m"), N: n("n"), K: n("k"), Batch: n("b"), DType: unit.BF16, Layout: layout}
		switch {
		case !known || min(k.M, k.N, k.K, k.Batch) < 1 || !(tflops > 0):
			return Sample{}, "GEMM not understood"
		case (layout == cost.Wgrad) != (f["out_dtype"] == "fp32" && f["accumulate"] == "True"):
			return Sample{}, "result not in the format of its layout: bf16, or accumulated in fp32 for the weight gradient"
		}
		if k.Batch == 1 {
			k.Batch = 0
		}
		return Sample{Kernel: k, DType: string(unit.BF16), Micros: k.FLOPs() / tflops / 1e6}, ""
	})
}
