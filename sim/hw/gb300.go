package hw

import "orrery/sim/unit"

func init() {
	registerGPU(GPU{
		Name:    "gb300",
		Aliases: []string{"gb300-nvl"},
		Title:   "NVIDIA GB300 (one Blackwell Ultra GPU of the superchip) 288 GB",
		Arch:    "sm103",
		SMs:     152,
		PeakTFLOPS: map[unit.DType]float64{
			unit.FP32:     80,
			unit.TF32:     1250.0,
			unit.BF16:     2500,
			unit.FP16:     2500,
			unit.FP8:      5000,
			unit.FP8Block: 5000,
			unit.MXFP8:    5000,
			unit.NVFP4:    15000,
		},
		HBM:         284208 * unit.MiB,
		HBMGBps:     8000,
		L2:          129 * unit.MiB,
		NVLinkGBps:  900,
		PowerW:      1400,
		MaxSMMHz:    2062,
		BaseProfile: "gb200",
		Source: "peaks: NVIDIA GB300 NVL72 data sheet, per GPU of 72: NVFP4 1080 PFLOP/s dense, the others halved where it counts sparsity; " +
			"HBM bandwidth and NVLink: same; " +
			"HBM (284208 MiB) and power: nvidia-smi on a GB300; SMs (152) and L2 (129 MiB): device query; clock: assumed as the GB200's",
	})
}
