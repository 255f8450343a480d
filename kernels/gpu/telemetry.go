package gpu

import (
	"time"

	"orrery/kernels/sample"
)

// Telemetry reads clocks, power, temperature and throttle reasons of a GPU.
type Telemetry interface {
	State() sample.State
	Driver() string
	PowerCapW() float64
	Close() error
}

// Header describes a run of measurements. telemetry may be nil.
func Header(info Info, launcher string, telemetry Telemetry, now time.Time) sample.Header {
	h := sample.Header{
		GPU: info.Name, Driver: info.Driver, CUDA: info.CUDA, SMs: info.SMs, ClockMHz: info.ClockMHz, MemMHz: info.MemMHz,
		Date: now.UTC().Format(time.RFC3339), Launcher: launcher, Synthetic: info.Synthetic,
	}
	if telemetry != nil {
		h.Driver, h.PowerCapW = telemetry.Driver(), telemetry.PowerCapW()
	}
	return h
}
