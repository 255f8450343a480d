package hw

import "orrery/sim/unit"

func init() {
	registerGPU(GPU{
		Name:    "h800",
		Aliases: []string{"h800-sxm", "h800-80gb"},
		Title:   "NVIDIA H800 SXM5 80 GB",
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
		HBM:         81559 * unit.MiB,
		HBMGBps:     3352,
		L2:          50 * unit.MiB,
		NVLinkGBps:  200,
		PowerW:      700,
		MaxSMMHz:    1980,
		BaseProfile: "h100",
		Source: "all but NVLink as the H100 (compute is not reduced; its FP64 is): DeepSeek-V3 Technical Report, arXiv:2412.19437; " +
			"NVLink 400 GB/s both ways: Insights into DeepSeek-V3, arXiv:2505.09343, section 4.1",
	})
}
