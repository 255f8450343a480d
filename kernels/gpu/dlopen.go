package gpu

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"runtime"
	"unsafe"
)

func init() { register(dlopen{}) }

// dlopen opens the driver at run time; it needs neither CUDA nor cgo to build.
type dlopen struct{}

func (dlopen) Name() string { return "dlopen" }

func (dlopen) Count() (int, error) {
	d, err := openDriver()
	if err != nil {
		return 0, err
	}
	return d.count()
}

func (d *driver) count() (int, error) {
	var n int32
	if err := d.check("cuDeviceGetCount", d.deviceCount(&n)); err != nil {
		return 0, err
	}
	if n == 0 {
		return 0, errors.New("the driver sees no GPU; is CUDA_VISIBLE_DEVICES empty?")
	}
	return int(n), nil
}

// Attributes of a device (cuda.h, CUdevice_attribute).
const (
	attrSMs       = 16
	attrClockKHz  = 13
	attrMemKHz    = 36
	attrL2Bytes   = 38
	attrMajor     = 75
	attrMinor     = 76
	attrMaxShared = 8 // of a function: CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
)

func (dlopen) Open(ordinal int) (Device, error) {
	d, err := openDriver()
	if err != nil {
		return nil, err
	}
	n, err := d.count()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= n {
		return nil, fmt.Errorf("no GPU %d: there are %d, from 0", ordinal, n)
	}
	runtime.LockOSThread() // the current context belongs to the thread
	dev := &device{d: d}
	if err := dev.open(int32(ordinal)); err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	return dev, nil
}

type device struct {
	d      *driver
	number int32
	ctx    uintptr
	info   Info
}

func (v *device) open(ordinal int32) error {
	d := v.d
	if err := d.check("cuDeviceGet", d.deviceGet(&v.number, ordinal)); err != nil {
		return err
	}
	if err := d.check("cuDevicePrimaryCtxRetain", d.contextRetain(&v.ctx, v.number)); err != nil {
		return err
	}
	if err := v.current(); err != nil {
		return err
	}
	return v.describe()
}

func (v *device) current() error { return v.d.check("cuCtxSetCurrent", v.d.contextSet(v.ctx)) }

func (v *device) describe() error {
	d := v.d
	name := make([]byte, 256)
	if err := d.check("cuDeviceGetName", d.deviceName(&name[0], int32(len(name)), v.number)); err != nil {
		return err
	}
	v.info.Name = string(name[:bytes.IndexByte(name, 0)])
	var version int32
	if err := d.check("cuDriverGetVersion", d.version(&version)); err != nil {
		return err
	}
	v.info.CUDA = fmt.Sprintf("%d.%d", version/1000, version%1000/10)
	v.info.Driver = driverVersion(v.info.CUDA)
	v.info.Synthetic = d.synthetic
	var bytes uint64
	if err := d.check("cuDeviceTotalMem", d.deviceMemory(&bytes, v.number)); err != nil {
		return err
	}
	v.info.Bytes = int64(bytes)
	for _, a := range []struct {
		attribute int32
		set       func(int32)
	}{
		{attrSMs, func(x int32) { v.info.SMs = int(x) }},
		{attrL2Bytes, func(x int32) { v.info.L2Bytes = int64(x) }},
		{attrClockKHz, func(x int32) { v.info.ClockMHz = int(x) / 1000 }},
		{attrMemKHz, func(x int32) { v.info.MemMHz = int(x) / 1000 }},
		{attrMajor, func(x int32) { v.info.Capability[0] = int(x) }},
		{attrMinor, func(x int32) { v.info.Capability[1] = int(x) }},
	} {
		var x int32
		if err := d.check(fmt.Sprintf("cuDeviceGetAttribute %d", a.attribute), d.deviceAttribute(&x, a.attribute, v.number)); err != nil {
			return err
		}
		a.set(x)
	}
	return nil
}

func (v *device) Info() Info { return v.info }

func (v *device) Alloc(size int64) (Ptr, error) {
	if size <= 0 {
		return 0, fmt.Errorf("allocation of %d bytes: it must be above 0", size)
	}
	if err := v.current(); err != nil {
		return 0, err
	}
	var p uint64
	if err := v.d.check("cuMemAlloc", v.d.alloc(&p, uint64(size))); err != nil {
		return 0, fmt.Errorf("%d bytes: %w", size, err)
	}
	return Ptr(p), nil
}

func (v *device) Free(p Ptr) error { return v.d.check("cuMemFree", v.d.free(uint64(p))) }

func (v *device) Upload(dst Ptr, src []byte) error {
	if len(src) == 0 {
		return nil
	}
	return v.d.check("cuMemcpyHtoD", v.d.upload(uint64(dst), unsafe.Pointer(&src[0]), uint64(len(src))))
}

func (v *device) Download(dst []byte, src Ptr) error {
	if len(dst) == 0 {
		return nil
	}
	return v.d.check("cuMemcpyDtoH", v.d.download(unsafe.Pointer(&dst[0]), uint64(src), uint64(len(dst))))
}

func (v *device) Sync() error {
	if err := v.current(); err != nil {
		return err
	}
	return v.d.check("cuCtxSynchronize", v.d.contextSync())
}

func (v *device) Close() error {
	err := v.d.check("cuDevicePrimaryCtxRelease", v.d.contextRelease(v.number))
	runtime.UnlockOSThread()
	return err
}

// Options of the JIT compiler (cuda.h, CUjit_option).
const (
	jitErrorLog      = 5
	jitErrorLogBytes = 6
)

func (v *device) Load(image []byte) (Module, error) {
	if err := v.current(); err != nil {
		return nil, err
	}
	log := make([]byte, 8192)
	names := []int32{jitErrorLog, jitErrorLogBytes}
	values := []unsafe.Pointer{unsafe.Pointer(&log[0]), unsafe.Add(nil, len(log))}
	code := append(bytes.Clone(image), 0) // PTX is a C string
	var pins runtime.Pinner
	defer pins.Unpin()
	pins.Pin(&log[0])
	m := &module{d: v.d}
	err := v.d.check("cuModuleLoadDataEx", v.d.moduleLoad(&m.handle, unsafe.Pointer(&code[0]), uint32(len(names)), &names[0], &values[0]))
	if text := string(bytes.TrimSpace(log[:bytes.IndexByte(append(log, 0), 0)])); err != nil && text != "" {
		return nil, fmt.Errorf("%w: %s", err, text)
	}
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (v *device) NewStream() (Stream, error) {
	const nonBlocking = 1
	if err := v.current(); err != nil {
		return nil, err
	}
	s := &stream{d: v.d}
	return s, v.d.check("cuStreamCreate", v.d.streamCreate(&s.handle, nonBlocking))
}

func (v *device) NewEvent() (Event, error) {
	if err := v.current(); err != nil {
		return nil, err
	}
	e := &event{d: v.d}
	return e, v.d.check("cuEventCreate", v.d.eventCreate(&e.handle, 0))
}

type module struct {
	d      *driver
	handle uintptr
}

func (m *module) Function(name string) (Function, error) {
	f := &function{d: m.d, name: name}
	if err := m.d.check("cuModuleGetFunction", m.d.moduleFunction(&f.handle, m.handle, name)); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", name, err)
	}
	return f, nil
}

func (m *module) Unload() error { return m.d.check("cuModuleUnload", m.d.moduleUnload(m.handle)) }

type function struct {
	d      *driver
	handle uintptr
	name   string
}

func (f *function) AllowShared(bytes int) error {
	return f.d.check("cuFuncSetAttribute", f.d.functionAttribute(f.handle, attrMaxShared, int32(bytes)))
}

func (f *function) Launch(s Stream, grid, block Dim, sharedBytes uint32, args ...any) error {
	values := make([]uint64, len(args))
	params := make([]unsafe.Pointer, len(args)+1)
	var pins runtime.Pinner
	defer pins.Unpin()
	for i, a := range args {
		bits, err := argument(a)
		if err != nil {
			return fmt.Errorf("kernel %s, argument %d: %w", f.name, i, err)
		}
		values[i] = bits
		params[i] = unsafe.Pointer(&values[i])
	}
	if len(values) > 0 {
		pins.Pin(&values[0])
	}
	pins.Pin(&params[0])
	err := f.d.check("cuLaunchKernel", f.d.launch(f.handle, grid.X, grid.Y, grid.Z, block.X, block.Y, block.Z, sharedBytes, s.Handle(), &params[0], nil))
	runtime.KeepAlive(values)
	if err != nil {
		return fmt.Errorf("kernel %s, grid %v, block %v: %w", f.name, grid, block, err)
	}
	return nil
}

// argument is a kernel argument as its lowest bytes, little-endian.
func argument(a any) (uint64, error) {
	switch a := a.(type) {
	case Ptr:
		return uint64(a), nil
	case int32:
		return uint64(uint32(a)), nil
	case uint32:
		return uint64(a), nil
	case int64:
		return uint64(a), nil
	case uint64:
		return a, nil
	case float32:
		return uint64(math.Float32bits(a)), nil
	}
	return 0, fmt.Errorf("type %T; allowed are Ptr, int32, uint32, int64, uint64 and float32", a)
}

type stream struct {
	d      *driver
	handle uintptr
}

func (s *stream) Handle() uintptr { return s.handle }

func (s *stream) Fill(dst Ptr, value byte, bytes int64) error {
	return s.d.check("cuMemsetD8Async", s.d.fill(uint64(dst), uint32(value), uint64(bytes), s.handle))
}

func (s *stream) Copy(dst, src Ptr, bytes int64) error {
	return s.d.check("cuMemcpyDtoDAsync", s.d.copyD2D(uint64(dst), uint64(src), uint64(bytes), s.handle))
}

// handleOf is the driver's handle of an event of this launcher.
func handleOf(e Event) (uintptr, error) {
	if e, ok := e.(*event); ok {
		return e.handle, nil
	}
	return 0, fmt.Errorf("event of another launcher: %T", e)
}

func (s *stream) Record(e Event) error {
	h, err := handleOf(e)
	if err != nil {
		return err
	}
	return s.d.check("cuEventRecord", s.d.eventRecord(h, s.handle))
}

func (s *stream) Wait(e Event) error {
	h, err := handleOf(e)
	if err != nil {
		return err
	}
	return s.d.check("cuStreamWaitEvent", s.d.streamWait(s.handle, h, 0))
}

func (s *stream) BeginCapture() error {
	const threadLocal = 1
	return s.d.check("cuStreamBeginCapture", s.d.captureBegin(s.handle, threadLocal))
}

func (s *stream) EndCapture() (Graph, error) {
	var g uintptr
	if err := s.d.check("cuStreamEndCapture", s.d.captureEnd(s.handle, &g)); err != nil {
		return nil, err
	}
	exec := &graph{d: s.d}
	err := s.d.check("cuGraphInstantiateWithFlags", s.d.graphInstantiate(&exec.handle, g, 0))
	return exec, errors.Join(err, s.d.check("cuGraphDestroy", s.d.graphDestroy(g)))
}

func (s *stream) Sync() error  { return s.d.check("cuStreamSynchronize", s.d.streamSync(s.handle)) }
func (s *stream) Close() error { return s.d.check("cuStreamDestroy", s.d.streamDestroy(s.handle)) }

type event struct {
	d      *driver
	handle uintptr
}

func (e *event) Since(earlier Event) (float64, error) {
	h, err := handleOf(earlier)
	if err != nil {
		return 0, err
	}
	var ms float32
	err = e.d.check("cuEventElapsedTime", e.d.eventElapsed(&ms, h, e.handle))
	return float64(ms) * 1e3, err
}

func (e *event) Sync() error  { return e.d.check("cuEventSynchronize", e.d.eventSync(e.handle)) }
func (e *event) Close() error { return e.d.check("cuEventDestroy", e.d.eventDestroy(e.handle)) }

type graph struct {
	d      *driver
	handle uintptr
}

func (g *graph) Launch(s Stream) error {
	return g.d.check("cuGraphLaunch", g.d.graphLaunch(g.handle, s.Handle()))
}

func (g *graph) Close() error { return g.d.check("cuGraphExecDestroy", g.d.execDestroy(g.handle)) }
