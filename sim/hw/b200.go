package hw

import "orrery/sim/unit"

func init() {
	registerGPU(GPU{
		Name:    "b200",
		Aliases: []string{"b200-sxm", "b200-180gb"},
		Title:   "NVIDIA B200 SXM6 180 GB",
		Arch:    "sm100",
		SMs:     148,
		PeakTFLOPS: map[unit.DType]float64{
			unit.FP32:     75,
			unit.TF32:     1125,
			unit.BF16:     2250,
			unit.FP16:     2250,
			unit.FP8:      4500,
			unit.FP8Block: 4500,
			unit.MXFP8:    4500,
			unit.NVFP4:    9000,
		},
		HBM:         183359 * unit.MiB,
		HBMGBps:     8000,
		L2:          126 * unit.MiB,
		NVLinkGBps:  900,
		PowerW:      1000,
		MaxSMMHz:    1965,
		BaseProfile: "gb200",
		Source: "peaks: NVIDIA Blackwell Architecture Technical Brief and HGX B200 data sheet, per GPU of eight, halved where they count sparsity; " +
			"HBM bandwidth and NVLink: NVIDIA DGX B200 data sheet (64 and 14.4 TB/s for eight); " +
			"HBM (183359 MiB = 179 GiB = 192 GB, the \"180GB\" of MLPerf submissions), power and clock: nvidia-smi on a B200; " +
			"SMs (148) and L2 (126 MiB): device query; " +
			"block-scaled fp8 at the fp8 rate: assumed for fp8_block, PTX ISA tcgen05.mma for mxfp8",
	})
}
