// Package measure times one case on a GPU: warm-up, rotated buffers, CUDA
// events, and repetitions until the median is known well enough.
package measure

import (
	"context"
	"errors"
	"time"

	"orrery/kernels/bench"
	"orrery/kernels/gpu"
	"orrery/kernels/sample"
)

// Options bound a measurement.
type Options struct {
	Now        func() time.Time // for the budget only; samples are timed by events
	MaxTime    time.Duration    // of one case, wall clock
	MinSamples int
	MaxSamples int
	Seed       uint64
	// State reads clocks, power, temperature and throttle reasons; nil where NVML
	// is absent.
	State func() sample.State
}

// Case prepares, checks, warms up and times a case.
func Case(ctx context.Context, dev gpu.Device, c bench.Case, opt Options) (sample.Row, error) {
	return sample.Row{}, errors.New("measure: not there yet")
}
