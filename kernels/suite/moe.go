package suite

import (
	"orrery/kernels/numbers"

	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Definitions of the kernels of moe.cu.

// router: softmax over experts, the k most probable and their probabilities.
func router(tokens, experts, k int64) definition {
	return func(b *builder) {
		logits, h := b.in(tokens*experts, numbers.NormalF32, 4)
		ref := func() (prob []float64, expert []int32) {
			x := numbers.F32s(h)
			for t := range int(tokens) {
				row := x[t*int(experts) : (t+1)*int(experts)]
				sum := 0.0
				at := make([]int32, len(row))
				for e, v := range row {
					sum += math.Exp(v)
					at[e] = int32(e)
				}
				slices.SortStableFunc(at, func(a, b int32) int { return cmp.Compare(row[b], row[a]) })
				for _, e := range at[:k] {
					prob, expert = append(prob, math.Exp(row[e])/sum), append(expert, e)
				}
			}
			return prob, expert
		}
		prob := b.out(4*tokens*k, nearF32(func() []float64 { p, _ := ref(); return p }))
		expert := b.out(4*tokens*k, func(got []byte) error {
			_, want := ref()
			for i, e := range numbers.Int32s(got) {
				if e != want[i] {
					return fmt.Errorf("element %d is expert %d, want %d", i, e, want[i])
				}
			}
			return nil
		})
		b.launch((tokens+7)/8, 256, prob, expert, logits, int32(tokens), int32(experts), int32(k))
	}
}

// order of rows: each token's k copies, shuffled as experts would have them.
func shuffled(tokens, k int64) func(*rand.Rand, []byte) {
	return func(r *rand.Rand, out []byte) {
		rows := make([]int32, len(out)/4)
		for i := range rows {
			rows[i] = int32(int64(i) / k % tokens)
		}
		r.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
		copy(out, numbers.BytesOf(rows))
	}
}

func permute(tokens, k, cols int64) definition {
	return func(b *builder) {
		x, hx := b.in(tokens*cols, numbers.NormalBF16, 2)
		from, hf := b.in(tokens*k, shuffled(tokens, k), 4)
		y := b.out(2*tokens*k*cols, nearBF16(func() []float64 { return gather(numbers.BF16s(hx), numbers.Int32s(hf), int(cols)) }))
		b.launch(tokens*k, rowThreads(cols/8), y, x, from, int32(cols/8))
	}
}

func unpermute(tokens, k, cols int64) definition {
	return func(b *builder) {
		x, hx := b.in(tokens*k*cols, numbers.NormalBF16, 2)
		row, hr := b.in(tokens*k, shuffled(tokens*k, 1), 4)
		prob, hp := b.in(tokens*k, numbers.PositiveF32, 4)
		y := b.out(2*tokens*cols, nearBF16(func() []float64 {
			x, rows, p := numbers.BF16s(hx), numbers.Int32s(hr), numbers.F32s(hp)
			out := make([]float64, tokens*cols)
			for t := range int(tokens) {
				for j := range int(k) {
					for c := range int(cols) {
						out[t*int(cols)+c] += p[t*int(k)+j] * x[int(rows[t*int(k)+j])*int(cols)+c]
					}
				}
			}
			return out
		}))
		b.launch(tokens, rowThreads(cols/8), y, x, row, prob, int32(k), int32(cols/8))
	}
}
