package calibrate

import (
	"fmt"
	"maps"
	"math"
	"slices"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	fitters = append(fitters, fitter{family: cost.FamGEMM, fit: fitGEMM})
}

// A table makes a model of its own if it has so many rows and weights (n, k),
// else it corrects the prices of the base profile.
const (
	fewestGEMMRows = 1000
	fewestWeights  = 100
)

// standsAlone tells whether samples span the sizes.
func standsAlone(samples []Sample) bool {
	weights := map[[2]int64]bool{}
	for _, s := range samples {
		k := s.Kernel.(cost.GEMM)
		weights[[2]int64{k.N, k.K}] = true
	}
	return len(samples) >= fewestGEMMRows && len(weights) >= fewestWeights
}

// fitGEMM fits each format. Its error bars are those of a fit that did not see
// the held-out rows.
func fitGEMM(samples []Sample, g *hw.GPU, p *cost.Profile) error {
	byDType := map[unit.DType][]Sample{}
	for _, s := range samples {
		k, ok := s.Kernel.(cost.GEMM)
		if !ok {
			return fmt.Errorf("%s is no GEMM", s.Kernel)
		}
		if k.DType == unit.FP16 { // tensor cores run both at one rate
			k.DType = unit.BF16
			s.Kernel = k
		}
		byDType[k.DType] = append(byDType[k.DType], s)
	}
	if p.GEMM == nil {
		p.GEMM = map[unit.DType]*cost.GEMMModel{}
	}
	for _, d := range sortedKeys(byDType) {
		var own, public []Sample
		for _, s := range byDType[d] {
			if s.Own {
				own = append(own, s)
			} else {
				public = append(public, s)
			}
		}
		fit, folds := fitGEMMRows, 1
		switch {
		case len(own) > 0 && len(public) > 0:
			fit = fitGEMMBoth
		case !standsAlone(byDType[d]):
			if p.Base() == nil {
				return fmt.Errorf("%s: %d rows are too few, or of too few sizes, without a base profile to correct", d, len(byDType[d]))
			}
			fit, folds = fitGEMMOverBase, 5
		}
		predicted, measured, err := crossValidate(byDType[d], folds, func(train, held []Sample) (predicted, measured []float64, err error) {
			delete(p.GEMM, d)
			if p.GEMM[d], err = fit(train, g, p); err != nil {
				return nil, nil, err
			}
			return prices(p, held)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
		delete(p.GEMM, d)
		m, err := fit(byDType[d], g, p)
		if err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
		m.Errors = errorBand(predicted, measured)
		p.GEMM[d] = m
	}
	return nil
}

// crossValidate calls f for so many random fifths: with the rows to fit to, and those
// to predict. It returns all predictions beside their measurements.
func crossValidate(samples []Sample, folds int, f func(train, held []Sample) (predicted, measured []float64, err error)) (predicted, measured []float64, err error) {
	for i := range folds {
		train, held := split(samples, byShape(fmt.Sprint("errors", i)))
		p, m, err := f(train, held)
		if err != nil {
			return nil, nil, err
		}
		predicted, measured = append(predicted, p...), append(measured, m...)
	}
	return predicted, measured, nil
}

// prices returns the prices of samples and their measured times, in microseconds.
func prices(p *cost.Profile, samples []Sample) (predicted, measured []float64, err error) {
	for _, s := range samples {
		e, err := p.Price(s.Kernel)
		if err != nil {
			return nil, nil, err
		}
		predicted = append(predicted, e.Time.Micros())
		measured = append(measured, s.Micros)
	}
	return predicted, measured, nil
}

// fitGEMMRows fits a model of its own to forward products.
func fitGEMMRows(samples []Sample, g *hw.GPU, _ *cost.Profile) (*cost.GEMMModel, error) {
	kernels := make([]cost.GEMM, len(samples))
	micros := make([]float64, len(samples))
	for i, s := range samples {
		kernels[i], micros[i] = s.Kernel.(cost.GEMM), s.Micros
	}
	peak := g.PeakTFLOPS[kernels[0].DType]
	model := func(p []float64) *cost.GEMMModel {
		return &cost.GEMMModel{Launch: p[0], Rate: p[1], Fill: p[2], Small: p[3], Split: p[4], Traffic: p[5]}
	}
	p, _, err := fitPositive([]float64{3, 0.8 * peak, 200, 0.05, 1, 1.2}, micros, func(i int, p []float64) float64 {
		return model(p).Micros(kernels[i], g)
	})
	if err != nil {
		return nil, err
	}
	for i := range p {
		p[i] = round4(p[i])
	}
	m := model(p)
	at := make([]cost.Coords, len(samples))
	target, weight := make([]float64, len(samples)), make([]float64, len(samples))
	for i, k := range kernels {
		at[i] = k.Coords()
		target[i] = math.Log(micros[i] / m.Micros(k, g))
		weight[i] = weightOf(micros[i])
	}
	if m.Surface, err = fitSurface(gemmLayout(), at, target, weight); err != nil {
		return nil, err
	}
	if kernels[0].DType.Bytes() < 2 {
		for i, s := range samples {
			target[i] = 0
			if s.Best > 0 { // else its only collection
				target[i] = min(math.Log(s.Best/s.Micros), 0)
			}
		}
		m.Fastest, err = fitSurface(fastestLayout(), at, target, weight)
	}
	return m, err
}

// fitGEMMBoth fits a model to public tables, then what training calls to this
// project's samples of cuBLASLt: in narrow formats the time over the tables'
// median, and in all formats the layouts' ratios to the forward product.
func fitGEMMBoth(samples []Sample, g *hw.GPU, p *cost.Profile) (*cost.GEMMModel, error) {
	var own, public []Sample
	for _, s := range samples {
		if s.Own {
			own = append(own, s)
		} else {
			public = append(public, s)
		}
	}
	m, err := fitGEMMRows(public, g, p)
	if err != nil {
		return nil, err
	}
	narrow := own[0].Kernel.(cost.GEMM).DType.Bytes() < 2
	if narrow {
		m.Fastest = nil
		var at []cost.Coords
		var target, weight []float64
		for _, s := range own {
			if k := s.Kernel.(cost.GEMM); forward(k) == k {
				k.Fastest = false
				e, err := m.Price(k, g)
				if err != nil {
					return nil, err
				}
				at, target, weight = append(at, k.Coords()), append(target, math.Log(s.Micros/e.Time.Micros())), append(weight, weightOf(s.Micros))
			}
		}
		if m.Fastest, err = fitSurface(fastestLayout(), at, target, weight); err != nil {
			return nil, err
		}
	}
	byLayout := map[cost.Layout][]Sample{}
	for _, s := range own {
		if k := s.Kernel.(cost.GEMM); forward(k) != k {
			byLayout[k.Layout] = append(byLayout[k.Layout], s)
		}
	}
	m.Layouts = map[cost.Layout]cost.LayoutFit{}
	for _, l := range sortedKeys(byLayout) {
		rows := byLayout[l]
		above, extra, micros := make([]float64, len(rows)), make([]float64, len(rows)), make([]float64, len(rows))
		for i, s := range rows {
			e, err := m.Price(forward(s.Kernel.(cost.GEMM)), g)
			if err != nil {
				return nil, err
			}
			above[i], extra[i], micros[i] = max(e.Time.Micros()-m.Launch, 0.1), accumulateMicros(s, g), s.Micros
		}
		if m.Layouts[l], err = fitLayout(l, m.Launch, above, extra, micros); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// forward is the forward product of the same sizes.
func forward(k cost.GEMM) cost.GEMM {
	k.Layout = cost.Fwd
	return k
}

// accumulateMicros is how long the bytes take that adding to fp32 moves beyond
// writing bf16, at the memory's peak.
func accumulateMicros(s Sample, g *hw.GPU) float64 {
	k := s.Kernel.(cost.GEMM)
	if k.Layout != cost.Wgrad {
		return 0
	}
	return 6 * float64(k.M*k.N*max(k.Batch, 1)) / (g.HBMGBps * 1e3)
}

// fitLayout fits a layout's ratio to forward products: above is their time above
// the launch, extra the time of accumulation in fp32 at peak bandwidth, all in
// microseconds.
func fitLayout(l cost.Layout, launch float64, above, extra, micros []float64) (cost.LayoutFit, error) {
	start := []float64{1}
	if l == cost.Wgrad {
		start = append(start, 1)
	}
	f, _, err := fitPositive(start, micros, func(i int, f []float64) float64 {
		us := launch + f[0]*above[i]
		if len(f) > 1 {
			us += f[1] * extra[i]
		}
		return us
	})
	if err != nil {
		return cost.LayoutFit{}, err
	}
	fit := cost.LayoutFit{Factor: round4(f[0])}
	if len(f) > 1 {
		fit.Traffic = round4(f[1])
	}
	return fit, nil
}

// fastestLayout is coarse: libraries differ by what they were made for, not by tiles.
func fastestLayout() cost.Surface {
	return cost.Surface{lattice(axis("m", 4, 8, 10, 12, 14), axis("n", 9, 11, 13, 15), axis("k", 9, 11, 13, 15))}
}

// gemmLayout has a knot an octave where training and inference run, and steps
// where another row of tiles begins.
func gemmLayout() cost.Surface {
	rows := axis("m", 6, 7, 8, 9, 10, 11, 12, 13)
	return cost.Surface{
		lattice(
			axis("m", 0, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
			axis("n", 5, 7, 8, 9, 10, 11, 12, 13, 14, 16),
			axis("k", 6, 8, 9, 10, 11, 12, 13, 14, 16),
		),
		lattice(rows, axis("empty128", 0, 1), axis("n", 5, 8, 10, 12, 14, 16)),
		lattice(rows, axis("empty256", 0, 0.5, 1), axis("n", 5, 8, 10, 12, 14, 16)),
	}
}

// fitGEMMOverBase fits the correction of the base profile's derived prices, and
// the layouts' ratios, in turns.
func fitGEMMOverBase(samples []Sample, g *hw.GPU, p *cost.Profile) (*cost.GEMMModel, error) {
	const turns = 8
	m := &cost.GEMMModel{OverBase: true, Launch: 2.5, Layouts: map[cost.Layout]cost.LayoutFit{}}
	at := make([]cost.Coords, len(samples))
	first := make([]float64, len(samples))
	extra := make([]float64, len(samples))
	byLayout := map[cost.Layout][]int{}
	for i, s := range samples {
		k := s.Kernel.(cost.GEMM)
		byLayout[k.Layout] = append(byLayout[k.Layout], i)
		e, err := p.Price(forward(k)) // p has no fit of this format now: its base's price
		if err != nil {
			return nil, err
		}
		first[i] = e.Time.Micros()
		at[i] = k.Coords()
		at[i]["us"] = max(cost.ShortestLog2, min(cost.LongestLog2, math.Log2(first[i])))
		extra[i] = accumulateMicros(s, g)
	}
	// time of row i above the launch, as a forward product
	aboveLaunch := func(i int) float64 { return max(first[i]*math.Exp(m.Surface.At(at[i]))-m.Launch, 0.1) }
	for range turns {
		target, weight := make([]float64, len(samples)), make([]float64, len(samples))
		for i, s := range samples {
			k := s.Kernel.(cost.GEMM)
			us := s.Micros
			if f, ok := m.Layouts[k.Layout]; ok { // undo the layout
				us = m.Launch + max(us-m.Launch-f.Traffic*extra[i], 0.1*us)/f.Factor
			}
			target[i] = math.Log(us / first[i])
			weight[i] = weightOf(s.Micros)
		}
		var err error
		if m.Surface, err = fitSurface(overBaseLayout(), at, target, weight); err != nil {
			return nil, err
		}
		for _, l := range sortedKeys(byLayout) {
			rows := byLayout[l]
			if l == "" || l == cost.Fwd {
				continue
			}
			var above, add, micros []float64
			for _, i := range rows {
				above, add, micros = append(above, aboveLaunch(i)), append(add, extra[i]), append(micros, samples[i].Micros)
			}
			if m.Layouts[l], err = fitLayout(l, m.Launch, above, add, micros); err != nil {
				return nil, err
			}
		}
	}
	return m, nil
}

// overBaseLayout is coarse: a few hundred rows have to fill it. The axis of
// microseconds is for the clock, which falls as kernels get longer.
func overBaseLayout() cost.Surface {
	size := []float64{8, 10, 11, 12, 13, 14, 16}
	return cost.Surface{
		lattice(axis("us", cost.ShortestLog2, 5, 6, 7, 8, 9, 10, cost.LongestLog2)),
		lattice(axis("m", size...)),
		lattice(axis("n", size...)),
		lattice(axis("k", size...)),
		lattice(axis("us", cost.ShortestLog2, 6, 8, 10, cost.LongestLog2), axis("m", 8, 11, 14)),
		lattice(axis("us", cost.ShortestLog2, 6, 8, 10, cost.LongestLog2), axis("n", 8, 11, 14)),
		lattice(axis("us", cost.ShortestLog2, 6, 8, 10, cost.LongestLog2), axis("k", 8, 9, 11, 14)),
	}
}

func sortedKeys[K ~string, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
