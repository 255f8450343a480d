// Package sample is the one format of measurements: a CSV with a header block
// that says where, when and of what the numbers are.
package sample

// Header is what all rows of a file share.
type Header struct {
	GPU       string // "NVIDIA H200"
	Driver    string
	CUDA      string
	SMs       int
	ClockMHz  int // highest SM clock
	MemMHz    int // highest memory clock
	PowerCapW float64
	Date      string // RFC 3339, UTC, when the file was begun
	Launcher  string // "dlopen", "cu", "torch"
	Host      string // versions that matter: "torch 2.11.0+cu130, cudnn 9.…"; may be empty
	// Synthetic marks numbers of a fake GPU. They are never fitted into an
	// embedded profile.
	Synthetic bool
}

// Row is one kernel at one shape.
type Row struct {
	Family string // cost.Family of the prices it calibrates, or one of the families of its own (launch, clock, stream)
	Kernel string // "rmsnorm", "cublaslt_gemm", "sdpa_flash_bwd"
	Hash   string // first 12 hex digits of the SHA-256 of the kernel's code, or the library's version
	Shape  Shape
	DType  string
	Unit   string // of the samples: "us", "mhz", "watt"
	N      int    // samples
	Median float64
	Low    float64 // distribution-free 95 % interval of the median
	High   float64
	Within bool // the interval is within 2 % of the median
	State
	Samples []float64 // all, in the order measured
}

// State is how the GPU was while a row was measured; zero where NVML is absent.
type State struct {
	ClockMHz, MemMHz int     // medians over the row
	PowerW           float64 // mean
	TempC            int     // highest
	Throttle         string  // reasons seen, joined by +; "none"; "" where NVML is absent
}

// Shape is sizes and options of a kernel in a fixed order: "m=8192 n=4096 k=4096".
type Shape string
