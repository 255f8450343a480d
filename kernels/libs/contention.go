package libs

import (
	"context"
	"errors"
	"fmt"

	"orrery/kernels/bench"
	"orrery/kernels/gpu"
	"orrery/kernels/sample"
	"orrery/kernels/suite"
)

func init() {
	bench.Register(bench.Suite{Name: "stream_gemm", Missing: ltLibrary.missing, Cases: contentionCases})
}

// contention times a GEMM, or a tile copy by a few multiprocessors, while the
// other one runs on another stream: what communication costs computation and the
// reverse.
type contention struct {
	gemm gemm
	sms  int64 // of the copy; 0 for none
	copy bool  // time the copy instead of the GEMM
}

func contentionCases() []bench.Case {
	big := gemm{fwd, 8192, 8192, 8192, "bf16", 1}
	out := []bench.Case{contention{big, 0, false}.asCase()}
	for _, sms := range []int64{4, 8, 16, 24, 32, 48, 64} {
		out = append(out, contention{big, sms, false}.asCase(), contention{big, sms, true}.asCase())
	}
	return out
}

func (c contention) asCase() bench.Case {
	timed := "cublaslt"
	if c.copy {
		timed = "tile_stream"
	}
	shape := fmt.Sprintf("m=%d n=%d k=%d layout=%s sms=%d", c.gemm.m, c.gemm.n, c.gemm.k, c.gemm.layout, c.sms)
	if c.sms > 0 {
		shape += suite.Covered
	}
	return bench.Case{Family: "stream", Kernel: timed + "_beside", Hash: ltVersion(), Shape: sample.Shape(shape), DType: c.gemm.dtype, Weight: 2,
		Prepare: func(ctx context.Context, dev gpu.Device, seed uint64) (bench.Prepared, error) {
			p, err := c.gemm.prepare(ctx, dev, seed) // which checks it
			if err != nil {
				return nil, err
			}
			return &beside{Prepared: p, contention: c}, nil
		}}
}

type beside struct {
	bench.Prepared
	contention
}

// samples of each case.
const besideSamples = 40

// Sample keeps the other stream busy before, during and after what is timed.
func (b *beside) Sample(ctx context.Context, dev gpu.Device, state func() sample.State) (_ []float64, _ string, err error) {
	front, err := dev.NewStream()
	if err != nil {
		return nil, "", err
	}
	back, err := dev.NewStream()
	if err != nil {
		return nil, "", errors.Join(err, front.Close())
	}
	start, err := dev.NewEvent()
	if err != nil {
		return nil, "", errors.Join(err, front.Close(), back.Close())
	}
	end, err := dev.NewEvent()
	if err != nil {
		return nil, "", errors.Join(err, front.Close(), back.Close(), start.Close())
	}
	defer func() { err = errors.Join(err, front.Close(), back.Close(), start.Close(), end.Close()) }()
	timed := func(s gpu.Stream, rep int) error { return b.Enqueue(s, rep) }
	other := func(gpu.Stream, int) error { return nil }
	if b.sms > 0 {
		tiles, err := suite.NewStream(dev, b.sms)
		if err != nil {
			return nil, "", err
		}
		defer func() { err = errors.Join(err, tiles.Close()) }()
		other = func(s gpu.Stream, _ int) error { return tiles.Launch(s) }
		if b.copy {
			timed, other = other, timed
		}
	}
	// how long each takes alone, so that the other one runs all the time
	alone := func(do func(gpu.Stream, int) error) (float64, error) {
		err := errors.Join(do(front, 0), front.Record(start), do(front, 1), front.Record(end), end.Sync())
		if err != nil {
			return 0, err
		}
		return end.Since(start)
	}
	one, err := alone(timed)
	if err != nil {
		return nil, "", err
	}
	each, err := alone(other)
	if err != nil {
		return nil, "", err
	}
	behind := suite.Covering(one, each)
	var out []float64
	for i := range besideSamples {
		if err := ctx.Err(); err != nil {
			return nil, "", err
		}
		if err := errors.Join(other(back, i), other(back, i+1), front.Record(start), timed(front, i), front.Record(end)); err != nil {
			return nil, "", err
		}
		for range behind {
			if err := other(back, i); err != nil {
				return nil, "", err
			}
		}
		if err := errors.Join(end.Sync(), back.Sync()); err != nil {
			return nil, "", err
		}
		us, err := end.Since(start)
		if err != nil {
			return nil, "", err
		}
		out = append(out, us)
		if i%8 == 0 {
			state()
		}
	}
	return out, "us", nil
}
