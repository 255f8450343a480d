// Package hw describes GPUs and nodes by published figures: what a data sheet
// says, not what a kernel reaches.
package hw

import "orrery/sim/unit"

// GPU is one accelerator. Peaks are dense, without sparsity.
type GPU struct {
	Name    string   // "h100"
	Aliases []string // "h100-sxm", "H100"
	Title   string   // "NVIDIA H100 SXM5 80 GB"
	Arch    string   // "sm90"
	SMs     int
	// PeakTFLOPS is the dense peak per format, in 1e12 FLOP/s.
	PeakTFLOPS map[unit.DType]float64
	HBM        unit.Bytes // what the driver reports as total
	HBMGBps    float64    // peak, 1e9 B/s
	L2         unit.Bytes
	NVLinkGBps float64 // per GPU and direction, 1e9 B/s
	PowerW     float64 // board limit
	MaxSMMHz   float64 // highest SM clock
	// BaseProfile is the GPU whose fitted profile prices this one, scaled by
	// peak ratios; "" where it has its own.
	BaseProfile string
	// Source says where each figure is from, and which are assumed.
	Source string
}

// Node is a server or a rack tray with its links.
type Node struct {
	Name         string // "dgx-h100"
	Title        string
	Aliases      []string
	GPU          string // name of the GPU, as LookupGPU knows it
	GPUsPerNode  int
	NVLinkDomain int     // GPUs that NVLink joins: 8 in a DGX, 72 in a GB200 NVL72
	NICGBps      float64 // per GPU and direction, 1e9 B/s
	HostGBps     float64 // to the host's memory, per GPU and direction, published rate of the link, 1e9 B/s
	Source       string
}
