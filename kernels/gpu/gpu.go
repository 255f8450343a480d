// Package gpu is what benchmarks need of a GPU: memory, kernels, streams,
// events and graphs. Launchers register themselves; the default one opens the
// driver at run time and needs no CUDA to build.
package gpu

// Launcher is one way to reach the CUDA driver.
type Launcher interface {
	// Name is the launcher's name: "dlopen" or "cu".
	Name() string
	// Count is the number of GPUs. The error says what is missing (driver, GPU)
	// and what to do about it.
	Count() (int, error)
	// Open takes the primary context of one GPU.
	Open(ordinal int) (Device, error)
}

// Ptr is an address in a GPU's memory.
type Ptr uint64

// Dim is the extent of a grid or of a block.
type Dim struct{ X, Y, Z uint32 }

// Info is what does not change while a GPU is open.
type Info struct {
	Name       string // "NVIDIA H200"
	Driver     string // "580.159.04"; the CUDA driver API's version where NVML is absent
	CUDA       string // "13.0", what the driver supports
	Capability [2]int // 9, 0
	SMs        int
	L2Bytes    int64
	Bytes      int64 // of device memory
	ClockMHz   int   // highest SM clock
	MemMHz     int   // highest memory clock
	Synthetic  bool  // a fake driver: no number from it is a measurement
}

// Device is an open GPU. Its methods are for one goroutine, locked to its
// thread by Open.
type Device interface {
	Info() Info
	Alloc(bytes int64) (Ptr, error)
	Free(Ptr) error
	// Upload and Download return when the copy is done.
	Upload(dst Ptr, src []byte) error
	Download(dst []byte, src Ptr) error
	// Load takes PTX text or a cubin.
	Load(image []byte) (Module, error)
	NewStream() (Stream, error)
	NewEvent() (Event, error)
	// Sync waits for everything that was enqueued.
	Sync() error
	Close() error
}

// Module is loaded code.
type Module interface {
	Function(name string) (Function, error)
	Unload() error
}

// Function is a kernel. Args are Ptr, int32, uint32, int64, uint64 or float32,
// in the order and of the size of the kernel's parameters.
type Function interface {
	// AllowShared raises the limit of dynamic shared memory, in bytes.
	AllowShared(bytes int) error
	Launch(s Stream, grid, block Dim, sharedBytes uint32, args ...any) error
}

// Stream is an order of work on a GPU.
type Stream interface {
	// Handle is the CUstream, for vendor libraries.
	Handle() uintptr
	Fill(dst Ptr, value byte, bytes int64) error
	Copy(dst, src Ptr, bytes int64) error
	Record(Event) error
	Wait(Event) error
	// BeginCapture starts to record a graph instead of running.
	BeginCapture() error
	EndCapture() (Graph, error)
	Sync() error
	Close() error
}

// Event is a point in a stream.
type Event interface {
	// Since is the time from an earlier event, in microseconds; both were reached.
	Since(earlier Event) (micros float64, err error)
	Sync() error
	Close() error
}

// Graph is recorded work.
type Graph interface {
	Launch(Stream) error
	Close() error
}
