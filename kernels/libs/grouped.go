package libs

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"

	"orrery/kernels/bench"
	"orrery/kernels/gpu"
	"orrery/kernels/numbers"
	"orrery/kernels/sample"
	"orrery/kernels/shapes"
)

func init() {
	bench.Register(bench.Suite{Name: "grouped_gemm", Missing: cublasLibrary.missing, Cases: groupedCases})
}

// cublas is the part of cuBLAS that multiplies groups.
type cublas struct {
	handle    uintptr
	create    func(*uintptr) int32
	destroy   func(uintptr) int32
	setStream func(handle, stream uintptr) int32
	grouped   func(handle uintptr, transA, transB, m, n, k *int32, alpha *float32, a uint64, typeA int32, lda *int32, b uint64, typeB int32, ldb *int32,
		beta *float32, c uint64, typeC int32, ldc *int32, groups int32, groupSize *int32, compute int32) int32
}

func openCublas() (*cublas, error) {
	c := &cublas{}
	err := cublasLibrary.open(map[string]any{"cublasCreate_v2": &c.create, "cublasDestroy_v2": &c.destroy,
		"cublasSetStream_v2": &c.setStream, "cublasGemmGroupedBatchedEx": &c.grouped})
	if err != nil {
		return nil, err
	}
	return c, status("cublasCreate", c.create(&c.handle))
}

// grouped is a product of each expert: y_i[rows_i, n] = x_i[rows_i, k] w_i, with w_i
// of [n, k] forward and [k, n] backward. Weight gradients are measured by the
// probe: cuBLAS adds no bf16 products of groups to fp32.
type grouped struct {
	shapes.Experts
	layout layout
}

func groupedCases() []bench.Case {
	var out []bench.Case
	for _, e := range shapes.Grouped() {
		for _, l := range []layout{fwd, dgrad} {
			g := grouped{e, l}
			shape := fmt.Sprintf("groups=%d tokens=%d n=%d k=%d layout=%s", e.Groups, e.Tokens, e.N, e.K, l)
			if e.MaxOverMean > 1 {
				shape += fmt.Sprintf(" max_over_mean=%g", e.MaxOverMean)
			}
			out = append(out, bench.Case{Family: "grouped_gemm", Kernel: "cublas_grouped", Hash: ltVersion(), Shape: sample.Shape(shape), DType: "bf16",
				FLOPs: 2 * float64(e.Tokens) * float64(e.N) * float64(e.K), Bytes: 2 * float64(e.Tokens*(e.N+e.K)+e.Groups*e.N*e.K),
				Weight: 1 / e.MaxOverMean, Prepare: g.prepare})
		}
	}
	return bench.Ordered(out)
}

type groupedCase struct {
	lib                                          *cublas
	dev                                          gpu.Device
	ptrs                                         []gpu.Ptr
	transA, transB, m, n, k, lda, ldb, ldc, each []int32
	alpha, beta                                  []float32
	a, b, c                                      gpu.Ptr // arrays of pointers, on the GPU
	x, w, y                                      gpu.Ptr
}

func (g *groupedCase) Enqueue(s gpu.Stream, _ int) error {
	if err := status("cublasSetStream", g.lib.setStream(g.lib.handle, s.Handle())); err != nil {
		return err
	}
	return status("cublasGemmGroupedBatchedEx", g.lib.grouped(g.lib.handle, &g.transA[0], &g.transB[0], &g.m[0], &g.n[0], &g.k[0], &g.alpha[0],
		uint64(g.a), cudaR16BF, &g.lda[0], uint64(g.b), cudaR16BF, &g.ldb[0], &g.beta[0], uint64(g.c), cudaR16BF, &g.ldc[0], int32(len(g.m)), &g.each[0], compute32F))
}

func (g *groupedCase) Close() error {
	var err error
	for _, p := range g.ptrs {
		err = errors.Join(err, g.dev.Free(p))
	}
	return errors.Join(err, status("cublasDestroy", g.lib.destroy(g.lib.handle)))
}

// tile allocates a buffer and fills it with a pattern over and over.
func (g *groupedCase) tile(bytes int64, pattern []byte) (gpu.Ptr, error) {
	p, err := g.dev.Alloc(bytes)
	if err != nil {
		return 0, err
	}
	g.ptrs = append(g.ptrs, p)
	return p, gpu.Tile(g.dev, p, bytes, pattern)
}

// upload allocates a buffer for data.
func (g *groupedCase) upload(data []byte) (gpu.Ptr, error) { return g.tile(int64(len(data)), data) }

func (g grouped) prepare(_ context.Context, dev gpu.Device, seed uint64) (_ bench.Prepared, err error) {
	lib, err := openCublas()
	if err != nil {
		return nil, err
	}
	c := &groupedCase{lib: lib, dev: dev}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	r := rand.New(rand.NewPCG(seed, 3))
	bytesX, bytesW := 2*g.Tokens*g.K, 2*g.Groups*g.N*g.K
	x, w := numbers.Pattern(r, bytesX, numbers.NormalBF16), numbers.Pattern(r, bytesW, numbers.NormalBF16)
	if c.x, err = c.tile(bytesX, x); err != nil {
		return nil, err
	}
	if c.w, err = c.tile(bytesW, w); err != nil {
		return nil, err
	}
	if c.y, err = c.tile(2*g.Tokens*g.N, []byte{0}); err != nil {
		return nil, err
	}
	if err := g.describe(c); err != nil {
		return nil, err
	}
	return c, g.check(c, x, w, r)
}

// describe fills the arrays: column-major, as in gemm.product.
func (g grouped) describe(c *groupedCase) (err error) {
	var a, b, y []byte
	row := int64(0)
	for i, rows := range g.Rows() {
		trans, lda := int32(opT), g.K
		if g.layout == dgrad {
			trans, lda = opN, g.N
		}
		c.transA, c.transB = append(c.transA, trans), append(c.transB, opN)
		c.m, c.n, c.k = append(c.m, int32(g.N)), append(c.n, int32(rows)), append(c.k, int32(g.K))
		c.lda, c.ldb, c.ldc = append(c.lda, int32(lda)), append(c.ldb, int32(g.K)), append(c.ldc, int32(g.N))
		c.alpha, c.beta, c.each = append(c.alpha, 1), append(c.beta, 0), append(c.each, 1)
		a = binary.LittleEndian.AppendUint64(a, uint64(c.w)+uint64(2*int64(i)*g.N*g.K))
		b = binary.LittleEndian.AppendUint64(b, uint64(c.x)+uint64(2*row*g.K))
		y = binary.LittleEndian.AppendUint64(y, uint64(c.y)+uint64(2*row*g.N))
		row += rows
	}
	if c.a, err = c.upload(a); err != nil {
		return err
	}
	if c.b, err = c.upload(b); err != nil {
		return err
	}
	c.c, err = c.upload(y)
	return err
}

// check multiplies once and compares 64 elements with sums in float64.
func (g grouped) check(c *groupedCase, x, w []byte, r *rand.Rand) (err error) {
	s, err := c.dev.NewStream()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := c.Enqueue(s, 0); err != nil {
		return err
	}
	if err := s.Sync(); err != nil {
		return err
	}
	at := func(pattern []byte, i int64) float64 {
		return numbers.FromBF16(binary.LittleEndian.Uint16(pattern[2*i%int64(len(pattern)):]))
	}
	rows := g.Rows()
	for range 64 {
		t, j := r.Int64N(g.Tokens), r.Int64N(g.N)
		expert, left := int64(0), t
		for left >= rows[expert] {
			left -= rows[expert]
			expert++
		}
		sum, scale := 0.0, 0.0
		for p := range g.K {
			of := expert*g.N*g.K + j*g.K + p
			if g.layout == dgrad {
				of = expert*g.N*g.K + p*g.N + j
			}
			v := at(x, t*g.K+p) * at(w, of)
			sum, scale = sum+v, scale+math.Abs(v)
		}
		got := make([]byte, 2)
		if err := c.dev.Download(got, c.y+gpu.Ptr(2*(t*g.N+j))); err != nil {
			return err
		}
		if have, allowed := at(got, 0), math.Abs(sum)/256+scale*1e-5+1e-3; !(math.Abs(have-sum) <= allowed) {
			return fmt.Errorf("grouped GEMM %s: element (%d, %d) of expert %d is %g, want %g within %g", g.layout, t, j, expert, have, sum, allowed)
		}
	}
	return nil
}
