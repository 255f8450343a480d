package hw

import "orrery/sim/unit"

// Peaks are the silicon's. What a kernel keeps of them under the 500 W cap is the
// business of the profile's sustained clock, not of this table.
func init() {
	registerGPU(GPU{
		Name:    "h100-96gb-500w",
		Aliases: []string{"h100-96gb", "h100-grand-teton"},
		Title:   "NVIDIA H100 96 GB HBM2e, capped at 500 W (Meta Grand Teton)",
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
		HBM:         97871 * unit.MiB,
		HBMGBps:     2400,
		L2:          50 * unit.MiB,
		NVLinkGBps:  450,
		PowerW:      500,
		MaxSMMHz:    1980,
		BaseProfile: "h100",
		Source: "peaks, SMs, L2: NVIDIA H100 Tensor Core GPU Architecture whitepaper v1.04, tables 2 and 3, H100 SXM5 without sparsity; " +
			"memory, its bandwidth and the power cap: pytorch/torchtitan benchmarks/llama3_h100_202412_torchtitan.md; " +
			"NVLink: H100 data sheet; HBM: assumed the 97871 MiB that nvidia-smi reports on a 96 GB GH200 " +
			"(torchtitan logs a usable capacity of 95.04 GiB, and an H100 80 GB too loses 0.5 GiB to its context); clock: assumed as the H100's",
	})
}
