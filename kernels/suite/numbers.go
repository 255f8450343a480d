package suite

import "orrery/kernels/numbers"

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
	return func(got []byte) error { return numbers.Near(numbers.BF16s(got), want(), relBF16, absBF16) }
}

func nearF32(want func() []float64) func([]byte) error {
	return func(got []byte) error { return numbers.Near(numbers.F32s(got), want(), relF32, absF32) }
}
