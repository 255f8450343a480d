package suite

import (
	"orrery/kernels/numbers"

	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// Definitions of the kernels of memory.cu, and of tile streaming.

// same compares bits.
func same(want func() []byte) func([]byte) error {
	return func(got []byte) error {
		w := want()
		if bytes.Equal(got, w) {
			return nil
		}
		for i := range got {
			if got[i] != w[i] {
				return fmt.Errorf("byte %d is %#x, want %#x", i, got[i], w[i])
			}
		}
		return errors.New("sizes differ")
	}
}

func hbmCopy(n int64) definition { // elements of 16 bytes
	return func(b *builder) {
		src, h := b.in(n, numbers.RandomBits, 16)
		dst := b.out(16*n, same(func() []byte { return h }))
		b.launch(b.waves(n, 512), 512, dst, src, n)
	}
}

// hbmRead folds each thread's words: x = 31 x + (a ^ b ^ c ^ d).
func hbmRead(n int64, times int32) definition {
	return func(b *builder) {
		src, h := b.in(n, numbers.RandomBits, 16)
		blocks := b.waves(n, 512)
		out := b.out(4*blocks*512, same(func() []byte {
			w := make([]uint32, len(h)/4)
			for i := range w {
				w[i] = binary.LittleEndian.Uint32(h[4*i:])
			}
			var sums []byte
			for at := range blocks * 512 {
				x := uint32(0)
				for range times {
					for i := at; i < n; i += blocks * 512 {
						x = x*31 + (w[4*i] ^ w[4*i+1] ^ w[4*i+2] ^ w[4*i+3])
					}
				}
				sums = binary.LittleEndian.AppendUint32(sums, x)
			}
			return sums
		}))
		b.launch(blocks, 512, out, src, n, times)
	}
}

func hbmWrite(n int64) definition {
	const value = 0x12345678
	return func(b *builder) {
		dst := b.out(16*n, same(func() []byte {
			var out []byte
			for range n {
				for k := range uint32(4) {
					out = binary.LittleEndian.AppendUint32(out, value+k)
				}
			}
			return out
		}))
		b.launch(b.waves(n, 512), 512, dst, n, uint32(value))
	}
}

func hbmTriad(n int64) definition {
	return func(b *builder) {
		x, hx := b.in(4*n, numbers.NormalF32, 4)
		y, hy := b.in(4*n, numbers.NormalF32, 4)
		out := b.out(16*n, nearF32(func() []float64 {
			x, y := numbers.F32s(hx), numbers.F32s(hy)
			for i := range x {
				x[i] += 3 * y[i]
			}
			return x
		}))
		b.launch(b.waves(n, 512), 512, out, x, y, float32(3), n)
	}
}

// tileStream copies tiles of size16 elements of 16 bytes with so many blocks.
func tileStream(tiles, size16, blocks int64) definition {
	return func(b *builder) {
		src, h := b.in(tiles*size16, numbers.RandomBits, 16)
		dst := b.out(16*tiles*size16, same(func() []byte { return h }))
		b.launch(blocks, 1024, dst, src, int32(tiles), int32(size16))
	}
}

// fmaLoop keeps the arithmetic units of all multiprocessors busy.
func fmaLoop(iterations int32) definition {
	const a, c = 0.5, 1
	return func(b *builder) {
		blocks := int64(b.sms) * 4
		out := b.out(4*blocks*256, nearF32(func() []float64 {
			var out []float64
			for i := range blocks * 256 {
				sum := 0.0
				for k := range 8 {
					x := a + float64(k) + float64(i%256)
					for range iterations {
						x = x*a + c
					}
					sum += x
				}
				out = append(out, sum)
			}
			return out
		}))
		b.launch(blocks, 256, out, iterations, float32(a), float32(c))
	}
}
