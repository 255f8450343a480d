package suite

import (
	"context"
	"errors"
	"fmt"
	"math"

	"orrery/kernels/bench"
	"orrery/kernels/gpu"
	"orrery/kernels/sample"
)

// Cases that take their own samples: launches, clocks, and kernels beside each
// other.

// sampler is a prepared case with a way to sample of its own.
type sampler struct {
	prepared
	take func(ctx context.Context, dev gpu.Device, s *stage, state func() sample.State) ([]float64, string, error)
}

// stage is what samplers need of a device: streams and events.
type stage struct {
	front, back gpu.Stream
	start, end  gpu.Event
	ready       gpu.Event
}

func newStage(dev gpu.Device) (*stage, error) {
	s := &stage{}
	var err, all error
	for _, into := range []*gpu.Stream{&s.front, &s.back} {
		*into, err = dev.NewStream()
		all = errors.Join(all, err)
	}
	for _, into := range []*gpu.Event{&s.start, &s.end, &s.ready} {
		*into, err = dev.NewEvent()
		all = errors.Join(all, err)
	}
	return s, all
}

func (s *stage) close() error {
	return errors.Join(s.front.Close(), s.back.Close(), s.start.Close(), s.end.Close(), s.ready.Close())
}

// timed is how long what do enqueues on the front stream takes, in microseconds.
func (s *stage) timed(do func() error) (float64, error) {
	if err := s.front.Record(s.start); err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	if err := s.front.Record(s.end); err != nil {
		return 0, err
	}
	if err := s.end.Sync(); err != nil {
		return 0, err
	}
	return s.end.Since(s.start)
}

func (p *sampler) Sample(ctx context.Context, dev gpu.Device, state func() sample.State) (_ []float64, _ string, err error) {
	s, err := newStage(dev)
	if err != nil {
		return nil, "", err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	return p.take(ctx, dev, s, state)
}

// own makes a case with samples of its own. Kernels are checked like all others.
func (k kernel) own(family, name, shape string, weight float64, small, real definition,
	take func(p *sampler) func(context.Context, gpu.Device, *stage, func() sample.State) ([]float64, string, error)) bench.Case {
	c := bench.Case{Family: family, Kernel: name, Hash: k.hash(), Shape: sample.Shape(shape), DType: "none", Weight: weight}
	prepare := k.prepare(small, real, 1)
	c.Prepare = func(ctx context.Context, dev gpu.Device, seed uint64) (bench.Prepared, error) {
		p, err := prepare(ctx, dev, seed)
		if err != nil {
			return nil, err
		}
		s := &sampler{prepared: *p.(*prepared)}
		s.take = take(s)
		return s, nil
	}
	return c
}

func empty(b *builder) { b.launch(1, 32) }

// launchSamples of each kind; launches in a row for those that are timed together.
const launchSamples, inARow = 200, 64

// repeat samples until there are enough or the context ends.
func repeat(ctx context.Context, n int, one func() (float64, error)) ([]float64, string, error) {
	var out []float64
	for range n {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		x, err := one()
		if err != nil {
			return nil, "", err
		}
		out = append(out, x)
	}
	return out, "us", nil
}

// launchCases: an event, one launch between two events, launches in a row, and
// kernels of a graph, each in microseconds a piece.
func launchCases() []bench.Case {
	k := kernel{"launch", "nothing"}
	make := func(kind string, each int, do func(p *sampler, s *stage) error) bench.Case {
		return k.own("launch", "nothing", "kind="+kind, 3, empty, empty, func(p *sampler) func(context.Context, gpu.Device, *stage, func() sample.State) ([]float64, string, error) {
			return func(ctx context.Context, _ gpu.Device, s *stage, state func() sample.State) ([]float64, string, error) {
				state()
				return repeat(ctx, launchSamples, func() (float64, error) {
					us, err := s.timed(func() error { return do(p, s) })
					return us / float64(each), err
				})
			}
		})
	}
	row := func(p *sampler, s *stage) error {
		for i := range inARow {
			if err := p.Enqueue(s.front, i); err != nil {
				return err
			}
		}
		return nil
	}
	graph := k.own("launch", "nothing", "kind=graph", 3, empty, empty, func(p *sampler) func(context.Context, gpu.Device, *stage, func() sample.State) ([]float64, string, error) {
		return func(ctx context.Context, _ gpu.Device, s *stage, state func() sample.State) (_ []float64, _ string, err error) {
			state()
			if err := s.front.BeginCapture(); err != nil {
				return nil, "", err
			}
			captured := row(p, s)
			g, err := s.front.EndCapture()
			if err := errors.Join(captured, err); err != nil {
				return nil, "", err
			}
			defer func() { err = errors.Join(err, g.Close()) }()
			return repeat(ctx, launchSamples, func() (float64, error) {
				us, err := s.timed(func() error { return g.Launch(s.front) })
				return us / inARow, err
			})
		}
	})
	return []bench.Case{
		make("event", 1, func(*sampler, *stage) error { return nil }),
		make("single", 1, func(p *sampler, s *stage) error { return p.Enqueue(s.front, 0) }),
		make("row", inARow, row),
		graph,
	}
}

// Sustained load: fmaBurst runs a few ms, and fmaSustained of those seconds.
const fmaIterations, fmaBurst, fmaSustained = 1 << 16, 20, 400

// clockCases: how long the same work takes in the first moments and after
// seconds of it, and the clocks and the power meanwhile.
func clockCases() []bench.Case {
	k := kernel{"launch", "fma_loop"}
	make := func(kind, unit string, calls int, of func(us float64, s sample.State) float64) bench.Case {
		return k.own("clock", "fma_loop", fmt.Sprintf("kind=%s calls=%d iterations=%d", kind, calls, fmaIterations), 2, fmaLoop(7), fmaLoop(fmaIterations),
			func(p *sampler) func(context.Context, gpu.Device, *stage, func() sample.State) ([]float64, string, error) {
				return func(ctx context.Context, _ gpu.Device, s *stage, state func() sample.State) ([]float64, string, error) {
					var out []float64
					known := false
					for range calls {
						if err := ctx.Err(); err != nil {
							return nil, "", err
						}
						us, err := s.timed(func() error { return p.Enqueue(s.front, 0) })
						if err != nil {
							return nil, "", err
						}
						st := state()
						known = known || st.ClockMHz > 0
						out = append(out, of(us, st))
					}
					if unit != "us" && !known {
						return nil, "", errors.New("clocks and power need NVML, which is not there")
					}
					if kind == "steady" { // the last quarter
						out = out[len(out)*3/4:]
					}
					return out, unit, nil
				}
			})
	}
	time := func(us float64, _ sample.State) float64 { return us }
	return []bench.Case{
		make("burst", "us", fmaBurst, time),
		make("steady", "us", fmaSustained, time),
		make("clock", "mhz", fmaSustained, func(_ float64, s sample.State) float64 { return float64(s.ClockMHz) }),
		make("power", "watt", fmaSustained, func(_ float64, s sample.State) float64 { return s.PowerW }),
	}
}

// Tiles of 256 KiB, 1,024 of them: 256 MiB, as many as the weights of a few
// experts.
const tiles, tile16 = 1024, 16384

// streamCases: copies by few multiprocessors, alone and beside a kernel that
// keeps the arithmetic units busy, and that kernel alone and beside the copy:
// what communication costs computation and the reverse.
func streamCases() []bench.Case {
	stream, fma := kernel{"launch", "tile_stream"}, kernel{"launch", "fma_loop"}
	var out []bench.Case
	for _, sms := range []int64{4, 8, 16, 24, 32, 48, 64} {
		sizes := fmt.Sprintf("sms=%d tiles=%d tile=%d", sms, tiles, 16*tile16)
		copying := tileStream(tiles, tile16, sms)
		out = append(out,
			stream.beside("tile_stream", sizes+" beside=nothing", tileStream(3, 300, 2), copying, kernel{}, nil),
			stream.beside("tile_stream", sizes+" beside=fma_loop", tileStream(3, 300, 2), copying, fma, fmaLoop(fmaIterations)),
			fma.beside("fma_loop", sizes+" beside=tile_stream", fmaLoop(7), fmaLoop(fmaIterations), stream, copying))
	}
	return append(out, fma.beside("fma_loop", "beside=nothing", fmaLoop(7), fmaLoop(fmaIterations), kernel{}, nil))
}

// mostSlower bounds how many times longer a kernel takes beside another one: a copy
// by 4 multiprocessors beside a GEMM took 3.7 times as long on an H100.
const mostSlower = 8

// Covering is how many launches of a kernel that takes each microseconds keep a GPU
// busy for as long as another one of alone microseconds can take beside it.
func Covering(alone, each float64) int {
	return int(min(math.Ceil(mostSlower*alone/max(each, 1)), 200)) + 1
}

// Covered sets shapes apart from those of 2026-11-26, in which the other kernel ended
// before the timed one where it was much shorter.
const Covered = " covered=true"

// beside times a kernel while another one runs on the other stream, before it
// and after it.
func (k kernel) beside(name, shape string, small, real definition, other kernel, also definition) bench.Case {
	if also != nil {
		shape += Covered
	}
	return k.own("stream", name, shape, 1, small, real, func(p *sampler) func(context.Context, gpu.Device, *stage, func() sample.State) ([]float64, string, error) {
		return func(ctx context.Context, dev gpu.Device, s *stage, state func() sample.State) (_ []float64, _ string, err error) {
			background := func(int) error { return nil }
			if also != nil {
				m, f, err := other.load(dev)
				if err != nil {
					return nil, "", err
				}
				b := other.call(dev, also, 1, false)
				defer func() { err = errors.Join(err, b.free(), m.Unload()) }()
				if b.err != nil {
					return nil, "", b.err
				}
				background = func(calls int) error {
					for range calls {
						if err := f.Launch(s.back, b.grid, b.block, b.shared, b.args...); err != nil {
							return err
						}
					}
					return nil
				}
			}
			alone, err := s.timed(func() error { return p.Enqueue(s.front, 0) })
			if err != nil {
				return nil, "", err
			}
			if err := errors.Join(s.back.Record(s.ready), background(1), s.back.Record(s.end), s.end.Sync()); err != nil {
				return nil, "", err
			}
			each, err := s.end.Since(s.ready)
			if err != nil {
				return nil, "", err
			}
			behind := Covering(alone, each)
			state()
			return repeat(ctx, 40, func() (float64, error) {
				if err := background(2); err != nil {
					return 0, err
				}
				// the end is recorded before the host is busy with the other kernel
				if err := errors.Join(s.front.Record(s.start), p.Enqueue(s.front, 0), s.front.Record(s.end), background(behind)); err != nil {
					return 0, err
				}
				if err := errors.Join(s.end.Sync(), s.back.Sync()); err != nil {
					return 0, err
				}
				return s.end.Since(s.start)
			})
		}
	})
}

// Stream is a tile copy by so many multiprocessors, for kernels of other packages
// to run beside.
type Stream struct {
	module gpu.Module
	f      gpu.Function
	b      *builder
}

// NewStream loads the copy and fills its buffers.
func NewStream(dev gpu.Device, sms int64) (*Stream, error) {
	k := kernel{"launch", "tile_stream"}
	m, f, err := k.load(dev)
	if err != nil {
		return nil, err
	}
	s := &Stream{m, f, k.call(dev, tileStream(tiles, tile16, sms), 1, false)}
	if s.b.err != nil {
		return nil, errors.Join(s.b.err, s.Close())
	}
	return s, nil
}

// Launch enqueues one copy of 256 MiB.
func (s *Stream) Launch(on gpu.Stream) error {
	return s.f.Launch(on, s.b.grid, s.b.block, s.b.shared, s.b.args...)
}

// Close frees the buffers.
func (s *Stream) Close() error { return errors.Join(s.b.free(), s.module.Unload()) }
