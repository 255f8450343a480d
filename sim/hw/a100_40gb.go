package hw

import "orrery/sim/unit"

func init() {
	registerGPU(GPU{
		Name:    "a100-40gb",
		Aliases: []string{"a100-sxm4-40gb", "a100-sxm-40gb"},
		Title:   "NVIDIA A100 SXM4 40 GB",
		Arch:    "sm80",
		SMs:     108,
		PeakTFLOPS: map[unit.DType]float64{
			unit.FP32: 19.5,
			unit.TF32: 156,
			unit.BF16: 312,
			unit.FP16: 312,
		},
		HBM:         40960 * unit.MiB,
		HBMGBps:     1555,
		L2:          40 * unit.MiB,
		NVLinkGBps:  300,
		PowerW:      400,
		MaxSMMHz:    1410,
		BaseProfile: "h100",
		Source: "peaks, HBM bandwidth, NVLink and power: NVIDIA A100 Tensor Core GPU data sheet (2021); " +
			"SMs, L2 and clock: NVIDIA A100 Tensor Core GPU Architecture whitepaper, table 4; " +
			"HBM: 40960 MiB, as nvidia-smi reports it",
	})
}
