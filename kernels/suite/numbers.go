package suite

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

// Numbers as they lie in a GPU's memory: little-endian.

func toBF16(x float64) uint16 {
	u := math.Float32bits(float32(x))
	return uint16((u + 0x7fff + (u >> 16 & 1)) >> 16)
}

func fromBF16(u uint16) float64 { return float64(math.Float32frombits(uint32(u) << 16)) }

// normalBF16 fills with normally distributed values: zeros and constants run
// faster on real GPUs.
func normalBF16(r *rand.Rand, out []byte) {
	for i := 0; i+1 < len(out); i += 2 {
		binary.LittleEndian.PutUint16(out[i:], toBF16(r.NormFloat64()))
	}
}

func normalF32(r *rand.Rand, out []byte) {
	for i := 0; i+3 < len(out); i += 4 {
		binary.LittleEndian.PutUint32(out[i:], math.Float32bits(float32(r.NormFloat64())))
	}
}

// positiveF32 is for second moments and scales.
func positiveF32(r *rand.Rand, out []byte) {
	for i := 0; i+3 < len(out); i += 4 {
		binary.LittleEndian.PutUint32(out[i:], math.Float32bits(float32(0.01+r.ExpFloat64())))
	}
}

func randomBits(r *rand.Rand, out []byte) {
	for i := 0; i+7 < len(out); i += 8 {
		binary.LittleEndian.PutUint64(out[i:], r.Uint64())
	}
}

func bf16s(b []byte) []float64 {
	x := make([]float64, len(b)/2)
	for i := range x {
		x[i] = fromBF16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return x
}

func f32s(b []byte) []float64 {
	x := make([]float64, len(b)/4)
	for i := range x {
		x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return x
}

func int32s(b []byte) []int32 {
	x := make([]int32, len(b)/4)
	for i := range x {
		x[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

func bytesOf(x []int32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}

// fromE4M3 decodes fp8 (OCP E4M3).
func fromE4M3(b byte) float64 {
	sign, e, m := 1.0, int(b>>3&15), float64(b&7)
	if b&0x80 != 0 {
		sign = -1
	}
	switch {
	case b&0x7f == 0x7f:
		return math.NaN()
	case e == 0:
		return sign * math.Ldexp(m, -9)
	}
	return sign * math.Ldexp(8+m, e-10)
}

// near compares with a reference: |got - want| <= abs + rel |want| everywhere.
// The error names the first element that is off.
func near(got, want []float64, rel, abs float64) error {
	if len(got) != len(want) {
		return fmt.Errorf("%d elements, want %d", len(got), len(want))
	}
	for i := range got {
		if d := math.Abs(got[i] - want[i]); !(d <= abs+rel*math.Abs(want[i])) {
			return fmt.Errorf("element %d is %g, want %g within %g", i, got[i], want[i], abs+rel*math.Abs(want[i]))
		}
	}
	return nil
}

// Tolerances: bf16 keeps 8 bits, so a rounded result is off by 2^-9 of it; sums
// in fp32 and fast exponentials add less.
const (
	relBF16 = 1.0 / 256
	absBF16 = 1e-3
	relF32  = 1e-4
	absF32  = 1e-5
)

// nearBF16 checks bf16 outputs against a reference in full precision.
func nearBF16(want func() []float64) func([]byte) error {
	return func(got []byte) error { return near(bf16s(got), want(), relBF16, absBF16) }
}

func nearF32(want func() []float64) func([]byte) error {
	return func(got []byte) error { return near(f32s(got), want(), relF32, absF32) }
}
