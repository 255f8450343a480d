//go:build cuda

package gpu

/*
#include <cuda.h>

// What gorgonia.org/cu has no call for. cuda.h maps names to versions.
static CUresult begin_capture(CUstream s) { return cuStreamBeginCapture(s, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL); }
static CUresult instantiate(CUgraphExec *e, CUgraph g) { return cuGraphInstantiateWithFlags(e, g, 0); }
static CUresult allow_shared(CUfunction f, int bytes) { return cuFuncSetAttribute(f, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, bytes); }
*/
import "C"

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"unsafe"

	"gorgonia.org/cu"
)

func init() { register(linked{}) }

// linked reaches the driver through gorgonia.org/cu, which links it when the
// binary is built: with -tags cuda and the headers of CUDA 12. It is there to hold
// the default launcher to account.
type linked struct{}

func (linked) Name() string { return "cu" }

func (linked) Count() (int, error) {
	n, err := cu.NumDevices()
	if err != nil {
		return 0, fmt.Errorf("cuDeviceGetCount: %w", err)
	}
	if n == 0 {
		return 0, errors.New("the driver sees no GPU; is CUDA_VISIBLE_DEVICES empty?")
	}
	return n, nil
}

func (l linked) Open(ordinal int) (Device, error) {
	n, err := l.Count()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("no GPU %d: there are %d, from 0", ordinal, n)
	}
	dev, err := cu.GetDevice(ordinal)
	if err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	v := &linkedDevice{dev: dev}
	if v.ctx, err = dev.RetainPrimaryCtx(); err == nil {
		err = errors.Join(v.current(), v.describe())
	}
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return v, nil
}

// failed names a call that gorgonia.org/cu does not have.
func failed(call string, r C.CUresult) error {
	if r == C.CUDA_SUCCESS {
		return nil
	}
	var name *C.char
	C.cuGetErrorName(r, &name)
	return fmt.Errorf("%s: %s (%d)", call, C.GoString(name), int(r))
}

// named gives an error of gorgonia.org/cu, which is a CUresult under a name of its
// own, the driver's name.
func named(call string, err error) error {
	if err == nil {
		return nil
	}
	code, bad := strconv.Atoi(fmt.Sprintf("%d", err))
	if bad != nil {
		return fmt.Errorf("%s: %w", call, err)
	}
	return failed(call, C.CUresult(code))
}

type linkedDevice struct {
	dev  cu.Device
	ctx  cu.CUContext
	info Info
}

func (v *linkedDevice) current() error { return cu.SetCurrentContext(v.ctx) }

func (v *linkedDevice) describe() error {
	var err error
	if v.info.Name, err = v.dev.Name(); err != nil {
		return err
	}
	version := cu.Version()
	v.info.CUDA = fmt.Sprintf("%d.%d", version/1000, version%1000/10)
	v.info.Driver = driverVersion(v.info.CUDA)
	if v.info.Bytes, err = v.dev.TotalMem(); err != nil {
		return err
	}
	for _, a := range []struct {
		attribute cu.DeviceAttribute
		set       func(int)
	}{
		{attrSMs, func(x int) { v.info.SMs = x }},
		{attrL2Bytes, func(x int) { v.info.L2Bytes = int64(x) }},
		{attrClockKHz, func(x int) { v.info.ClockMHz = x / 1000 }},
		{attrMemKHz, func(x int) { v.info.MemMHz = x / 1000 }},
		{attrMajor, func(x int) { v.info.Capability[0] = x }},
		{attrMinor, func(x int) { v.info.Capability[1] = x }},
	} {
		x, err := v.dev.Attribute(a.attribute)
		if err != nil {
			return fmt.Errorf("cuDeviceGetAttribute %d: %w", a.attribute, err)
		}
		a.set(x)
	}
	// The library that was linked is the one that the default launcher opens.
	if d, err := openDriver(); err == nil {
		v.info.Synthetic = d.synthetic
	}
	return nil
}

func (v *linkedDevice) Info() Info { return v.info }

func (v *linkedDevice) Alloc(size int64) (Ptr, error) {
	if size <= 0 {
		return 0, fmt.Errorf("allocation of %d bytes: it must be above 0", size)
	}
	p, err := cu.MemAlloc(size)
	if err != nil {
		return 0, named(fmt.Sprintf("cuMemAlloc of %d bytes", size), err)
	}
	return Ptr(p), nil
}

func (v *linkedDevice) Free(p Ptr) error { return cu.MemFree(cu.DevicePtr(p)) }

func (v *linkedDevice) Upload(dst Ptr, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	return cu.MemcpyHtoD(cu.DevicePtr(dst), unsafe.Pointer(&src[0]), int64(len(src)))
}

func (v *linkedDevice) Download(dst []byte, src Ptr) error {
	if len(dst) == 0 {
		return nil
	}
	return cu.MemcpyDtoH(unsafe.Pointer(&dst[0]), cu.DevicePtr(src), int64(len(dst)))
}

func (v *linkedDevice) Load(image []byte) (Module, error) {
	m, err := cu.LoadData(string(image))
	if err != nil {
		return nil, named("cuModuleLoadData", err)
	}
	return linkedModule{m}, nil
}

func (v *linkedDevice) NewStream() (Stream, error) {
	s, err := cu.MakeStream(cu.NonBlocking)
	return &linkedStream{s}, err
}

func (v *linkedDevice) NewEvent() (Event, error) {
	e, err := cu.MakeEvent(cu.DefaultEvent)
	return &linkedEvent{e}, err
}

func (v *linkedDevice) Sync() error { return cu.Synchronize() }

func (v *linkedDevice) Close() error {
	defer runtime.UnlockOSThread()
	return v.dev.ReleasePrimaryCtx()
}

type linkedModule struct{ m cu.Module }

func (m linkedModule) Function(name string) (Function, error) {
	f, err := m.m.Function(name)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", name, err)
	}
	return linkedFunction{f, name}, nil
}

func (m linkedModule) Unload() error { return m.m.Unload() }

type linkedFunction struct {
	f    cu.Function
	name string
}

func (f linkedFunction) AllowShared(bytes int) error {
	return failed("cuFuncSetAttribute", C.allow_shared(*(*C.CUfunction)(unsafe.Pointer(&f.f)), C.int(bytes)))
}

func (f linkedFunction) Launch(s Stream, grid, block Dim, sharedBytes uint32, args ...any) error {
	own, ok := s.(*linkedStream)
	if !ok {
		return fmt.Errorf("stream of another launcher: %T", s)
	}
	values := make([]uint64, len(args))
	params := make([]unsafe.Pointer, len(args))
	for i, a := range args {
		bits, err := argument(a)
		if err != nil {
			return fmt.Errorf("kernel %s, argument %d: %w", f.name, i, err)
		}
		values[i] = bits
		params[i] = unsafe.Pointer(&values[i])
	}
	err := f.f.Launch(int(grid.X), int(grid.Y), int(grid.Z), int(block.X), int(block.Y), int(block.Z), int(sharedBytes), own.s, params)
	if err != nil {
		return fmt.Errorf("kernel %s, grid %v, block %v: %w", f.name, grid, block, err)
	}
	return nil
}

type linkedStream struct{ s cu.Stream }

func (s *linkedStream) raw() C.CUstream { return *(*C.CUstream)(unsafe.Pointer(&s.s)) }
func (s *linkedStream) Handle() uintptr { return uintptr(unsafe.Pointer(s.raw())) }

func (s *linkedStream) Fill(dst Ptr, value byte, bytes int64) error {
	return cu.MemsetD8Async(cu.DevicePtr(dst), value, bytes, s.s)
}

func (s *linkedStream) Copy(dst, src Ptr, bytes int64) error {
	return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), bytes, s.s)
}

func ownEvent(e Event) (*linkedEvent, error) {
	if e, ok := e.(*linkedEvent); ok {
		return e, nil
	}
	return nil, fmt.Errorf("event of another launcher: %T", e)
}

func (s *linkedStream) Record(e Event) error {
	own, err := ownEvent(e)
	if err != nil {
		return err
	}
	return own.e.Record(s.s)
}

func (s *linkedStream) Wait(e Event) error {
	own, err := ownEvent(e)
	if err != nil {
		return err
	}
	return s.s.Wait(own.e, 0)
}

func (s *linkedStream) BeginCapture() error {
	return failed("cuStreamBeginCapture", C.begin_capture(s.raw()))
}

func (s *linkedStream) EndCapture() (Graph, error) {
	var g C.CUgraph
	if err := failed("cuStreamEndCapture", C.cuStreamEndCapture(s.raw(), &g)); err != nil {
		return nil, err
	}
	exec := &linkedGraph{}
	err := failed("cuGraphInstantiateWithFlags", C.instantiate(&exec.e, g))
	return exec, errors.Join(err, failed("cuGraphDestroy", C.cuGraphDestroy(g)))
}

func (s *linkedStream) Sync() error  { return s.s.Synchronize() }
func (s *linkedStream) Close() error { return failed("cuStreamDestroy", C.cuStreamDestroy(s.raw())) }

type linkedEvent struct{ e cu.Event }

func (e *linkedEvent) Since(earlier Event) (float64, error) {
	own, err := ownEvent(earlier)
	if err != nil {
		return 0, err
	}
	ms, err := own.e.Elapsed(e.e)
	return ms * 1e3, err
}

func (e *linkedEvent) Sync() error  { return e.e.Synchronize() }
func (e *linkedEvent) Close() error { return cu.DestroyEvent(&e.e) }

type linkedGraph struct{ e C.CUgraphExec }

func (g *linkedGraph) Launch(s Stream) error {
	own, ok := s.(*linkedStream)
	if !ok {
		return fmt.Errorf("stream of another launcher: %T", s)
	}
	return failed("cuGraphLaunch", C.cuGraphLaunch(g.e, own.raw()))
}

func (g *linkedGraph) Close() error { return failed("cuGraphExecDestroy", C.cuGraphExecDestroy(g.e)) }
