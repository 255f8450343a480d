package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// MoEModel prices the fused expert layer of one rank in one format:
//
//	us = Launch + Expert*local experts + Route*tokens*topk
//	     + ((FLOPs of whole tiles/Rate)^4 + (Weights*bytes of hit weights/HBM)^4)^(1/4)
//	     + Activation*bytes of activations/HBM,
//
// times the exponential of the surface. The tile products of the two grouped
// GEMMs count K + Fill for K: filling and draining a tile costs as much as Fill
// more channels.
type MoEModel struct {
	Launch     float64   `json:"launch_us"`
	Expert     float64   `json:"expert_us"`
	Route      float64   `json:"route_us_per_1000"`
	Rate       float64   `json:"rate_tflops"`
	Fill       float64   `json:"fill_channels"`
	Weights    float64   `json:"weight_traffic"`
	Activation float64   `json:"activation_traffic"`
	Surface    Surface   `json:"surface"`
	Errors     ErrorBand `json:"errors"`
}

// Price returns the time of one expert layer. It is an error if the shape or the
// distribution makes no sense.
func (m *MoEModel) Price(k MoE, g *hw.GPU) (Estimate, error) {
	if !k.DType.Valid() {
		return Estimate{}, fmt.Errorf("moe: unknown dtype %q", k.DType)
	}
	t, c, err := k.Terms(g)
	if err != nil {
		return Estimate{}, err
	}
	us := m.Micros(t) * math.Exp(m.Surface.At(c))
	est := Estimate{Time: unit.Micros(us), RelErr: m.Errors.At(us), Source: Interpolated}
	if feature, by := m.Surface.Beyond(c); by > 0 {
		est.Source = Roofline
		est.RelErr += 0.03 + 0.04*by
		est.Note = fmt.Sprintf("beyond the measured %s by a factor %.3g: physical model with the correction at the edge", feature, math.Exp2(by))
	}
	return est, nil
}

// MoETerms are the quantities that MoEModel weighs.
type MoETerms struct {
	LocalExperts float64
	Routed       float64 // thousands of token-expert pairs on all ranks
	TileTFLOP    float64 // of whole tiles, 1e12
	FillTFLOP    float64 // likewise, for each channel that filling costs
	WeightMicros float64 // bytes of the hit experts' weights at peak bandwidth
	ActMicros    float64 // bytes that permuting, the GEMMs and unpermuting move
}

// Micros weighs the terms of a layer.
func (m *MoEModel) Micros(t MoETerms) float64 {
	compute := (t.TileTFLOP + m.Fill*t.FillTFLOP) / m.Rate * 1e6
	weights := m.Weights * t.WeightMicros
	return m.Launch + m.Expert*t.LocalExperts + m.Route*t.Routed + norm4(compute, weights) + m.Activation*t.ActMicros
}

// norm4 is a smooth maximum.
func norm4(x, y float64) float64 { return math.Sqrt(math.Hypot(x*x, y*y)) }

// Terms returns what MoEModel weighs and where the shape lies: "rows" of a local
// expert, local "experts", "inter" channels of one, "hidden", and "routed" pairs,
// in base-2 logarithms; "up" is 2 projections up with a gate, 1 without.
func (m MoE) Terms(g *hw.GPU) (MoETerms, Coords, error) {
	load, err := m.Load()
	if err != nil {
		return MoETerms{}, nil, err
	}
	h, i := float64(m.Hidden), float64(m.Inter/m.TP)
	local := float64(m.Experts / m.EP)
	perMicro := g.HBMGBps * 1e3
	tiles := 2 * load.Tiles * expertTile / 1e12
	up := m.projections() - 1 // of the first grouped GEMM, in units of inter
	t := MoETerms{
		LocalExperts: local,
		Routed:       float64(m.Tokens*m.TopK) / 1e3,
		TileTFLOP:    tiles * (up + 1) * h * i,
		FillTFLOP:    tiles * (h + up*i),
		WeightMicros: load.Hit * (up + 1) * h * i * m.DType.Bytes() / perMicro,
		ActMicros:    load.Rows * 2 * (4*h + (2*up+1)*i) / perMicro,
	}
	return t, Coords{
		"up":      up,
		"rows":    math.Log2(max(load.Rows/local, 0.25)),
		"experts": math.Log2(local),
		"inter":   math.Log2(i),
		"hidden":  math.Log2(h),
		"routed":  math.Log2(float64(m.Tokens * m.TopK)),
	}, nil
}
