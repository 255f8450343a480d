// Package bench holds what can be measured: each case is a kernel at a shape
// with a numerical check that runs before it is timed.
package bench

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"orrery/kernels/gpu"
	"orrery/kernels/sample"
)

// Case is a kernel at a shape.
type Case struct {
	Family string
	Kernel string
	Hash   string
	Shape  sample.Shape
	DType  string
	FLOPs  float64 // of one call
	Bytes  float64 // that one call moves to and from device memory
	// Weight orders cases: what a training step spends its time in comes first.
	Weight float64
	// Needs is how many GPUs the case takes; 0 counts as 1.
	Needs int
	// Prepare allocates, uploads random data and checks the kernel against its
	// reference on the CPU; the error names kernel, shape and the first wrong
	// element.
	Prepare func(ctx context.Context, dev gpu.Device, seed uint64) (Prepared, error)
}

// ID names the case: a row of samples with the same ID measured it.
func (c Case) ID() string { return c.Family + "/" + c.Kernel + "/" + c.DType + "/" + string(c.Shape) }

// Prepared is a case that is ready to be timed.
type Prepared interface {
	// Enqueue runs the kernel once. rep rotates buffers, so that the second call
	// does not find the data of the first in the L2 cache.
	Enqueue(s gpu.Stream, rep int) error
	Close() error
}

// Sampler is a Prepared that takes its own samples instead of being timed call by
// call: launch latency, event overhead, clocks over a sustained run.
type Sampler interface {
	Prepared
	// Sample returns all samples in the order measured, and their unit: "us",
	// "mhz" or "watt". state reads the telemetry now.
	Sample(ctx context.Context, dev gpu.Device, state func() sample.State) (samples []float64, unit string, err error)
}

// Suite is a set of cases: the kernels of a folder, or of a library.
type Suite struct {
	Name string
	// Missing says why nothing of the suite can run on this machine, or is nil.
	Missing func() error
	// Cases lists all, most informative first.
	Cases func() []Case
}

// Ordered sorts cases by weight, the highest first, and drops those that are
// there twice.
func Ordered(cases []Case) []Case {
	slices.SortStableFunc(cases, func(a, b Case) int {
		return cmp.Or(cmp.Compare(b.Weight, a.Weight), strings.Compare(a.ID(), b.ID()))
	})
	seen := map[string]bool{}
	return slices.DeleteFunc(cases, func(c Case) bool {
		twice := seen[c.ID()]
		seen[c.ID()] = true
		return twice
	})
}

var suites []Suite

// Register adds a suite; packages call it from init.
func Register(s Suite) { suites = append(suites, s) }

// Suites are all that were registered, in the order of registration.
func Suites() []Suite { return suites }
