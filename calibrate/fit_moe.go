package calibrate

import (
	"fmt"
	"math"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	fitters = append(fitters, fitter{family: cost.FamMoE, fit: fitMoE})
}

// fewestMoERows that make a fit.
const fewestMoERows = 200

// fitMoE fits the expert layers of each format, and derives from their physical
// models the grouped GEMMs that training runs.
func fitMoE(samples []Sample, g *hw.GPU, p *cost.Profile) error {
	byDType := map[unit.DType][]Sample{}
	for _, s := range samples {
		k, ok := s.Kernel.(cost.MoE)
		if !ok {
			return fmt.Errorf("fit moe: %s is no expert layer", s.Kernel)
		}
		byDType[k.DType] = append(byDType[k.DType], s)
	}
	for _, d := range []unit.DType{unit.BF16, unit.FP8, unit.FP8Block, unit.NVFP4} {
		if len(byDType[d]) < fewestMoERows {
			continue
		}
		m, err := fitMoEModel(byDType[d], g)
		if err != nil {
			return fmt.Errorf("fit moe in %s: %w", d, err)
		}
		if p.MoE == nil {
			p.MoE = map[unit.DType]*cost.MoEModel{}
		}
		p.MoE[d] = m
	}
	groupedFromMoE(g, p)
	return nil
}

// fitMoEModel fits one format.
func fitMoEModel(samples []Sample, g *hw.GPU) (*cost.MoEModel, error) {
	m, errors, err := fitValidated(samples, func(rows []Sample) (*cost.MoEModel, error) { return fitMoERows(rows, g) },
		func(m *cost.MoEModel, k cost.Kernel) (float64, error) {
			e, err := m.Price(k.(cost.MoE), g)
			return e.Time.Micros(), err
		}, byShape("errors"))
	if err != nil {
		return nil, err
	}
	m.Errors = errors
	return m, nil
}

func fitMoERows(samples []Sample, g *hw.GPU) (*cost.MoEModel, error) {
	terms := make([]cost.MoETerms, len(samples))
	at := make([]cost.Coords, len(samples))
	micros := make([]float64, len(samples))
	for i, s := range samples {
		var err error
		if terms[i], at[i], err = s.Kernel.(cost.MoE).Terms(g); err != nil {
			return nil, err
		}
		micros[i] = s.Micros
	}
	model := func(p []float64) *cost.MoEModel {
		return &cost.MoEModel{Launch: p[0], Expert: p[1], Route: p[2], Rate: p[3], Fill: p[4], Weights: p[5], Activation: p[6]}
	}
	p, _, err := fitPositive([]float64{30, 0.05, 0.3, 0.8 * g.PeakTFLOPS[unit.BF16], 250, 1.2, 2}, micros, func(i int, p []float64) float64 {
		return model(p).Micros(terms[i])
	})
	if err != nil {
		return nil, err
	}
	for i := range p {
		p[i] = round4(p[i])
	}
	m := model(p)
	target, weight := make([]float64, len(samples)), make([]float64, len(samples))
	for i := range samples {
		target[i] = math.Log(micros[i] / m.Micros(terms[i]))
		weight[i] = weightOf(micros[i])
	}
	m.Surface, err = fitSurface(moeLayout(), at, target, weight)
	return m, err
}

// moeLayout has one knot an octave in the rows of an expert, where kernels pass
// from reading weights to computing, and fewer in the sizes of the model.
func moeLayout() cost.Surface {
	rows := axis("rows", -2, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13)
	experts := axis("experts", 0, 2, 4, 6, 8, 9)
	inter := axis("inter", 4, 6, 7, 8, 9, 10, 11, 12, 14)
	hidden := axis("hidden", 11, 12, 12.6, 13)
	return cost.Surface{
		lattice(rows, experts),
		lattice(rows, inter),
		lattice(rows, hidden),
		lattice(experts, inter),
		lattice(inter, hidden),
		lattice(axis("up", 1, 2), axis("rows", -2, 2, 4, 6, 8, 10, 13)),
		lattice(axis("up", 1, 2), inter),
		lattice(axis("routed", 4, 6, 8, 10, 12, 14, 16, 18), experts),
	}
}
