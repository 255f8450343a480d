package hw

import "orrery/sim/unit"

func init() {
	registerGPU(GPU{
		Name:    "h100",
		Aliases: []string{"h100-sxm", "h100-80gb", "h100-sxm5-80gb"},
		Title:   "NVIDIA H100 SXM5 80 GB",
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
		HBM:        81559 * unit.MiB,
		HBMGBps:    3352,
		L2:         50 * unit.MiB,
		NVLinkGBps: 450,
		PowerW:     700,
		MaxSMMHz:   1980,
		Source: "peaks, SMs, L2: NVIDIA H100 Tensor Core GPU Architecture whitepaper v1.04, tables 2 and 3, H100 SXM5 without sparsity; " +
			"HBM bandwidth, NVLink and power: NVIDIA H100 data sheet (2023); " +
			"HBM (81559 MiB) and clock: nvidia-smi on an H100 80GB HBM3",
	})
}
