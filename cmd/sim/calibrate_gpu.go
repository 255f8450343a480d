package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"orrery/kernels/bench"
	"orrery/kernels/gpu"
	"orrery/kernels/measure"
	"orrery/kernels/sample"
)

// Bounds of one case. The shortest runs give an interval of the median; the
// longest stop at a case that does not settle.
const (
	caseTime   = 4 * time.Second
	minSamples = 11
	maxSamples = 201
	dataSeed   = 20260101 // of the random operands
)

// session is an open GPU and how to measure on it.
type session struct {
	header  sample.Header
	gpus    int
	note    string // what the session lacks; else empty
	measure func(context.Context, bench.Case) (sample.Row, error)
	close   func() error
}

// openGPU opens a GPU for measurements. The error says what is missing and what to do.
func openGPU(launcher string, ordinal int) (*session, error) {
	l, err := gpu.Lookup(launcher)
	if err != nil {
		return nil, err
	}
	count, err := l.Count()
	if err != nil {
		return nil, err
	}
	if ordinal < 0 || ordinal >= count {
		return nil, fmt.Errorf("--device is %d, this machine has GPUs 0 to %d", ordinal, count-1)
	}
	dev, err := l.Open(ordinal)
	if err != nil {
		return nil, err
	}
	info := dev.Info()
	s := &session{gpus: count, close: dev.Close}
	opt := measure.Options{Now: time.Now, MaxTime: caseTime, MinSamples: minSamples, MaxSamples: maxSamples, Seed: dataSeed}
	var telemetry gpu.Telemetry
	if !info.Synthetic { // NVML would tell of another GPU
		if telemetry, err = gpu.OpenTelemetry(ordinal); err != nil {
			telemetry = nil
			s.note = fmt.Sprintf("no clocks, power and temperature: %v", err)
		} else {
			opt.State = telemetry.State
			s.close = func() error { return errors.Join(telemetry.Close(), dev.Close()) }
		}
	}
	s.header = gpu.Header(info, l.Name(), telemetry, time.Now())
	s.measure = func(ctx context.Context, c bench.Case) (sample.Row, error) { return measure.Case(ctx, dev, c, opt) }
	return s, nil
}
