package hw

import "orrery/sim/unit"

func init() {
	registerGPU(GPU{
		Name:    "gb200",
		Aliases: []string{"gb200-nvl"},
		Title:   "NVIDIA GB200 (one Blackwell GPU of the superchip) 186 GB",
		Arch:    "sm100",
		SMs:     152,
		PeakTFLOPS: map[unit.DType]float64{
			unit.FP32:     80,
			unit.TF32:     1250.0,
			unit.BF16:     2500,
			unit.FP16:     2500,
			unit.FP8:      5000,
			unit.FP8Block: 5000,
			unit.MXFP8:    5000,
			unit.NVFP4:    10000,
		},
		HBM:        189471 * unit.MiB,
		HBMGBps:    8000,
		L2:         126 * unit.MiB,
		NVLinkGBps: 900,
		PowerW:     1200,
		MaxSMMHz:   2062,
		Source: "peaks: NVIDIA GB200 NVL72 data sheet, per GPU of 72, halved where it counts sparsity; " +
			"HBM bandwidth and NVLink: same (576 and 130 TB/s for 72, NVLink both ways); " +
			"HBM (189471 MiB), power and clock: nvidia-smi on a GB200; SMs: 152, device query; L2: assumed as the B200's",
	})
}
