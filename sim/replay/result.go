package replay

import (
	"fmt"
	"io"
	"math"
)

// ResultFormat and ResultVersion name the format that kernels/replay.py writes.
const (
	ResultFormat  = "orrery-replay-result"
	ResultVersion = 1
)

// Result is what a GPU measured when it ran an export.
type Result struct {
	Format       string `json:"format"`
	Version      int    `json:"version"`
	ExportDigest string `json:"export_digest"`
	Name         string `json:"name"`

	Device   string            `json:"device"` // cuda; cpu only tests the path
	Tiny     bool              `json:"tiny"`   // sizes were scaled down
	GPU      string            `json:"gpu"`
	Driver   string            `json:"driver"`
	Torch    string            `json:"torch"`
	CUDA     string            `json:"cuda"`
	Date     string            `json:"date"`      // RFC 3339
	ClockMHz float64           `json:"clock_mhz"` // of the SMs, median over the run; 0 where it could not be read
	Backends map[string]string `json:"backends"`  // which implementation ran, by kind of op

	Ops    []OpTime     `json:"ops"`
	Passes []PassTime   `json:"passes"`
	Step   Times        `json:"step"`
	Memory ResultMemory `json:"memory"`
}

// Times are the median of n measurements and the bounds of its 95 % interval, in
// microseconds.
type Times struct {
	N        int     `json:"n"`
	MedianUS float64 `json:"median_us"`
	LowUS    float64 `json:"low_us"`
	HighUS   float64 `json:"high_us"`
}

// OpTime is one op of one pass: Op counts the pass's compute-lane ops.
type OpTime struct {
	Pass       int    `json:"pass"`
	Op         int    `json:"op"`
	Name       string `json:"name"`
	Layer      int64  `json:"layer"`
	Microbatch int32  `json:"microbatch"`
	Times
}

// PassTime is one pass, with no events between its ops.
type PassTime struct {
	Pass int `json:"pass"`
	Times
}

// ResultMemory is torch.cuda.memory_allocated after each pass, and its maximum.
type ResultMemory struct {
	HeldBytes  int64         `json:"held_bytes"` // before the first pass
	AfterBytes []MemoryAfter `json:"after"`
	PeakBytes  int64         `json:"peak_bytes"`
}

// MemoryAfter is what is allocated when a pass has ended.
type MemoryAfter struct {
	Pass  int   `json:"pass"`
	Bytes int64 `json:"bytes"`
}

// ReadResult reads a result; unknown fields and times that are none are errors.
func ReadResult(r io.Reader) (*Result, error) {
	var res Result
	if err := strict(r, &res); err != nil {
		return nil, err
	}
	if res.Format != ResultFormat || res.Version != ResultVersion {
		return nil, fmt.Errorf("format %q version %d, want %q version %d", res.Format, res.Version, ResultFormat, ResultVersion)
	}
	bad := func(t Times) bool {
		return !(t.MedianUS > 0) || math.IsInf(t.MedianUS, 0) || t.LowUS > t.MedianUS || t.HighUS < t.MedianUS || t.N < 1
	}
	for i, o := range res.Ops {
		if bad(o.Times) {
			return nil, fmt.Errorf("ops[%d] (%s): n %d, %g us in [%g, %g] is no measurement", i, o.Name, o.N, o.MedianUS, o.LowUS, o.HighUS)
		}
	}
	for i, p := range res.Passes {
		if bad(p.Times) {
			return nil, fmt.Errorf("passes[%d]: n %d, %g us in [%g, %g] is no measurement", i, p.N, p.MedianUS, p.LowUS, p.HighUS)
		}
	}
	if bad(res.Step) {
		return nil, fmt.Errorf("step: n %d, %g us in [%g, %g] is no measurement", res.Step.N, res.Step.MedianUS, res.Step.LowUS, res.Step.HighUS)
	}
	return &res, nil
}
