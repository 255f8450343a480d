package libs

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"orrery/kernels/gpu"
)

// Constants of library_types.h, cublas_api.h and cublasLt.h.
const (
	cudaR32F   = 0
	cudaR16BF  = 14
	cudaR8E4M3 = 28
	cudaR8E5M2 = 29
	compute32F = 68
	opN        = 0
	opT        = 1

	descTransA = 3
	descTransB = 4
	descScaleA = 17
	descScaleB = 18

	layoutBatch  = 5
	layoutStride = 6

	preferWorkspace = 1
)

// workspaceBytes is what frameworks give cuBLASLt on Hopper (Transformer Engine,
// gemm/config.h: 32 MiB).
const workspaceBytes = 32 << 20

// lt is cuBLASLt.
type lt struct {
	handle uintptr

	create        func(*uintptr) int32
	destroy       func(uintptr) int32
	version       func() uint64
	descCreate    func(desc *uintptr, compute, scale int32) int32
	descSet       func(desc uintptr, attribute int32, value unsafe.Pointer, bytes uint64) int32
	descDestroy   func(uintptr) int32
	layoutCreate  func(layout *uintptr, kind int32, rows, cols uint64, ld int64) int32
	layoutSet     func(layout uintptr, attribute int32, value unsafe.Pointer, bytes uint64) int32
	layoutDestroy func(uintptr) int32
	preferCreate  func(*uintptr) int32
	preferSet     func(preference uintptr, attribute int32, value unsafe.Pointer, bytes uint64) int32
	preferDestroy func(uintptr) int32
	heuristic     func(handle, desc, a, b, c, d, preference uintptr, wanted int32, results unsafe.Pointer, found *int32) int32
	matmul        func(handle, desc uintptr, alpha unsafe.Pointer, a uint64, aDesc uintptr, b uint64, bDesc uintptr, beta unsafe.Pointer, c uint64, cDesc uintptr, d uint64, dDesc uintptr, algo unsafe.Pointer, workspace, workspaceSize uint64, stream uintptr) int32
}

func openLt() (*lt, error) {
	l := &lt{}
	err := ltLibrary.open(map[string]any{
		"cublasLtCreate": &l.create, "cublasLtDestroy": &l.destroy, "cublasLtGetVersion": &l.version,
		"cublasLtMatmulDescCreate": &l.descCreate, "cublasLtMatmulDescSetAttribute": &l.descSet, "cublasLtMatmulDescDestroy": &l.descDestroy,
		"cublasLtMatrixLayoutCreate": &l.layoutCreate, "cublasLtMatrixLayoutSetAttribute": &l.layoutSet, "cublasLtMatrixLayoutDestroy": &l.layoutDestroy,
		"cublasLtMatmulPreferenceCreate": &l.preferCreate, "cublasLtMatmulPreferenceSetAttribute": &l.preferSet, "cublasLtMatmulPreferenceDestroy": &l.preferDestroy,
		"cublasLtMatmulAlgoGetHeuristic": &l.heuristic, "cublasLtMatmul": &l.matmul,
	})
	if err != nil {
		return nil, err
	}
	return l, status("cublasLtCreate", l.create(&l.handle))
}

// statuses of cublas_api.h.
var statuses = map[int32]string{1: "NOT_INITIALIZED", 3: "ALLOC_FAILED", 7: "INVALID_VALUE", 8: "ARCH_MISMATCH",
	11: "MAPPING_ERROR", 13: "EXECUTION_FAILED", 14: "INTERNAL_ERROR", 15: "NOT_SUPPORTED"}

func status(call string, code int32) error {
	if code == 0 {
		return nil
	}
	name := statuses[code]
	if name == "" {
		name = "unknown status"
	}
	return fmt.Errorf("%s: CUBLAS_STATUS_%s (%d)", call, name, code)
}

// product is C = alpha op(A) op(B) + beta C in cuBLAS's terms: column-major, C of
// m x n, and batches that follow each other.
type product struct {
	transA, transB   bool
	m, n, k          int64
	typeA, typeB     int32
	typeC            int32
	beta             float32
	batch            int64
	scaleA, scaleB   gpu.Ptr // of fp8 operands
	desc, preference uintptr
	a, b, c          uintptr  // layouts
	algo             [96]byte // cublasLtMatmulHeuristicResult_t, whose first 64 bytes are the algorithm
	alpha, betaValue float32
}

func size(kind int32) int64 {
	switch kind {
	case cudaR32F:
		return 4
	case cudaR16BF:
		return 2
	}
	return 1
}

// plan makes the descriptors and takes the first algorithm of the heuristic, as
// frameworks do.
func (l *lt) plan(p *product) error {
	p.alpha, p.betaValue = 1, p.beta
	if err := status("cublasLtMatmulDescCreate", l.descCreate(&p.desc, compute32F, cudaR32F)); err != nil {
		return err
	}
	set := func(attribute int32, value unsafe.Pointer, bytes uint64) error {
		return status(fmt.Sprintf("cublasLtMatmulDescSetAttribute %d", attribute), l.descSet(p.desc, attribute, value, bytes))
	}
	for attribute, trans := range map[int32]bool{descTransA: p.transA, descTransB: p.transB} {
		op := int32(opN)
		if trans {
			op = opT
		}
		if err := set(attribute, unsafe.Pointer(&op), 4); err != nil {
			return err
		}
	}
	for attribute, at := range map[int32]gpu.Ptr{descScaleA: p.scaleA, descScaleB: p.scaleB} {
		if at != 0 {
			if err := set(attribute, unsafe.Pointer(&at), 8); err != nil {
				return err
			}
		}
	}
	rowsA, colsA := p.m, p.k
	if p.transA {
		rowsA, colsA = p.k, p.m
	}
	rowsB, colsB := p.k, p.n
	if p.transB {
		rowsB, colsB = p.n, p.k
	}
	for _, x := range []struct {
		into       *uintptr
		kind       int32
		rows, cols int64
	}{{&p.a, p.typeA, rowsA, colsA}, {&p.b, p.typeB, rowsB, colsB}, {&p.c, p.typeC, p.m, p.n}} {
		if err := l.layout(x.into, x.kind, x.rows, x.cols, p.batch); err != nil {
			return err
		}
	}
	if err := status("cublasLtMatmulPreferenceCreate", l.preferCreate(&p.preference)); err != nil {
		return err
	}
	bytes := uint64(workspaceBytes)
	if err := status("cublasLtMatmulPreferenceSetAttribute", l.preferSet(p.preference, preferWorkspace, unsafe.Pointer(&bytes), 8)); err != nil {
		return err
	}
	var found int32
	err := status("cublasLtMatmulAlgoGetHeuristic", l.heuristic(l.handle, p.desc, p.a, p.b, p.c, p.c, p.preference, 1, unsafe.Pointer(&p.algo[0]), &found))
	if err == nil && found == 0 {
		err = errors.New("cublasLtMatmulAlgoGetHeuristic: no algorithm for this product")
	}
	return err
}

func (l *lt) layout(into *uintptr, kind int32, rows, cols, batch int64) error {
	if err := status("cublasLtMatrixLayoutCreate", l.layoutCreate(into, kind, uint64(rows), uint64(cols), rows)); err != nil {
		return err
	}
	if batch <= 1 {
		return nil
	}
	if batch > math.MaxInt32 {
		return fmt.Errorf("a batch of %d products", batch)
	}
	n, stride := int32(batch), rows*cols
	return errors.Join(
		status("cublasLtMatrixLayoutSetAttribute", l.layoutSet(*into, layoutBatch, unsafe.Pointer(&n), 4)),
		status("cublasLtMatrixLayoutSetAttribute", l.layoutSet(*into, layoutStride, unsafe.Pointer(&stride), 8)))
}

func (l *lt) run(p *product, a, b, c, workspace gpu.Ptr, s gpu.Stream) error {
	return status("cublasLtMatmul", l.matmul(l.handle, p.desc, unsafe.Pointer(&p.alpha), uint64(a), p.a, uint64(b), p.b,
		unsafe.Pointer(&p.betaValue), uint64(c), p.c, uint64(c), p.c, unsafe.Pointer(&p.algo[0]), uint64(workspace), workspaceBytes, s.Handle()))
}

func (l *lt) drop(p *product) error {
	var err error
	for _, x := range []uintptr{p.a, p.b, p.c} {
		if x != 0 {
			err = errors.Join(err, status("cublasLtMatrixLayoutDestroy", l.layoutDestroy(x)))
		}
	}
	if p.preference != 0 {
		err = errors.Join(err, status("cublasLtMatmulPreferenceDestroy", l.preferDestroy(p.preference)))
	}
	if p.desc != 0 {
		err = errors.Join(err, status("cublasLtMatmulDescDestroy", l.descDestroy(p.desc)))
	}
	return err
}
