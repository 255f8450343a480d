// Package measure times one case on a GPU: warm-up, rotated buffers, CUDA
// events, and repetitions until the median is known well enough.
package measure

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"orrery/kernels/bench"
	"orrery/kernels/gpu"
	"orrery/kernels/sample"
)

// Options bound a measurement.
type Options struct {
	Now        func() time.Time // for the budget only; samples are timed by events
	MaxTime    time.Duration    // of one case, wall clock; 0 does not bound it
	MinSamples int
	MaxSamples int
	Seed       uint64
	// State reads clocks, power, temperature and throttle reasons; nil where NVML
	// is absent.
	State func() sample.State
}

const (
	// atLeast is how long the work of one sample is, in microseconds: two events
	// cost about one, so that they stay below a hundredth.
	atLeast = 200
	// most calls of one sample.
	mostCalls = 512
	// warmUp is how long the GPU works before the first sample, in microseconds,
	// so that clocks have risen.
	warmUp = 5000
	// every so many samples the state is read.
	every = 8
)

// Case prepares a case, which checks its numerics, warms up and times it. A
// sample is the mean of as many calls as make 200 us, replayed from a graph with
// rotating buffers, so that neither launches nor events nor cached data show; a
// kernel of 200 us or more is timed call by call. Repetitions end when the 95 %
// interval of the median is within 2 % of it, or with the options; the row says
// which. No sample is left out.
//
// A context that ends makes an error that wraps its own; nothing is returned
// then.
func Case(ctx context.Context, dev gpu.Device, c bench.Case, opt Options) (row sample.Row, err error) {
	if opt.MinSamples < 1 || opt.MaxSamples < opt.MinSamples {
		return row, fmt.Errorf("measure: between %d and %d samples", opt.MinSamples, opt.MaxSamples)
	}
	p, err := c.Prepare(ctx, dev, opt.Seed)
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	row = sample.Row{Family: c.Family, Kernel: c.Kernel, Hash: c.Hash, Shape: c.Shape, DType: c.DType, Unit: "us"}
	states := &states{read: opt.State}
	if s, ok := p.(bench.Sampler); ok {
		row.Samples, row.Unit, err = s.Sample(ctx, dev, states.now)
	} else {
		row.Samples, err = timed(ctx, dev, p, opt, states)
	}
	if err != nil {
		return sample.Row{}, fmt.Errorf("%s: %w", c.ID(), err)
	}
	row.Summarise()
	row.State = states.sum()
	return row, nil
}

// run is the work that one sample times.
type run struct {
	stream     gpu.Stream
	start, end gpu.Event
	graph      gpu.Graph // nil where each sample is one call
	calls      int
	p          bench.Prepared
	rep        int
}

func timed(ctx context.Context, dev gpu.Device, p bench.Prepared, opt Options, states *states) (samples []float64, err error) {
	r, err := newRun(dev, p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.close()) }()
	if err := r.warm(ctx); err != nil {
		return nil, err
	}
	begin := opt.Now()
	for len(samples) < opt.MaxSamples {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		us, err := r.sample()
		if err != nil {
			return nil, err
		}
		samples = append(samples, us/float64(r.calls))
		if len(samples)%every == 1 {
			states.now()
		}
		done := sample.Row{Samples: samples}
		if done.Summarise(); len(samples) >= opt.MinSamples && done.Within {
			break
		}
		if opt.MaxTime > 0 && len(samples) >= opt.MinSamples && opt.Now().Sub(begin) > opt.MaxTime {
			break
		}
	}
	return samples, nil
}

func newRun(dev gpu.Device, p bench.Prepared) (*run, error) {
	r := &run{p: p, calls: 1}
	var err error
	if r.stream, err = dev.NewStream(); err != nil {
		return nil, err
	}
	if r.start, err = dev.NewEvent(); err != nil {
		return nil, err
	}
	r.end, err = dev.NewEvent()
	return r, err
}

func (r *run) close() error {
	err := errors.Join(r.start.Close(), r.end.Close(), r.stream.Close())
	if r.graph != nil {
		err = errors.Join(err, r.graph.Close())
	}
	return err
}

// warm runs the kernel until clocks have risen and decides how many calls make a
// sample.
func (r *run) warm(ctx context.Context) error {
	spent, fastest := 0.0, math.Inf(1)
	for n := 0; n < 3 || spent < warmUp; n++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		us, err := r.sample()
		if err != nil {
			return err
		}
		spent, fastest = spent+max(us, 1), min(fastest, us)
	}
	if fastest >= atLeast {
		return nil
	}
	r.calls = min(int(math.Ceil(atLeast/max(fastest, 0.1))), mostCalls)
	if err := r.stream.BeginCapture(); err != nil {
		return err
	}
	err := r.enqueue()
	g, ended := r.stream.EndCapture()
	if err := errors.Join(err, ended); err != nil {
		return fmt.Errorf("capture of %d calls: %w", r.calls, err)
	}
	r.graph = g
	_, err = r.sample()
	return err
}

func (r *run) enqueue() error {
	for range r.calls {
		if err := r.p.Enqueue(r.stream, r.rep); err != nil {
			return err
		}
		r.rep++
	}
	return nil
}

// sample is how long one sample's work takes, in microseconds.
func (r *run) sample() (float64, error) {
	if err := r.stream.Record(r.start); err != nil {
		return 0, err
	}
	var err error
	if r.graph != nil {
		err = r.graph.Launch(r.stream)
	} else {
		err = r.enqueue()
	}
	if err != nil {
		return 0, err
	}
	if err := r.stream.Record(r.end); err != nil {
		return 0, err
	}
	if err := r.end.Sync(); err != nil {
		return 0, err
	}
	return r.end.Since(r.start)
}
