package calibrate

import "fmt"

// sustained bounds the kernels that run long enough for the power limit to lower
// the clock, in microseconds.
const sustained = 2000

// noiseOf tells what a table says of its own uncertainty: how far the collections
// of a row lie apart, and how much slower than the fastest collection, which ran
// cool, the median one was where kernels are long. Prices follow the median, so
// that factor is in them.
func noiseOf(samples []Sample, table string) string {
	var spreads, slower []float64
	for _, s := range samples {
		if s.Table != table || s.Spread == 0 {
			continue
		}
		spreads = append(spreads, s.Spread)
		if s.Best > 0 && s.Micros >= sustained {
			slower = append(slower, s.Micros/s.Best)
		}
	}
	if len(spreads) == 0 {
		return ""
	}
	note := fmt.Sprintf("slowest over fastest collection of a row: median %.3g, p90 %.3g", quantile(spreads, 0.5), quantile(spreads, 0.9))
	if len(slower) >= 30 {
		note += fmt.Sprintf("; from 2 ms: median over fastest collection %.3g", quantile(slower, 0.5))
	}
	return note
}
