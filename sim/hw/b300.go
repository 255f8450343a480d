package hw

import "orrery/sim/unit"

func init() {
	registerGPU(GPU{
		Name:    "b300",
		Aliases: []string{"b300-sxm"},
		Title:   "NVIDIA B300 SXM6 288 GB (Blackwell Ultra)",
		Arch:    "sm103",
		SMs:     148,
		PeakTFLOPS: map[unit.DType]float64{
			unit.FP32:     75,
			unit.TF32:     1125,
			unit.BF16:     2250,
			unit.FP16:     2250,
			unit.FP8:      4500,
			unit.FP8Block: 4500,
			unit.MXFP8:    4500,
			unit.NVFP4:    13500,
		},
		HBM:         275040 * unit.MiB,
		HBMGBps:     8000,
		L2:          126 * unit.MiB,
		NVLinkGBps:  900,
		PowerW:      1100,
		MaxSMMHz:    2032,
		BaseProfile: "gb200",
		Source: "peaks: NVIDIA HGX B300 data sheet, per GPU of eight: NVFP4 108 PFLOP/s dense, the others as B200, halved where it counts sparsity; " +
			"HBM bandwidth and NVLink: NVIDIA DGX B300 data sheet; " +
			"HBM (275040 MiB), power (1100 W) and clock (2032 MHz): nvidia-smi on a B300 SXM6 AC; SMs: 148, device query; L2: assumed as the B200's",
	})
}
