// Package numbers has the number formats of kernels as they lie in a GPU's memory:
// little-endian.
package numbers

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

// ToBF16 rounds to the nearest, ties to even.
func ToBF16(x float64) uint16 {
	u := math.Float32bits(float32(x))
	return uint16((u + 0x7fff + (u >> 16 & 1)) >> 16)
}

// FromBF16 is exact.
func FromBF16(u uint16) float64 { return float64(math.Float32frombits(uint32(u) << 16)) }

// NormalBF16 fills with normally distributed values: zeros and constants run
// faster on real GPUs.
func NormalBF16(r *rand.Rand, out []byte) {
	for i := 0; i+1 < len(out); i += 2 {
		binary.LittleEndian.PutUint16(out[i:], ToBF16(r.NormFloat64()))
	}
}

// NormalF32 fills with normally distributed values.
func NormalF32(r *rand.Rand, out []byte) {
	for i := 0; i+3 < len(out); i += 4 {
		binary.LittleEndian.PutUint32(out[i:], math.Float32bits(float32(r.NormFloat64())))
	}
}

// PositiveF32 is for second moments and scales.
func PositiveF32(r *rand.Rand, out []byte) {
	for i := 0; i+3 < len(out); i += 4 {
		binary.LittleEndian.PutUint32(out[i:], math.Float32bits(float32(0.01+r.ExpFloat64())))
	}
}

// RandomBits fills with bits.
func RandomBits(r *rand.Rand, out []byte) {
	for i := 0; i+7 < len(out); i += 8 {
		binary.LittleEndian.PutUint64(out[i:], r.Uint64())
	}
}

// BF16s decodes bf16.
func BF16s(b []byte) []float64 {
	x := make([]float64, len(b)/2)
	for i := range x {
		x[i] = FromBF16(binary.LittleEndian.Uint16(b[2*i:]))
	}
	return x
}

// F32s decodes fp32.
func F32s(b []byte) []float64 {
	x := make([]float64, len(b)/4)
	for i := range x {
		x[i] = float64(math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:])))
	}
	return x
}

// Int32s decodes 32-bit integers.
func Int32s(b []byte) []int32 {
	x := make([]int32, len(b)/4)
	for i := range x {
		x[i] = int32(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return x
}

// BytesOf encodes 32-bit integers.
func BytesOf(x []int32) []byte {
	b := make([]byte, 0, 4*len(x))
	for _, v := range x {
		b = binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return b
}

// FromE4M3 decodes fp8 (OCP E4M3).
func FromE4M3(b byte) float64 {
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

// Near compares with a reference: |got - want| <= abs + rel |want| everywhere.
// The error names the first element that is off.
func Near(got, want []float64, rel, abs float64) error {
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

// NormalE4M3 fills with fp8 values between -2 and 2 in all their magnitudes.
func NormalE4M3(r *rand.Rand, out []byte) {
	for i := range out {
		out[i] = byte(r.UintN(0x40)) | byte(r.UintN(2)<<7)
	}
}

// NormalE5M2 fills with fp8 values between -2 and 2 in all their magnitudes.
func NormalE5M2(r *rand.Rand, out []byte) {
	for i := range out {
		out[i] = byte(r.UintN(0x40)) | byte(r.UintN(2)<<7)
	}
}

// FromE5M2 decodes fp8 (OCP E5M2).
func FromE5M2(b byte) float64 {
	sign, e, m := 1.0, int(b>>2&31), float64(b&3)
	if b&0x80 != 0 {
		sign = -1
	}
	switch {
	case e == 31 && m == 0:
		return math.Inf(int(sign))
	case e == 31:
		return math.NaN()
	case e == 0:
		return sign * math.Ldexp(m, -16)
	}
	return sign * math.Ldexp(4+m, e-17)
}

// Period of the random data of large operands, in bytes: drawing gigabytes one by
// one would take longer than measuring them. It is not one of any row of a matrix.
const Period = 4<<20 - 8*51

// Pattern draws what an operand of so many bytes repeats: all of a small one.
func Pattern(r *rand.Rand, bytes int64, draw func(*rand.Rand, []byte)) []byte {
	out := make([]byte, min(bytes, Period))
	draw(r, out)
	return out
}
