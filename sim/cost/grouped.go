package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// GroupedModel prices grouped GEMMs in one format:
//
//	us = Launch + Group*groups + ((FLOPs of whole tiles/Rate)^4 + (Traffic*bytes/HBM)^4)^(1/4)
//
// with the Rate and Traffic of the layout. A tile of 128 rows runs over K + Fill
// channels; for a weight gradient the rows of a group are the channels.
type GroupedModel struct {
	Launch  float64               `json:"launch_us"`
	Group   float64               `json:"group_us"`
	Fill    float64               `json:"fill_channels"`
	Layouts map[Layout]GroupedFit `json:"layouts"`
	Errors  ErrorBand             `json:"errors"`
	// Note is the rule the model was derived by; empty if grouped GEMMs of this
	// GPU and format were measured themselves.
	Note string `json:"note,omitempty"`
	// Tokens per group, N and K of the smallest and the largest measured shape.
	Least [3]int64 `json:"least"`
	Most  [3]int64 `json:"most"`
}

// GroupedFit is what depends on the layout.
type GroupedFit struct {
	Rate    float64 `json:"rate_tflops"`
	Traffic float64 `json:"traffic"`
}

// valid reports what is wrong with the shape.
func (g GroupedGEMM) valid() error {
	switch {
	case g.Groups < 1 || g.Tokens < 1 || g.N < 1 || g.K < 1:
		return fmt.Errorf("grouped gemm: sizes must be positive: %s", g)
	case !g.DType.Valid():
		return fmt.Errorf("grouped gemm: unknown dtype %q", g.DType)
	case g.Tiles != 0 && (g.MaxOverMean != 0 || g.Tiles < (g.Tokens+expertTile-1)/expertTile || g.Tiles > g.Tokens/expertTile+g.Groups+1):
		return fmt.Errorf("grouped gemm: %d groups with %d rows do not fill %d tiles", g.Groups, g.Tokens, g.Tiles)
	case g.MaxOverMean != 0 && !(g.MaxOverMean >= 1) || g.MaxOverMean > float64(g.Groups):
		return fmt.Errorf("grouped gemm: the largest of %d groups cannot be %g times the mean", g.Groups, g.MaxOverMean)
	}
	return nil
}

// GroupedTerms are the quantities that GroupedModel weighs.
type GroupedTerms struct {
	Groups    float64
	TileTFLOP float64 // of whole tiles, 1e12
	FillTFLOP float64 // likewise, for each channel that filling costs
	Micros    float64 // least traffic at peak HBM bandwidth
}

// Terms returns what the model weighs. Without Tiles, with MaxOverMean the largest group has
// that many times the mean of rows and the others share the rest evenly.
func (g GroupedGEMM) Terms(gpu *hw.GPU) GroupedTerms {
	groups, tokens := float64(g.Groups), float64(g.Tokens)
	largest := tokens / groups * max(g.MaxOverMean, 1)
	other := (tokens - largest) / max(groups-1, 1)
	n, k := float64(g.N), float64(g.K)
	t := GroupedTerms{Groups: groups, Micros: g.HBMBytes() / (gpu.HBMGBps * 1e3)}
	if g.Layout == Wgrad { // N x K outputs, each group's rows are summed over
		outputs := math.Ceil(n/expertTile) * expertTile * k
		t.TileTFLOP = 2 * outputs * tokens / 1e12
		t.FillTFLOP = 2 * outputs * groups / 1e12
		return t
	}
	tiles := math.Ceil(largest/expertTile) + (groups-1)*math.Ceil(other/expertTile)
	if g.Tiles > 0 {
		tiles = float64(g.Tiles)
	}
	t.TileTFLOP = 2 * tiles * expertTile * n * k / 1e12
	t.FillTFLOP = 2 * tiles * expertTile * n / 1e12
	return t
}

// Micros weighs the terms of a kernel of a layout.
func (m *GroupedModel) Micros(t GroupedTerms, l Layout) float64 {
	f := m.Layouts[l]
	return m.Launch + m.Group*t.Groups + norm4((t.TileTFLOP+m.Fill*t.FillTFLOP)/f.Rate*1e6, f.Traffic*t.Micros)
}

// Price returns the time of one grouped GEMM. It is an error if the shape makes
// no sense.
func (m *GroupedModel) Price(k GroupedGEMM, g *hw.GPU) (Estimate, error) {
	if err := k.valid(); err != nil {
		return Estimate{}, err
	}
	layout := k.Layout
	if layout == "" {
		layout = Fwd
	}
	if f, ok := m.Layouts[layout]; !ok || !(f.Rate > 0) {
		return Estimate{}, fmt.Errorf("grouped gemm: no rate for layout %q", k.Layout)
	}
	us := m.Micros(k.Terms(g), layout)
	est := Estimate{Time: unit.Micros(us), RelErr: m.Errors.At(us), Source: Interpolated}
	if m.Note != "" {
		est.Source, est.Note = Derived, m.Note
	}
	beyond := 0.0
	for i, size := range [3]int64{max(k.Tokens/k.Groups, 1), k.N, k.K} {
		if m.Least[i] > 0 {
			beyond = max(beyond, math.Log2(float64(m.Least[i])/float64(size)), math.Log2(float64(size)/float64(m.Most[i])))
		}
	}
	if beyond > 0.05 {
		est.RelErr += 0.02 + 0.03*beyond
		if m.Note == "" {
			est.Source = Roofline
			est.Note = fmt.Sprintf("a size is beyond the measured ones by a factor %.3g: physical model", math.Exp2(beyond))
		}
	}
	return est, nil
}
