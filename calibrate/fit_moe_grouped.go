package calibrate

import (
	"fmt"

	"orrery/sim/cost"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

func init() {
	fitters = append(fitters, fitter{family: cost.FamGroupedGEMM, fit: fitGrouped})
}

// Rates and traffic of the gradients over those of the forward product: rounded
// ratios of the parameters that fit SimuMax's grouped GEMMs on B200
// (b200_bf16_ceperm.json, 92 shapes in bf16; TestGroupedOfB200 holds them against
// a new fit). Weight gradients are sums in fp32 over the few rows of an expert.
const (
	dgradRateShare, dgradTraffic = 0.90, 1.1
	wgradRateShare, wgradTraffic = 0.79, 1.0
)

const (
	// groupedLaunch is assumed: what a dense GEMM costs at least (2-5 us in
	// aiconfigurator's tables).
	groupedLaunch = 5.0
	// groupedRelErr is the 90 % quantile of the errors on B200, where grouped
	// GEMMs were measured themselves.
	groupedRelErr = 0.3
	// nvfp4OverFP8 is the ratio of the rates that dense GEMMs tend to on GB200
	// (4119 and 3384 TFLOP/s, least squares on aiconfigurator's tables).
	nvfp4OverFP8 = 4119.0 / 3384
)

// denseTFLOPS are the rates that large dense GEMMs tend to, by architecture
// (least squares on aiconfigurator's tables: H100 844 and 1313, GB200 1710 and
// 3384 in bf16 and fp8 with block scales). Fused layers on GB200 are faster in
// bf16, 1890 TFLOP/s with everything; a grouped GEMM of training is assumed not to
// pass a dense one.
var denseTFLOPS = map[string]map[unit.DType]float64{
	"sm90":  {unit.BF16: 850, unit.FP8Block: 1313},
	"sm100": {unit.BF16: 1710, unit.FP8Block: 3384},
}

// groupedFromMoE derives grouped GEMMs from fused expert layers: their tile
// products, weights and cost for each expert without routing, permutation and
// activation. A format without a table takes those of the nearest one with it.
func groupedFromMoE(g *hw.GPU, p *cost.Profile) {
	derive := func(to, from unit.DType, factor float64, rule string) {
		m := p.MoE[from]
		if old := p.Grouped[to]; m == nil || old != nil && old.Note == "" { // measured itself
			return
		}
		rate := m.Rate
		if dense, ok := denseTFLOPS[g.Arch][from]; ok && rate > dense {
			rate = dense
			rule += ", no faster than a large dense GEMM"
		}
		rate *= factor
		if p.Grouped == nil {
			p.Grouped = map[unit.DType]*cost.GroupedModel{}
		}
		p.Grouped[to] = &cost.GroupedModel{
			Launch: groupedLaunch, Group: m.Expert, Fill: m.Fill,
			Layouts: map[cost.Layout]cost.GroupedFit{
				cost.Fwd:   {Rate: round4(rate), Traffic: m.Weights},
				cost.Dgrad: {Rate: round4(rate * dgradRateShare), Traffic: round4(m.Weights * dgradTraffic)},
				cost.Wgrad: {Rate: round4(rate * wgradRateShare), Traffic: round4(m.Weights * wgradTraffic)},
			},
			Errors: cost.ErrorBand{RelErr: []float64{groupedRelErr}},
			Note:   rule + "; gradients at the share of the forward rate that SimuMax measured on B200",
		}
	}
	derive(unit.BF16, unit.BF16, 1, "tile products of the fused expert layer in bf16")
	derive(unit.FP8Block, unit.FP8Block, 1, "tile products of the fused expert layer in fp8_block")
	derive(unit.FP8, unit.FP8Block, 1, "tile products of the fused expert layer in fp8_block")
	if g.PeakTFLOPS[unit.NVFP4] > 0 { // formats of Blackwell's tensor cores
		derive(unit.MXFP8, unit.FP8Block, 1, "tile products of the fused expert layer in fp8_block")
		derive(unit.NVFP4, unit.FP8Block, nvfp4OverFP8, "tile products of the fused expert layer in fp8_block, 1.22 times as fast as in dense GEMMs")
	}
}

// fewestGroupedRows that make a fit.
const fewestGroupedRows = 50

// fitGrouped fits grouped GEMMs that were measured themselves.
func fitGrouped(samples []Sample, g *hw.GPU, p *cost.Profile) error {
	byDType := map[unit.DType][]Sample{}
	for _, s := range samples {
		k, ok := s.Kernel.(cost.GroupedGEMM)
		if !ok {
			return fmt.Errorf("fit grouped_gemm: %s is no grouped GEMM", s.Kernel)
		}
		byDType[k.DType] = append(byDType[k.DType], s)
	}
	for _, d := range []unit.DType{unit.BF16, unit.FP8, unit.FP8Block, unit.MXFP8, unit.NVFP4} {
		if len(byDType[d]) < fewestGroupedRows {
			continue
		}
		m, err := fitGroupedModel(byDType[d], g)
		if err != nil {
			return fmt.Errorf("fit grouped_gemm in %s: %w", d, err)
		}
		if p.Grouped == nil {
			p.Grouped = map[unit.DType]*cost.GroupedModel{}
		}
		p.Grouped[d] = m
	}
	return nil
}

// fitGroupedModel fits one format.
func fitGroupedModel(samples []Sample, g *hw.GPU) (*cost.GroupedModel, error) {
	m, errors, err := fitValidated(samples, func(rows []Sample) (*cost.GroupedModel, error) { return fitGroupedRows(rows, g) },
		func(m *cost.GroupedModel, k cost.Kernel) (float64, error) {
			e, err := m.Price(k.(cost.GroupedGEMM), g)
			return e.Time.Micros(), err
		}, byShape("errors"))
	if err != nil {
		return nil, err
	}
	m.Errors = errors
	return m, nil
}

func fitGroupedRows(samples []Sample, g *hw.GPU) (*cost.GroupedModel, error) {
	terms := make([]cost.GroupedTerms, len(samples))
	layouts := make([]cost.Layout, len(samples))
	micros := make([]float64, len(samples))
	fitted := &cost.GroupedModel{}
	for i, s := range samples {
		k := s.Kernel.(cost.GroupedGEMM)
		terms[i], layouts[i], micros[i] = k.Terms(g), k.Layout, s.Micros
		for j, size := range [3]int64{k.Tokens / k.Groups, k.N, k.K} {
			if i == 0 || size < fitted.Least[j] {
				fitted.Least[j] = size
			}
			fitted.Most[j] = max(fitted.Most[j], size)
		}
	}
	set := func(m *cost.GroupedModel, p []float64) *cost.GroupedModel {
		m.Launch, m.Group, m.Fill = p[0], p[1], p[2]
		m.Layouts = map[cost.Layout]cost.GroupedFit{
			cost.Fwd: {Rate: p[3], Traffic: p[6]}, cost.Dgrad: {Rate: p[4], Traffic: p[7]}, cost.Wgrad: {Rate: p[5], Traffic: p[8]},
		}
		return m
	}
	peak := g.PeakTFLOPS[unit.BF16]
	scratch := &cost.GroupedModel{}
	p, _, err := fitPositive([]float64{5, 1, 200, 0.6 * peak, 0.6 * peak, 0.6 * peak, 1.2, 1.2, 1.2}, micros, func(i int, p []float64) float64 {
		return set(scratch, p).Micros(terms[i], layouts[i])
	})
	if err != nil {
		return nil, err
	}
	for i := range p {
		p[i] = round4(p[i])
	}
	return set(fitted, p), nil
}
