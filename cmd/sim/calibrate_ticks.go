package main

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
)

// fewTicks labels about five values.
type fewTicks struct{}

// Ticks implements plot.Ticker.
func (fewTicks) Ticks(low, high float64) []plot.Tick {
	step := math.Pow(10, math.Floor(math.Log10((high-low)/5)))
	for _, f := range []float64{1, 2, 5, 10} {
		if (high-low)/(f*step) <= 6 {
			step *= f
			break
		}
	}
	var out []plot.Tick
	if !(step > 0) || math.IsInf(step, 0) {
		return out
	}
	for i := math.Ceil(low / step); i*step <= high && len(out) < 20; i++ {
		out = append(out, plot.Tick{Value: i * step, Label: fmt.Sprintf("%.4g", i*step+0)})
	}
	return out
}

// decades labels powers of ten with the letters of their thousands.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) []plot.Tick {
	var out []plot.Tick
	first, last := int(math.Floor(math.Log10(low))), int(math.Ceil(math.Log10(high)))
	every := 1 + (last-first)/8
	for e := first; e <= last; e++ {
		for m := 1; m < 10; m++ {
			x := float64(m) * math.Pow(10, float64(e))
			if x < low || x > high {
				continue
			}
			label := ""
			if m == 1 && e%every == 0 || last-first <= 2 && (m == 2 || m == 5) {
				label = metric(x)
			}
			out = append(out, plot.Tick{Value: x, Label: label})
		}
	}
	return out
}

// metric prints 2e9 as 2G.
func metric(x float64) string {
	for _, p := range []struct {
		factor float64
		letter string
	}{{1e15, "P"}, {1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}} {
		if x >= p.factor*0.9999 {
			return fmt.Sprintf("%.4g%s", x/p.factor, p.letter)
		}
	}
	return fmt.Sprintf("%.4g", x)
}
