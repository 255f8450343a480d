package hw

import "orrery/sim/unit"

func init() {
	registerGPU(GPU{
		Name:    "h200",
		Aliases: []string{"h200-sxm", "h200-141gb"},
		Title:   "NVIDIA H200 SXM5 141 GB",
		Arch:    "sm90",
		SMs:     132,
		PeakTFLOPS: map[unit.DType]float64{
			unit.FP32:     66.9,
			unit.TF32:     494.7,
			unit.BF16:     989.4,
			unit.FP16:     989.4,
			unit.FP8:      1978.9,
			unit.FP8Block: 1978.9,
		},
		HBM:        143771 * unit.MiB,
		HBMGBps:    4800,
		L2:         60 * unit.MiB,
		NVLinkGBps: 450,
		PowerW:     700,
		MaxSMMHz:   1980,
		Source: "peaks, HBM bandwidth, NVLink and power: NVIDIA H200 data sheet (2024), halved where it counts sparsity; " +
			"SMs: as the H100 (same GH100 die); HBM (143771 MiB), L2 (60 MiB) and clock: device query on an H200",
	})
}
