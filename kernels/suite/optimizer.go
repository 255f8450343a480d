package suite

import (
	"orrery/kernels/numbers"

	"encoding/binary"
	"fmt"
	"math"
)

// Definitions of the kernels of optimizer.cu.

func gradNorm(n int64) definition {
	return func(b *builder) {
		g, h := b.in(n, numbers.NormalF32, 4)
		blocks := b.waves(n/4, 256)
		part := b.out(4*blocks, func(got []byte) error {
			sum, want := 0.0, 0.0
			for _, x := range numbers.F32s(got) {
				sum += x
			}
			for _, x := range numbers.F32s(h) {
				want += x * x
			}
			return numbers.Near([]float64{sum}, []float64{want}, 1e-4, 0)
		})
		b.launch(blocks, 256, part, g, n/4)
	}
}

func gradNormFinal(n int64) definition {
	return func(b *builder) {
		part, h := b.in(n, numbers.PositiveF32, 4)
		norm := b.out(4, func(got []byte) error {
			want := 0.0
			for _, x := range numbers.F32s(h) {
				want += x
			}
			return numbers.Near(numbers.F32s(got), []float64{math.Sqrt(want)}, 1e-4, 0)
		})
		b.launch(1, 256, norm, part, int32(n))
	}
}

// Adam's constants in all cases.
const (
	adamLR, adamBeta1, adamBeta2, adamEps, adamDecay = 1e-3, 0.9, 0.95, 1e-8, 0.1
	adamCorrect1, adamCorrect2                       = 1 - 0.9*0.9, 1 - 0.95*0.95 // second step
)

// chunkElements of a tensor are updated by a block, as in Apex's multi-tensor Adam.
const chunkElements = 65536

// adam updates n parameters in chunks (Kingma and Ba, arXiv:1412.6980; decoupled
// weight decay, arXiv:1711.05101): bf16 parameters, the rest fp32.
func adam(n int64) definition {
	return func(b *builder) {
		grad, hg := b.in(n, numbers.NormalF32, 4)
		master, hp := b.in(n, numbers.NormalF32, 4)
		m, hm := b.in(n, numbers.NormalF32, 4)
		v, hv := b.in(n, numbers.PositiveF32, 4)
		ref := func() (p, m, v []float64) {
			g := numbers.F32s(hg)
			p, m, v = numbers.F32s(hp), numbers.F32s(hm), numbers.F32s(hv)
			for i := range g {
				m[i] = adamBeta1*m[i] + (1-adamBeta1)*g[i]
				v[i] = adamBeta2*v[i] + (1-adamBeta2)*g[i]*g[i]
				p[i] -= adamLR * (m[i]/adamCorrect1/(math.Sqrt(v[i]/adamCorrect2)+adamEps) + adamDecay*p[i])
			}
			return p, m, v
		}
		b.also(master, 4*n, nearF32(func() []float64 { p, _, _ := ref(); return p }))
		b.also(m, 4*n, nearF32(func() []float64 { _, m, _ := ref(); return m }))
		b.also(v, 4*n, nearF32(func() []float64 { _, _, v := ref(); return v }))
		param := b.out(2*n, nearBF16(func() []float64 { p, _, _ := ref(); return p }))
		var chunks []byte // struct chunk of optimizer.cu
		for at := int64(0); at < n; at += chunkElements {
			for _, p := range []uint64{uint64(param) + 2*uint64(at), uint64(master) + 4*uint64(at), uint64(m) + 4*uint64(at),
				uint64(v) + 4*uint64(at), uint64(grad) + 4*uint64(at), uint64(min(chunkElements, n-at))} {
				chunks = binary.LittleEndian.AppendUint64(chunks, p)
			}
		}
		b.launch((n+chunkElements-1)/chunkElements, 512, b.given(chunks), float32(adamLR), float32(adamBeta1), float32(adamBeta2),
			float32(adamEps), float32(adamDecay), float32(adamCorrect1), float32(adamCorrect2))
	}
}

// nearE4M3 allows half a step of fp8: 2^-4 of the value, or 2^-10 numbers.Near zero, and
// what a rounding of the scaled value on the edge moves.
func nearE4M3(want func() []float64) func([]byte) error {
	return func(got []byte) error {
		x := make([]float64, len(got))
		for i, b := range got {
			x[i] = numbers.FromE4M3(b)
		}
		return numbers.Near(x, want(), 1.0/16+1e-3, 1.0/1024)
	}
}

func castFP8(n int64) definition {
	return func(b *builder) {
		x, hx := b.in(n, numbers.NormalBF16, 2)
		scale, hs := b.in(1, numbers.PositiveF32, 4)
		y := b.out(n, nearE4M3(func() []float64 {
			x, s := numbers.BF16s(hx), numbers.F32s(hs)[0]
			for i := range x {
				x[i] = max(min(x[i]*s, 448), -448)
			}
			return x
		}))
		b.launch(b.waves(n/8, 256), 256, y, x, scale, n/8)
	}
}

// castFP8Block scales each 128 values by 448 over their largest (DeepSeek-V3,
// arXiv:2412.19437, section 3.3.2).
func castFP8Block(n int64) definition {
	return func(b *builder) {
		x, hx := b.in(n, numbers.NormalBF16, 2)
		ref := func() (y, back []float64) {
			y = numbers.BF16s(hx)
			for at := 0; at < len(y); at += 128 {
				top := 0.0
				for _, v := range y[at : at+128] {
					top = max(top, math.Abs(v))
				}
				if top == 0 {
					top = 448
				}
				back = append(back, top/448)
				for i := at; i < at+128; i++ {
					y[i] *= 448 / top
				}
			}
			return y, back
		}
		y := b.out(n, nearE4M3(func() []float64 { y, _ := ref(); return y }))
		scale := b.out(4*n/128, nearF32(func() []float64 { _, s := ref(); return s }))
		if n%128 != 0 {
			b.err = fmt.Errorf("cast_fp8_block of %d values: they come in groups of 128", n)
		}
		b.launch(b.waves(n/8, 256), 256, y, scale, x, n/8)
	}
}
