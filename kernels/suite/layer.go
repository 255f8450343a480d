package suite

import (
	"orrery/kernels/numbers"

	"math"
	"math/rand/v2"
)

// Definitions of the kernels of layer.cu: rows are tokens.

const eps = 1e-5

// rowsThreads is how many threads of a block work on a row of 8-wide vectors.
func rowThreads(cols8 int64) int64 { return max(32, min(1024, (cols8+31)/32*32)) }

// rmsNorm: y = x w / sqrt(mean(x^2) + eps) (Zhang and Sennrich, arXiv:1910.07467).
func rmsNorm(rows, cols int64) definition {
	return func(b *builder) {
		x, hx := b.in(rows*cols, numbers.NormalBF16, 2)
		w, hw := b.in(cols, numbers.NormalBF16, 2)
		y := b.out(2*rows*cols, nearBF16(func() []float64 { y, _ := rmsNormRef(numbers.BF16s(hx), numbers.BF16s(hw)); return y }))
		r := b.out(4*rows, nearF32(func() []float64 { _, r := rmsNormRef(numbers.BF16s(hx), numbers.BF16s(hw)); return r }))
		b.launch(rows, rowThreads(cols/8), y, r, x, w, int32(cols/8), float32(eps))
	}
}

func rmsNormRef(x, w []float64) (y, rstd []float64) {
	cols := len(w)
	for at := 0; at < len(x); at += cols {
		sum := 0.0
		for _, v := range x[at : at+cols] {
			sum += v * v
		}
		r := 1 / math.Sqrt(sum/float64(cols)+eps)
		rstd = append(rstd, r)
		for i, v := range x[at : at+cols] {
			y = append(y, v*r*w[i])
		}
	}
	return y, rstd
}

// rmsNormBackward: dx = r (dy w - x r^2 mean(dy w x)) and dw = sum over rows of
// dy x r, the derivatives of rmsNorm.
func rmsNormBackward(rows, cols int64) definition {
	return func(b *builder) {
		x, hx := b.in(rows*cols, numbers.NormalBF16, 2)
		w, hw := b.in(cols, numbers.NormalBF16, 2)
		dy, hdy := b.in(rows*cols, numbers.NormalBF16, 2)
		var rstd []float64
		r, hr := b.in(rows, numbers.PositiveF32, 4)
		if b.data {
			rstd = numbers.F32s(hr)
		}
		dw := b.given(make([]byte, 4*cols))
		ref := func() (dx, dw []float64) {
			x, w, dy := numbers.BF16s(hx), numbers.BF16s(hw), numbers.BF16s(hdy)
			n := int(cols)
			dx, dw = make([]float64, len(x)), make([]float64, n)
			for row := range int(rows) {
				dot, r := 0.0, rstd[row]
				for i := range n {
					dot += dy[row*n+i] * w[i] * x[row*n+i]
				}
				dot *= r * r / float64(n)
				for i := range n {
					g, v := dy[row*n+i], x[row*n+i]
					dx[row*n+i] = r * (g*w[i] - v*dot)
					dw[i] += g * v * r
				}
			}
			return dx, dw
		}
		dx := b.out(2*rows*cols, func(got []byte) error { want, _ := ref(); return numbers.Near(numbers.BF16s(got), want, relBF16, 0.02) })
		b.also(dw, 4*cols, func(got []byte) error {
			_, want := ref()
			return numbers.Near(numbers.F32s(got), want, 1e-3, 1e-3*float64(rows))
		})
		b.shared = uint32(4 * cols)
		b.launch(min(rows, int64(b.sms)*2), rowThreads(cols/8), dx, dw, dy, x, w, r, int32(rows), int32(cols/8))
	}
}

// rope turns pairs of channels by the position's angles (Su et al.,
// arXiv:2104.09864), forward (way 1) or back (way -1).
func rope(tokens, heads, dim int64, way float32) definition {
	return func(b *builder) {
		x, hx := b.in(tokens*heads*dim, numbers.NormalBF16, 2)
		trig, ht := b.in(tokens*dim, numbers.NormalF32, 4) // any factors will do
		y := b.out(2*tokens*heads*dim, nearBF16(func() []float64 {
			x, t := numbers.BF16s(hx), numbers.F32s(ht)
			out := make([]float64, len(x))
			half := int(dim / 2)
			for at := range len(x) / int(dim) {
				token := at / int(heads)
				for j := range half {
					c, s := t[2*(token*half+j)], t[2*(token*half+j)+1]
					a, v := x[at*int(dim)+j], x[at*int(dim)+j+half]
					out[at*int(dim)+j] = a*c - float64(way)*v*s
					out[at*int(dim)+j+half] = v*c + float64(way)*a*s
				}
			}
			return out
		}))
		b.launch(tokens, max(32, min(256, heads*dim/2/32*32)), y, x, trig, int32(heads), int32(dim), way)
	}
}

func silu(x float64) float64 { return x / (1 + math.Exp(-x)) }

// swiGLU: y = silu(gate) up (Shazeer, arXiv:2002.05202).
func swiGLU(rows, cols int64) definition {
	return func(b *builder) {
		gu, h := b.in(2*rows*cols, numbers.NormalBF16, 2)
		y := b.out(2*rows*cols, nearBF16(func() []float64 {
			x := numbers.BF16s(h)
			var out []float64
			for r := range rows {
				for c := range cols {
					out = append(out, silu(x[2*r*cols+c])*x[2*r*cols+cols+c])
				}
			}
			return out
		}))
		b.launch(b.waves(rows*cols/8, 256), 256, y, gu, int32(cols/8), rows*cols/8)
	}
}

// swiGLUBackward: dgate = dy up s (1 + gate (1 - s)) with s = sigmoid(gate), dup =
// dy silu(gate).
func swiGLUBackward(rows, cols int64) definition {
	return func(b *builder) {
		gu, h := b.in(2*rows*cols, numbers.NormalBF16, 2)
		dy, hd := b.in(rows*cols, numbers.NormalBF16, 2)
		dgu := b.out(4*rows*cols, nearBF16(func() []float64 {
			x, d := numbers.BF16s(h), numbers.BF16s(hd)
			out := make([]float64, len(x))
			for r := range rows {
				for c := range cols {
					g, u, o := x[2*r*cols+c], x[2*r*cols+cols+c], d[r*cols+c]
					s := 1 / (1 + math.Exp(-g))
					out[2*r*cols+c], out[2*r*cols+cols+c] = o*u*s*(1+g*(1-s)), o*g*s
				}
			}
			return out
		}))
		b.launch(b.waves(rows*cols/8, 256), 256, dgu, dy, gu, int32(cols/8), rows*cols/8)
	}
}

func residualAdd(n int64) definition {
	return func(b *builder) {
		x, hx := b.in(n, numbers.NormalBF16, 2)
		y, hy := b.in(n, numbers.NormalBF16, 2)
		out := b.out(2*n, nearBF16(func() []float64 {
			x, y := numbers.BF16s(hx), numbers.BF16s(hy)
			for i := range x {
				x[i] += y[i]
			}
			return x
		}))
		b.launch(b.waves(n/8, 256), 256, out, x, y, n/8)
	}
}

// draws below some bound.
func below(bound int64) func(*rand.Rand, []byte) {
	return func(r *rand.Rand, out []byte) {
		ids := make([]int32, len(out)/4)
		for i := range ids {
			ids[i] = int32(r.Int64N(bound))
		}
		copy(out, numbers.BytesOf(ids))
	}
}

// crossEntropy: the loss log(sum(exp(x))) - x[target] of each row, and (softmax -
// onehot) scale in place of the logits.
func crossEntropy(rows, vocab int64) definition {
	const scale = 0.5
	return func(b *builder) {
		logits, hx := b.in(rows*vocab, numbers.NormalBF16, 2)
		target, ht := b.in(rows, below(vocab), 4)
		ref := func() (loss, grad []float64) {
			x, t := numbers.BF16s(hx), numbers.Int32s(ht)
			for r := range int(rows) {
				row := x[r*int(vocab) : (r+1)*int(vocab)]
				sum := 0.0
				for _, v := range row {
					sum += math.Exp(v)
				}
				loss = append(loss, math.Log(sum)-row[t[r]])
				for i, v := range row {
					g := math.Exp(v) / sum
					if i == int(t[r]) {
						g--
					}
					grad = append(grad, g*scale)
				}
			}
			return loss, grad
		}
		loss := b.out(4*rows, nearF32(func() []float64 { l, _ := ref(); return l }))
		b.also(logits, 2*rows*vocab, nearBF16(func() []float64 { _, g := ref(); return g }))
		b.launch(rows, rowThreads(vocab/8), loss, logits, target, int32(vocab/8), float32(scale))
	}
}

func embedding(rows, cols, vocab int64) definition {
	return func(b *builder) {
		table, ht := b.in(vocab*cols, numbers.NormalBF16, 2)
		ids, hi := b.in(rows, below(vocab), 4)
		y := b.out(2*rows*cols, nearBF16(func() []float64 { return gather(numbers.BF16s(ht), numbers.Int32s(hi), int(cols)) }))
		b.launch(rows, rowThreads(cols/8), y, table, ids, int32(cols/8))
	}
}

func gather(table []float64, ids []int32, cols int) []float64 {
	var out []float64
	for _, id := range ids {
		out = append(out, table[int(id)*cols:(int(id)+1)*cols]...)
	}
	return out
}

func embeddingGrad(rows, cols, vocab int64) definition {
	return func(b *builder) {
		table := b.given(make([]byte, 4*vocab*cols))
		dy, hd := b.in(rows*cols, numbers.NormalBF16, 2)
		ids, hi := b.in(rows, below(vocab), 4)
		b.also(table, 4*vocab*cols, nearF32(func() []float64 {
			out := make([]float64, vocab*cols)
			d := numbers.BF16s(hd)
			for r, id := range numbers.Int32s(hi) {
				for c := range int(cols) {
					out[int(id)*int(cols)+c] += d[r*int(cols)+c]
				}
			}
			return out
		}))
		b.launch(rows, rowThreads(cols/8), table, dy, ids, int32(cols/8))
	}
}
