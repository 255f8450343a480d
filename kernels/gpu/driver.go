package gpu

import (
	"errors"
	"fmt"
	"os"
	"unsafe"

	"github.com/ebitengine/purego"
)

// LibraryEnv names another driver library than the system's, for tests.
const LibraryEnv = "ORRERY_LIBCUDA"

// driver is the part of the CUDA driver API that benchmarks use, by the names
// and versions that cuda.h gives them.
type driver struct {
	library string

	errorName   func(code int32, name **byte) int32
	errorString func(code int32, text **byte) int32
	init        func(flags uint32) int32
	version     func(*int32) int32

	deviceCount     func(*int32) int32
	deviceGet       func(*int32, int32) int32
	deviceName      func(name *byte, length, device int32) int32
	deviceAttribute func(value *int32, attribute, device int32) int32
	deviceMemory    func(bytes *uint64, device int32) int32
	contextRetain   func(ctx *uintptr, device int32) int32
	contextRelease  func(device int32) int32
	contextSet      func(ctx uintptr) int32
	contextSync     func() int32

	alloc    func(ptr *uint64, bytes uint64) int32
	free     func(ptr uint64) int32
	upload   func(dst uint64, src unsafe.Pointer, bytes uint64) int32
	download func(dst unsafe.Pointer, src, bytes uint64) int32
	copyD2D  func(dst, src, bytes uint64, stream uintptr) int32
	fill     func(dst uint64, value uint32, bytes uint64, stream uintptr) int32

	moduleLoad        func(module *uintptr, image unsafe.Pointer, options uint32, names *int32, values *unsafe.Pointer) int32
	moduleUnload      func(module uintptr) int32
	moduleFunction    func(function *uintptr, module uintptr, name string) int32
	functionAttribute func(function uintptr, attribute, value int32) int32
	launch            func(function uintptr, gx, gy, gz, bx, by, bz, shared uint32, stream uintptr, params *unsafe.Pointer, extra unsafe.Pointer) int32

	streamCreate  func(stream *uintptr, flags uint32) int32
	streamDestroy func(stream uintptr) int32
	streamSync    func(stream uintptr) int32
	streamWait    func(stream, event uintptr, flags uint32) int32
	captureBegin  func(stream uintptr, mode int32) int32
	captureEnd    func(stream uintptr, graph *uintptr) int32

	eventCreate  func(event *uintptr, flags uint32) int32
	eventDestroy func(event uintptr) int32
	eventRecord  func(event, stream uintptr) int32
	eventSync    func(event uintptr) int32
	eventElapsed func(millis *float32, start, end uintptr) int32

	graphInstantiate func(exec *uintptr, graph uintptr, flags uint64) int32
	graphLaunch      func(exec, stream uintptr) int32
	graphDestroy     func(graph uintptr) int32
	execDestroy      func(exec uintptr) int32

	synthetic bool // the library is the project's fake
}

// errNoDriver is how a machine without a driver is told from a broken one.
var errNoDriver = errors.New("no CUDA driver")

// openDriver loads the library once; a failure is not remembered, so that tests
// may point elsewhere.
func openDriver() (*driver, error) {
	names := []string{"libcuda.so.1", "libcuda.so"}
	if other := os.Getenv(LibraryEnv); other != "" {
		names = []string{other}
	}
	var handle uintptr
	var err error
	var d driver
	for _, d.library = range names {
		if handle, err = purego.Dlopen(d.library, purego.RTLD_NOW|purego.RTLD_GLOBAL); err == nil {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s cannot be loaded (%w); install the NVIDIA driver, or run on a machine with an NVIDIA GPU", errNoDriver, names[0], err)
	}
	for _, f := range []struct {
		into any
		name string
	}{
		{&d.errorName, "cuGetErrorName"}, {&d.errorString, "cuGetErrorString"}, {&d.init, "cuInit"}, {&d.version, "cuDriverGetVersion"},
		{&d.deviceCount, "cuDeviceGetCount"}, {&d.deviceGet, "cuDeviceGet"}, {&d.deviceName, "cuDeviceGetName"},
		{&d.deviceAttribute, "cuDeviceGetAttribute"}, {&d.deviceMemory, "cuDeviceTotalMem_v2"},
		{&d.contextRetain, "cuDevicePrimaryCtxRetain"}, {&d.contextRelease, "cuDevicePrimaryCtxRelease_v2"},
		{&d.contextSet, "cuCtxSetCurrent"}, {&d.contextSync, "cuCtxSynchronize"},
		{&d.alloc, "cuMemAlloc_v2"}, {&d.free, "cuMemFree_v2"}, {&d.upload, "cuMemcpyHtoD_v2"}, {&d.download, "cuMemcpyDtoH_v2"},
		{&d.copyD2D, "cuMemcpyDtoDAsync_v2"}, {&d.fill, "cuMemsetD8Async"},
		{&d.moduleLoad, "cuModuleLoadDataEx"}, {&d.moduleUnload, "cuModuleUnload"}, {&d.moduleFunction, "cuModuleGetFunction"},
		{&d.functionAttribute, "cuFuncSetAttribute"}, {&d.launch, "cuLaunchKernel"},
		{&d.streamCreate, "cuStreamCreate"}, {&d.streamDestroy, "cuStreamDestroy_v2"}, {&d.streamSync, "cuStreamSynchronize"},
		{&d.streamWait, "cuStreamWaitEvent"}, {&d.captureBegin, "cuStreamBeginCapture_v2"}, {&d.captureEnd, "cuStreamEndCapture"},
		{&d.eventCreate, "cuEventCreate"}, {&d.eventDestroy, "cuEventDestroy_v2"}, {&d.eventRecord, "cuEventRecord"},
		{&d.eventSync, "cuEventSynchronize"}, {&d.eventElapsed, "cuEventElapsedTime"},
		{&d.graphInstantiate, "cuGraphInstantiateWithFlags"}, {&d.graphLaunch, "cuGraphLaunch"},
		{&d.graphDestroy, "cuGraphDestroy"}, {&d.execDestroy, "cuGraphExecDestroy"},
	} {
		at, err := purego.Dlsym(handle, f.name)
		if err != nil {
			return nil, fmt.Errorf("%s has no %s: this needs a driver of CUDA 12 or later (525 and up)", d.library, f.name)
		}
		purego.RegisterFunc(f.into, at)
	}
	_, err = purego.Dlsym(handle, "orrery_fake_marker")
	d.synthetic = err == nil
	if err := d.check("cuInit", d.init(0)); err != nil {
		return nil, fmt.Errorf("%w; is a GPU there, and may this user open it? `nvidia-smi` tells", err)
	}
	return &d, nil
}

// Error is a failed call of the driver.
type Error struct {
	Call string
	Code int32
	Name string // "CUDA_ERROR_OUT_OF_MEMORY"
	Text string
}

func (e *Error) Error() string {
	return fmt.Sprintf("%s: %s (%d): %s", e.Call, e.Name, e.Code, e.Text)
}

// check turns a CUresult into an error.
func (d *driver) check(call string, code int32) error {
	if code == 0 {
		return nil
	}
	e := &Error{Call: call, Code: code, Name: "unknown error", Text: "no text"}
	var p *byte
	if d.errorName(code, &p) == 0 && p != nil {
		e.Name = goString(p)
	}
	if d.errorString(code, &p) == 0 && p != nil {
		e.Text = goString(p)
	}
	return e
}

// goString copies a C string.
func goString(p *byte) string {
	n := 0
	for *(*byte)(unsafe.Add(unsafe.Pointer(p), n)) != 0 {
		n++
	}
	return string(unsafe.Slice(p, n))
}
