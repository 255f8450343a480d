package calibrate

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

// gemmTables are the tables of dense GEMM, by the end of their names.
var gemmTables = map[string]unit.DType{
	"gemm_bfloat16_us.csv": unit.BF16, "gemm_fp8_us.csv": unit.FP8,
	"gemm_fp8_block_us.csv": unit.FP8Block, "gemm_nvfp4_us.csv": unit.NVFP4,
}

func init() {
	readers = append(readers, reader{
		name:  "dense GEMM (aiconfigurator)",
		match: func(rel string) bool { _, ok := gemmTables[path.Base(rel)]; return ok },
		read:  readGEMM,
	})
}

// readGEMM reads a table of GEMMs: one column a collection, and their median.
func readGEMM(file string, _ *hw.GPU) ([]Sample, Rejected, error) {
	dtype, ok := gemmTables[filepath.Base(file)]
	if !ok {
		return nil, nil, fmt.Errorf("%s: no table of GEMMs; known are %s", filepath.Base(file), strings.Join(sortedKeys(gemmTables), ", "))
	}
	var samples []Sample
	rejected := Rejected{}
	err := eachRow(file, func(line int, r *attentionRow) {
		k := cost.GEMM{M: r.int("m"), N: r.int("n"), K: r.int("k"), DType: dtype}
		micros, best, spread := r.float("median_us"), r.float("min_us"), r.float("spread")
		switch {
		case r.err != nil:
			return
		case min(k.M, k.N, k.K) < 1 || !(micros > 0 && micros < longest):
			rejected["no size or no time"]++
			return
		}
		samples = append(samples, Sample{Kernel: k, DType: string(dtype), Micros: micros, Best: best, Spread: spread, Table: filepath.Base(file), Line: line})
	})
	return samples, rejected, err
}
