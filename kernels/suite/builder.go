// Package suite holds what is measured with the project's own kernels: for each
// a CPU reference that its numbers are held to before it is timed, and the shapes
// of the models of the catalogue.
package suite

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"

	"orrery/kernels/bench"
	"orrery/kernels/cuda"
	"orrery/kernels/gpu"
	"orrery/kernels/numbers"
)

// builder declares one call of a kernel: its data, arguments, grid and what it
// must compute.
type builder struct {
	dev     gpu.Device
	rng     *rand.Rand
	data    bool // inputs are kept and outputs checked: small sizes only
	sms     int
	ptrs    []gpu.Ptr
	err     error
	grid    gpu.Dim
	block   gpu.Dim
	shared  uint32
	args    []any
	outputs []output
}

type output struct {
	ptr   gpu.Ptr
	bytes int64
	check func(got []byte) error
}

func (b *builder) alloc(bytes int64) gpu.Ptr {
	if b.err != nil {
		return 0
	}
	p, err := b.dev.Alloc(bytes)
	if b.err = err; err == nil {
		b.ptrs = append(b.ptrs, p)
	}
	return p
}

// in uploads data of a kind and returns it where outputs are checked.
func (b *builder) in(n int64, draw func(*rand.Rand, []byte), size int64) (gpu.Ptr, []byte) {
	p := b.alloc(n * size)
	if b.data {
		data := make([]byte, n*size)
		draw(b.rng, data)
		b.upload(p, data)
		return p, data
	}
	if pattern := numbers.Pattern(b.rng, n*size, draw); b.err == nil {
		b.err = gpu.Tile(b.dev, p, n*size, pattern)
	}
	return p, nil
}

// given uploads what the caller made.
func (b *builder) given(data []byte) gpu.Ptr {
	p := b.alloc(int64(len(data)))
	b.upload(p, data)
	return p
}

func (b *builder) upload(p gpu.Ptr, data []byte) {
	if b.err == nil {
		b.err = b.dev.Upload(p, data)
	}
}

// out allocates an output that is checked.
func (b *builder) out(bytes int64, check func(got []byte) error) gpu.Ptr {
	p := b.alloc(bytes)
	b.outputs = append(b.outputs, output{p, bytes, check})
	return p
}

// also checks an input that the kernel changes.
func (b *builder) also(p gpu.Ptr, bytes int64, check func(got []byte) error) {
	b.outputs = append(b.outputs, output{p, bytes, check})
}

// launch sets blocks and threads.
func (b *builder) launch(blocks, threads int64, args ...any) {
	b.grid, b.block, b.args = gpu.Dim{X: uint32(blocks), Y: 1, Z: 1}, gpu.Dim{X: uint32(threads), Y: 1, Z: 1}, args
}

// waves is a grid of blocks for n threads of work, at most so many blocks that
// all run at once.
func (b *builder) waves(n, threads int64) int64 {
	return max(1, min((n+threads-1)/threads, int64(b.sms)*2048/threads))
}

func (b *builder) free() error {
	var err error
	for _, p := range b.ptrs {
		err = errors.Join(err, b.dev.Free(p))
	}
	return err
}

// definition declares a call of a kernel at some size.
type definition func(*builder)

// kernel is an entry point of a source file.
type kernel struct{ file, entry string }

// prepared is a case whose buffers are filled.
type prepared struct {
	module gpu.Module
	fn     gpu.Function
	calls  []*builder // one a set of buffers
}

func (p *prepared) Enqueue(s gpu.Stream, rep int) error {
	c := p.calls[rep%len(p.calls)]
	return p.fn.Launch(s, c.grid, c.block, c.shared, c.args...)
}

func (p *prepared) Close() error {
	var err error
	for _, c := range p.calls {
		err = errors.Join(err, c.free())
	}
	return errors.Join(err, p.module.Unload())
}

// load gets an entry point onto a device.
func (k kernel) load(dev gpu.Device) (gpu.Module, gpu.Function, error) {
	image, _, err := cuda.PTX(k.file)
	if err != nil {
		return nil, nil, err
	}
	m, err := dev.Load(image)
	if err != nil {
		return nil, nil, fmt.Errorf("%s.cu: %w", k.file, err)
	}
	f, err := m.Function(k.entry)
	if err != nil {
		return nil, nil, errors.Join(err, m.Unload())
	}
	return m, f, nil
}

// hash of the kernel's code, "" where it is not built in.
func (k kernel) hash() string {
	_, h, err := cuda.PTX(k.file)
	if err != nil {
		return ""
	}
	return h
}

// prepare checks a small call against its reference, then fills so many sets of
// buffers that two of them do not fit into the L2 cache together.
func (k kernel) prepare(small, real definition, bytes float64) func(context.Context, gpu.Device, uint64) (bench.Prepared, error) {
	return func(_ context.Context, dev gpu.Device, seed uint64) (_ bench.Prepared, err error) {
		m, f, err := k.load(dev)
		if err != nil {
			return nil, err
		}
		p := &prepared{module: m, fn: f}
		defer func() {
			if err != nil {
				err = errors.Join(err, p.Close())
			}
		}()
		if err := k.check(dev, f, small, seed); err != nil {
			return nil, err
		}
		sets := 1 + min(int(2*float64(dev.Info().L2Bytes)/max(bytes, 1)), 15)
		for i := range sets {
			b := k.call(dev, real, seed+uint64(i), false)
			p.calls = append(p.calls, b)
			if b.err != nil {
				return nil, b.err
			}
			if b.shared > 0 {
				if err := f.AllowShared(int(b.shared)); err != nil {
					return nil, err
				}
			}
		}
		return p, nil
	}
}

func (k kernel) call(dev gpu.Device, d definition, seed uint64, data bool) *builder {
	b := &builder{dev: dev, rng: rand.New(rand.NewPCG(seed, 1)), data: data, sms: dev.Info().SMs}
	d(b)
	return b
}

// check runs a call and compares its outputs with the reference.
func (k kernel) check(dev gpu.Device, f gpu.Function, d definition, seed uint64) (err error) {
	b := k.call(dev, d, seed, true)
	defer func() { err = errors.Join(err, b.free()) }()
	if b.err != nil {
		return b.err
	}
	s, err := dev.NewStream()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if err := f.Launch(s, b.grid, b.block, b.shared, b.args...); err != nil {
		return err
	}
	if err := s.Sync(); err != nil {
		return fmt.Errorf("kernel %s: %w", k.entry, err)
	}
	for i, o := range b.outputs {
		got := make([]byte, o.bytes)
		if err := dev.Download(got, o.ptr); err != nil {
			return err
		}
		if err := o.check(got); err != nil {
			return fmt.Errorf("kernel %s computes something else than its reference: output %d, %w", k.entry, i, err)
		}
	}
	return nil
}
