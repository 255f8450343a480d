// Package unit holds the quantities that every part of orrery shares, so that
// no number travels without its unit.
package unit

import (
	"fmt"
	"math"
)

// Time is a duration or a point in simulated time, in picoseconds. Integers
// make ties exact and runs bit-equal; the range is 106 days.
type Time int64

// Common durations.
const (
	Picosecond  Time = 1
	Nanosecond       = 1000 * Picosecond
	Microsecond      = 1000 * Nanosecond
	Millisecond      = 1000 * Microsecond
	Second           = 1000 * Millisecond
)

// Seconds converts seconds to Time, rounding half away from zero. Values out
// of range (including infinities) saturate; NaN gives 0.
func Seconds(s float64) Time {
	ps := math.Round(s * float64(Second))
	switch {
	case ps != ps:
		return 0
	case ps >= math.MaxInt64:
		return math.MaxInt64
	case ps <= math.MinInt64:
		return math.MinInt64
	}
	return Time(ps)
}

// Micros converts microseconds to Time.
func Micros(us float64) Time { return Seconds(us * 1e-6) }

// Seconds returns t in seconds.
func (t Time) Seconds() float64 { return float64(t) / float64(Second) }

// Micros returns t in microseconds.
func (t Time) Micros() float64 { return float64(t) / float64(Microsecond) }

// String prints t with three significant decimals in the unit that reads best.
func (t Time) String() string {
	abs := t
	if abs < 0 {
		abs = -abs
	}
	switch {
	case abs == 0:
		return "0 s"
	case abs < Microsecond:
		return fmt.Sprintf("%.4g ns", float64(t)/float64(Nanosecond))
	case abs < Millisecond:
		return fmt.Sprintf("%.4g us", float64(t)/float64(Microsecond))
	case abs < Second:
		return fmt.Sprintf("%.4g ms", float64(t)/float64(Millisecond))
	}
	return fmt.Sprintf("%.5g s", t.Seconds())
}

// Bytes is an amount of memory or data, in bytes.
type Bytes int64

// Binary multiples of a byte.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

// GiB returns b in gibibytes.
func (b Bytes) GiB() float64 { return float64(b) / float64(GiB) }

// String prints b in the binary unit that reads best.
func (b Bytes) String() string {
	abs := b
	if abs < 0 {
		abs = -abs
	}
	switch {
	case abs < KiB:
		return fmt.Sprintf("%d B", int64(b))
	case abs < MiB:
		return fmt.Sprintf("%.4g KiB", float64(b)/float64(KiB))
	case abs < GiB:
		return fmt.Sprintf("%.4g MiB", float64(b)/float64(MiB))
	}
	return fmt.Sprintf("%.4g GiB", b.GiB())
}

// DType is a number format of a kernel's operands.
type DType string

// The formats that kernels are priced in.
const (
	FP32     DType = "fp32"
	TF32     DType = "tf32"
	BF16     DType = "bf16"
	FP16     DType = "fp16"
	FP8      DType = "fp8"       // e4m3/e5m2 with one scale a tensor
	FP8Block DType = "fp8_block" // e4m3 with 1x128 and 128x128 scales (DeepSeek)
	MXFP8    DType = "mxfp8"     // e4m3 with a scale every 32 elements
	NVFP4    DType = "nvfp4"     // e2m1 with a scale every 16 elements
)

// Bytes returns the size of one element, block scales included.
func (d DType) Bytes() float64 {
	switch d {
	case FP32, TF32:
		return 4
	case BF16, FP16:
		return 2
	case FP8, FP8Block:
		return 1
	case MXFP8:
		return 1 + 1.0/32
	case NVFP4:
		return 0.5 + 1.0/16
	}
	panic("unit: unknown dtype " + string(d))
}

// Valid reports whether d is one of the formats above.
func (d DType) Valid() bool {
	switch d {
	case FP32, TF32, BF16, FP16, FP8, FP8Block, MXFP8, NVFP4:
		return true
	}
	return false
}
