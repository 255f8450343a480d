package calibrate

import (
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strconv"

	"orrery/sim/cost"
)

// How fits are validated: on samples that they have not seen.

// heldOut tells whether a sample belongs to the fifth that validates a fit. The
// choice depends on the shape and the name of the split alone, so it is the same
// on every GPU and run.
func heldOut(s Sample, split string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(split + s.Kernel.String())) // never fails
	return h.Sum32()%5 == 0
}

// rowHeldOut is heldOut by row instead of by shape: a size keeps the rows of
// other collections and formats.
func rowHeldOut(s Sample) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(s.Kernel.String() + s.DType + s.Table + strconv.Itoa(s.Line))) // never fails
	return h.Sum32()%5 == 0
}

// split separates the samples that validate a fit from those it is made of.
func split(samples []Sample, leftOut func(Sample) bool) (train, held []Sample) {
	for _, s := range samples {
		if leftOut(s) {
			held = append(held, s)
		} else {
			train = append(train, s)
		}
	}
	return train, held
}

// byShape leaves out a fifth of the shapes; which one depends on the name.
func byShape(name string) func(Sample) bool {
	return func(s Sample) bool { return heldOut(s, name) }
}

// fitValidated fits a model to all samples. The errors are those of fits without
// what each of the splits leaves out, in microseconds of price.
// Leaving out rows tells of sizes that were measured, leaving out shapes of what
// lies between them.
func fitValidated[M any](samples []Sample, fit func([]Sample) (M, error), price func(M, cost.Kernel) (micros float64, err error), splits ...func(Sample) bool) (M, cost.ErrorBand, error) {
	m, err := fit(samples)
	if err != nil {
		return m, cost.ErrorBand{}, err
	}
	var predicted, measured []float64
	for _, leftOut := range splits {
		train, held := split(samples, leftOut)
		trial, err := fit(train)
		if err != nil {
			return m, cost.ErrorBand{}, fmt.Errorf("error bars: %w", err)
		}
		for _, s := range held {
			us, err := price(trial, s.Kernel)
			if err != nil {
				return m, cost.ErrorBand{}, fmt.Errorf("error bars: %w", err)
			}
			predicted, measured = append(predicted, us), append(measured, s.Micros)
		}
	}
	return m, errorBand(predicted, measured), nil
}

// sizeClasses bound the classes of ErrorBand, in microseconds.
var sizeClasses = []float64{20, 50, 150, 500, 2000, 10000}

// errorBand takes the 90 % quantile of the errors relative to the price in each size class of
// predicted time. A class with too few rows for a quantile takes all of them.
func errorBand(predicted, measured []float64) cost.ErrorBand {
	const fewest = 30
	classes := make([][]float64, len(sizeClasses)+1)
	var all []float64
	for i, p := range predicted {
		k, _ := slices.BinarySearch(sizeClasses, p)
		e := math.Abs(measured[i]/p - 1) // RelErr is relative to the price
		classes[k] = append(classes[k], e)
		all = append(all, e)
	}
	if len(all) == 0 {
		return cost.ErrorBand{} // prices as unvalidated
	}
	band := cost.ErrorBand{Below: sizeClasses}
	for _, c := range classes {
		if len(c) < fewest {
			c = all
		}
		band.RelErr = append(band.RelErr, round4(quantile(c, 0.9)))
	}
	return band
}
