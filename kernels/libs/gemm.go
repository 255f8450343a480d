package libs

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"sync"

	"orrery/kernels/bench"
	"orrery/kernels/gpu"
	"orrery/kernels/numbers"
	"orrery/kernels/sample"
	"orrery/kernels/shapes"
)

func init() {
	bench.Register(bench.Suite{Name: "gemm", Missing: ltLibrary.missing, Cases: gemmCases})
}

// layout names the three products of a linear layer as sim/cost does, row-major:
// fwd y[m,n] = x[m,k] w[n,k]^T, dgrad dx[m,n] = dy[m,k] w[k,n], wgrad dw[m,n] +=
// dy[k,m]^T x[k,n], which is added to fp32 as Megatron's main gradients are.
type layout string

const (
	fwd   layout = "fwd"
	dgrad layout = "dgrad"
	wgrad layout = "wgrad"
)

// gemm is one product at a size.
type gemm struct {
	layout  layout
	m, n, k int64
	dtype   string // bf16, fp8
	batch   int64
}

// gemmCases are the linear layers of the catalogue's models in bf16 and fp8, their
// backward products, a lattice, and batched products.
func gemmCases() []bench.Case {
	var out []bench.Case
	for i, s := range shapes.GEMMs() {
		weight := 4 * math.Pow(0.99, float64(i)) // the order of the list
		for _, dtype := range []string{"bf16", "fp8"} {
			if dtype == "fp8" && (s.N%16 != 0 || s.K%16 != 0) {
				continue // cuBLASLt wants rows of whole 16 bytes
			}
			out = append(out, gemm{fwd, s.M, s.N, s.K, dtype, 1}.asCase(weight))
			if s.Role != "lattice" && i < 150 {
				out = append(out, gemm{dgrad, s.M, s.K, s.N, dtype, 1}.asCase(weight/2), gemm{wgrad, s.N, s.K, s.M, dtype, 1}.asCase(weight/2))
			}
		}
	}
	for _, batch := range []int64{8, 64} {
		for _, seq := range []int64{1024, 4096} { // scores and context of unfused attention
			out = append(out, gemm{fwd, seq, seq, 128, "bf16", batch}.asCase(0.05), gemm{dgrad, seq, 128, seq, "bf16", batch}.asCase(0.05))
		}
	}
	return bench.Ordered(out)
}

func (g gemm) asCase(weight float64) bench.Case {
	shape := fmt.Sprintf("m=%d n=%d k=%d layout=%s", g.m, g.n, g.k, g.layout)
	if g.batch > 1 {
		shape += fmt.Sprintf(" batch=%d", g.batch)
	}
	b := float64(g.batch)
	return bench.Case{Family: "gemm", Kernel: "cublaslt", Hash: ltVersion(), Shape: sample.Shape(shape), DType: g.dtype,
		FLOPs: 2 * b * float64(g.m) * float64(g.n) * float64(g.k),
		Bytes: b * float64(g.m*g.k*g.bytes()+g.n*g.k*g.bytes()+g.m*g.n*size(g.typeC())), Weight: weight, Prepare: g.prepare}
}

// ltVersion stands for the hash of the code; "" where the library is absent.
func ltVersion() string {
	file := os.Getenv(LtEnv)
	if v, ok := ltVersions.Load(file); ok {
		return v.(string)
	}
	version := ""
	if l, err := openLt(); err == nil {
		version = fmt.Sprintf("cublaslt%d", l.version())
		l.destroy(l.handle)
	}
	ltVersions.Store(file, version)
	return version
}

// ltVersions by the library's file: thousands of cases ask.
var ltVersions sync.Map

func (g gemm) fp8() bool { return g.dtype == "fp8" }

func (g gemm) bytes() int64 {
	if g.fp8() {
		return 1
	}
	return 2
}

func (g gemm) typeC() int32 {
	if g.layout == wgrad {
		return cudaR32F
	}
	return cudaR16BF
}

// product in cuBLAS's terms: C^T = op(B) op(A), since row-major is the transpose of
// column-major. Narrow formats are multiplied as T x N only, so that frameworks
// keep transposed copies of their operands; gradients are e5m2.
func (g gemm) product() *product {
	p := &product{m: g.n, n: g.m, k: g.k, typeA: cudaR16BF, typeB: cudaR16BF, typeC: g.typeC(), batch: g.batch}
	switch {
	case g.fp8():
		p.transA, p.typeA, p.typeB = true, cudaR8E4M3, cudaR8E4M3
		if g.layout != fwd {
			p.typeB = cudaR8E5M2
		}
	case g.layout == fwd:
		p.transA = true
	case g.layout == wgrad:
		p.transB = true
	}
	if g.layout == wgrad {
		p.beta = 1
	}
	return p
}

// at is where element (row i, step p of the sum) of the left operand and (p, column
// j) of the right one stand, in elements.
func (g gemm) at(i, j, p int64) (left, right int64) {
	switch {
	case g.fp8() || g.layout == fwd:
		return i*g.k + p, j*g.k + p
	case g.layout == dgrad:
		return i*g.k + p, p*g.n + j
	}
	return p*g.m + i, p*g.n + j
}

// gemmCase is a product with its buffers.
type gemmCase struct {
	l         *lt
	p         *product
	dev       gpu.Device
	sets      [][3]gpu.Ptr // left, right, result
	scale     gpu.Ptr
	workspace gpu.Ptr
}

func (c *gemmCase) Enqueue(s gpu.Stream, rep int) error {
	x := c.sets[rep%len(c.sets)]
	return c.l.run(c.p, x[1], x[0], x[2], c.workspace, s)
}

func (c *gemmCase) Close() error {
	err := c.l.drop(c.p)
	for _, s := range c.sets {
		for _, p := range s {
			if p != 0 {
				err = errors.Join(err, c.dev.Free(p))
			}
		}
	}
	for _, p := range []gpu.Ptr{c.scale, c.workspace} {
		if p != 0 {
			err = errors.Join(err, c.dev.Free(p))
		}
	}
	return errors.Join(err, status("cublasLtDestroy", c.l.destroy(c.l.handle)))
}

// prepare fills the buffers with random values, multiplies once, and compares 64
// elements with sums in float64.
func (g gemm) prepare(_ context.Context, dev gpu.Device, seed uint64) (_ bench.Prepared, err error) {
	l, err := openLt()
	if err != nil {
		return nil, err
	}
	c := &gemmCase{l: l, p: g.product(), dev: dev}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Close())
		}
	}()
	if c.workspace, err = dev.Alloc(workspaceBytes); err != nil {
		return nil, err
	}
	if g.fp8() {
		if c.scale, err = dev.Alloc(4); err != nil {
			return nil, err
		}
		one := math.Float32bits(1)
		if err := dev.Upload(c.scale, []byte{byte(one), byte(one >> 8), byte(one >> 16), byte(one >> 24)}); err != nil {
			return nil, err
		}
		c.p.scaleA, c.p.scaleB = c.scale, c.scale
	}
	if err := l.plan(c.p); err != nil {
		return nil, err
	}
	bytes := g.batch * (g.m*g.k*g.bytes() + g.n*g.k*g.bytes() + g.m*g.n*size(g.typeC()))
	sets := 1 + min(int(2*dev.Info().L2Bytes/bytes), 7)
	r := rand.New(rand.NewPCG(seed, 2))
	var patterns [2][]byte
	for i := range sets {
		var set [3]gpu.Ptr
		for j, n := range []int64{g.batch * g.m * g.k * g.bytes(), g.batch * g.n * g.k * g.bytes(), g.batch * g.m * g.n * size(g.typeC())} {
			if set[j], err = dev.Alloc(n); err != nil {
				return nil, err
			}
			c.sets = append(c.sets[:i], set) // Close frees what is there so far
			data := []byte{0}                // sums start at 0
			if j < 2 {
				data = numbers.Pattern(r, n, g.draw(j == 0))
				if i == 0 {
					patterns[j] = data
				}
			}
			if err := gpu.Tile(dev, set[j], n, data); err != nil {
				return nil, err
			}
		}
	}
	return c, g.check(c, patterns, r)
}

// draw makes the values of an operand; the left one of a backward product in fp8 is
// a gradient.
func (g gemm) draw(left bool) func(*rand.Rand, []byte) {
	switch {
	case !g.fp8():
		return numbers.NormalBF16
	case left && g.layout != fwd:
		return numbers.NormalE5M2
	default:
		return numbers.NormalE4M3
	}
}

// value of an operand's element, from the pattern that the operand repeats.
func (g gemm) value(pattern []byte, at int64, left bool) float64 {
	at = at * g.bytes() % int64(len(pattern))
	switch {
	case !g.fp8():
		return numbers.FromBF16(uint16(pattern[at]) | uint16(pattern[at+1])<<8)
	case left && g.layout != fwd:
		return numbers.FromE5M2(pattern[at])
	}
	return numbers.FromE4M3(pattern[at])
}

func (g gemm) check(c *gemmCase, patterns [2][]byte, r *rand.Rand) (err error) {
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
	for range 64 {
		b, i, j := r.Int64N(g.batch), r.Int64N(g.m), r.Int64N(g.n)
		sum, scale := 0.0, 0.0
		for p := range g.k {
			left, right := g.at(i, j, p)
			x := g.value(patterns[0], b*g.m*g.k+left, true) * g.value(patterns[1], b*g.n*g.k+right, false)
			sum, scale = sum+x, scale+math.Abs(x)
		}
		at := (b*g.m+i)*g.n + j
		got := make([]byte, size(g.typeC()))
		if err := c.dev.Download(got, c.sets[0][2]+gpu.Ptr(at)*gpu.Ptr(len(got))); err != nil {
			return err
		}
		var have float64
		if g.typeC() == cudaR32F {
			have = numbers.F32s(got)[0]
		} else {
			have = numbers.BF16s(got)[0]
		}
		// Half a step of bf16 and the rounding of sums in fp32; the tensor cores add
		// fp8 products with 14 bits (DeepSeek-V3, arXiv:2412.19437, section 3.3.2).
		allowed := math.Abs(sum)/256 + scale*1e-5 + 1e-3
		if g.fp8() {
			allowed += scale / 8192
		}
		if !(math.Abs(have-sum) <= allowed) {
			return fmt.Errorf("cuBLASLt %s m=%d n=%d k=%d %s: element (%d, %d) of product %d is %g, want %g within %g", g.layout, g.m, g.n, g.k, g.dtype, i, j, b, have, sum, allowed)
		}
	}
	return nil
}
