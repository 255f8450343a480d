package cost

import (
	"fmt"
	"math"
	"sort"
)

// Curve is a fitted time by message size: a monotone polyline over the
// logarithms of both. Below the first knot the time is constant (latency);
// above the last it grows at the bandwidth of the last three octaves.
type Curve struct {
	Bytes []float64 `json:"bytes"` // ascending
	Us    []float64 `json:"us"`    // microseconds, not descending
}

// Check returns an error unless the curve has knots, all positive and monotone.
func (c Curve) Check() error {
	if len(c.Bytes) == 0 || len(c.Bytes) != len(c.Us) {
		return fmt.Errorf("curve of %d sizes and %d times: want equally many, at least one", len(c.Bytes), len(c.Us))
	}
	for i := range c.Bytes {
		if !(c.Bytes[i] > 0) || !(c.Us[i] > 0) || math.IsInf(c.Bytes[i], 0) || math.IsInf(c.Us[i], 0) {
			return fmt.Errorf("curve: knot %d at %g bytes and %g us: want both positive", i, c.Bytes[i], c.Us[i])
		}
		if i > 0 && (c.Bytes[i] <= c.Bytes[i-1] || c.Us[i] < c.Us[i-1]) {
			return fmt.Errorf("curve: knot %d is not after knot %d", i, i-1)
		}
	}
	return nil
}

// Micros returns the time of a message, in microseconds.
func (c Curve) Micros(bytes float64) float64 {
	last := len(c.Bytes) - 1
	switch {
	case last < 0:
		return 0
	case bytes <= c.Bytes[0]:
		return c.Us[0]
	case bytes >= c.Bytes[last]:
		return c.Us[last] + (bytes-c.Bytes[last])/(c.GBps()*1e3)
	}
	i := sort.SearchFloat64s(c.Bytes, bytes)
	if c.Bytes[i] == bytes {
		return c.Us[i]
	}
	w := math.Log(bytes/c.Bytes[i-1]) / math.Log(c.Bytes[i]/c.Bytes[i-1])
	return c.Us[i-1] * math.Pow(c.Us[i]/c.Us[i-1], w)
}

// GBps is the asymptotic bandwidth, bytes over time in 1e9 B/s: the slope of the
// last three octaves.
func (c Curve) GBps() float64 {
	last := len(c.Bytes) - 1
	if last < 0 {
		return 0
	}
	from := sort.SearchFloat64s(c.Bytes, c.Bytes[last]/8)
	if from >= last || c.Us[last] <= c.Us[from] {
		return c.Bytes[last] / c.Us[last] / 1e3
	}
	return (c.Bytes[last] - c.Bytes[from]) / (c.Us[last] - c.Us[from]) / 1e3
}

// latency is the time of the smallest message.
func (c Curve) latency() float64 {
	if len(c.Us) == 0 {
		return 0
	}
	return c.Us[0]
}
