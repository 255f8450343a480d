package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// GEMMModel prices dense GEMMs of one format:
//
//	us = Launch + ((waves of tiles)^4 + (Traffic*bytes/HBM)^4)^(1/4),
//
// times the exponential of the surface over log2 of m, n and k. The wave term is
// the best of a set of tiles and splits of K: a tile of tm x tn costs
// 2*tm*tn*(K + Fill) FLOPs at Rate over all SMs, and small tiles, which read more
// for each FLOP, are slower by 1 + Small*(32768/(tm*tn) - 1).
//
// Where OverBase is set there is no physical model: the surface, over log2 of m,
// n, k and the microseconds, corrects the price that the base profile derives.
type GEMMModel struct {
	OverBase bool    `json:"over_base,omitempty"`
	Launch   float64 `json:"launch_us"`
	Rate     float64 `json:"rate_tflops,omitempty"`
	Fill     float64 `json:"fill_k,omitempty"`
	Small    float64 `json:"small_tile,omitempty"`
	Split    float64 `json:"split_us,omitempty"` // of each doubling of the split of K
	Traffic  float64 `json:"traffic,omitempty"`
	// Layouts are the fits of the gradients' products, where they were measured.
	Layouts map[Layout]LayoutFit `json:"layouts,omitempty"`
	Surface Surface              `json:"surface"`
	// Fastest is the logarithm of the fastest collection's time over the median's.
	Fastest Surface   `json:"fastest,omitempty"`
	Errors  ErrorBand `json:"errors"`
}

// LayoutFit is the time of a gradient's product over that of the forward product
// of the same sizes: Factor times what is above the launch, plus Traffic times
// the bytes that an fp32 result, read and written, adds to a bf16 one.
type LayoutFit struct {
	Factor  float64 `json:"factor"`
	Traffic float64 `json:"traffic"`
}

// layoutRule is LayoutFit as measured on B200 (SimuMax, Megatron-LM's linear
// layers: 144 shapes in each layout), for GPUs whose tables hold forward
// products only. On A100 PCIe (SimuMax too) the middle efficiencies are 0.738 TN,
// 0.739 NN, 0.704 NT, which agrees.
var layoutRule = map[Layout]LayoutFit{
	Dgrad: {Factor: 1.012},
	Wgrad: {Factor: 1.013, Traffic: 0.81},
}

// ShortestLog2 and LongestLog2 bound the axis of microseconds of a correction
// over a base, in log2.
const (
	ShortestLog2 = 4
	LongestLog2  = 12
)

// layoutRuleErr is what the rule is assumed to miss.
const layoutRuleErr = 0.06

// gemmTiles are the output tiles that cuBLAS and CUTLASS choose from on Hopper
// and Blackwell (an SM's share of a pair, where two SMs work on one).
var gemmTiles = [][2]float64{{128, 256}, {256, 128}, {128, 128}, {64, 256}, {64, 128}, {64, 64}}

func (g GEMM) valid() error {
	if least, most := min(g.M, g.N, g.K), max(g.M, g.N, g.K); least < 1 || most > maxSize || g.Batch < 0 {
		return fmt.Errorf("gemm: sizes must be 1 or more and at most 2^60: %s", g)
	}
	switch g.Layout {
	case "", Fwd, Dgrad, Wgrad:
		return nil
	}
	return fmt.Errorf("gemm: unknown layout %q; known are %s, %s, %s", g.Layout, Fwd, Dgrad, Wgrad)
}

// Coords places the shape in the space of the surface: its sizes in log2, and
// the share of the last tile of 128 and of 256 rows that is empty.
func (g GEMM) Coords() Coords {
	empty := func(tile int64) float64 { return float64((tile-g.M%tile)%tile) / float64(tile) }
	return Coords{
		"m": math.Log2(float64(g.M)), "n": math.Log2(float64(g.N)), "k": math.Log2(float64(g.K)),
		"empty128": empty(128), "empty256": empty(256),
	}
}

// Micros is the physical model of the forward product.
func (m *GEMMModel) Micros(k GEMM, g *hw.GPU) float64 {
	fwd := k
	fwd.Layout = Fwd
	memory := m.Traffic * fwd.HBMBytes() / (g.HBMGBps * 1e3)
	return m.Launch + norm4(m.waves(k, float64(g.SMs)), memory)
}

// waves is the time of the best tiling in microseconds.
func (m *GEMMModel) waves(g GEMM, sms float64) float64 {
	best := math.Inf(1)
	batch := float64(max(g.Batch, 1))
	for _, tile := range gemmTiles {
		area := tile[0] * tile[1]
		one := math.Ceil(float64(g.M)/tile[0]) * math.Ceil(float64(g.N)/tile[1]) // tiles of one product
		perK := 2 * area * sms / (m.Rate * 1e6) * (1 + m.Small*(32768/area-1))   // us a wave and K
		for split, doublings := 1.0, 0.0; split <= 16; split, doublings = split*2, doublings+1 {
			t := math.Ceil(one*batch*split/sms)*perK*(float64(g.K)/split+m.Fill) + m.Split*doublings
			best = min(best, t)
			if one*split >= sms { // a batch may be cut as its products would be
				break
			}
		}
	}
	return best
}

// Price returns the time of one GEMM. Beyond the measured sizes the correction
// stays what it is at the edge and the physical model goes on. A model over a
// base needs the base's price: Profile.Price has it.
func (m *GEMMModel) Price(k GEMM, g *hw.GPU) (Estimate, error) {
	if err := k.valid(); err != nil {
		return Estimate{}, err
	}
	if m.OverBase {
		return Estimate{}, fmt.Errorf("gemm: this fit corrects a base profile's price, and there is none")
	}
	return m.finish(k, g, Estimate{}, m.Micros(k, g))
}

// finish corrects a first price of the forward product and turns it into that of
// the layout. from tells what the first price carries of doubt and rules.
func (m *GEMMModel) finish(k GEMM, g *hw.GPU, from Estimate, first float64) (Estimate, error) {
	c := k.Coords()
	c["us"] = max(ShortestLog2, min(LongestLog2, math.Log2(first))) // longer is not elsewhere
	us := first * math.Exp(m.Surface.At(c))
	if k.Fastest {
		us *= math.Exp(min(m.Fastest.At(c), 0))
	}
	est := Estimate{RelErr: m.Errors.At(us), Source: Interpolated}
	if feature, by := m.Surface.Beyond(c); by > 0 {
		est.Source = Roofline
		est.RelErr += 0.03 + 0.04*by
		est.Note = fmt.Sprintf("beyond the measured %s by a factor %.3g: physical model with the correction at the edge", feature, math.Exp2(by))
		if m.OverBase {
			est.RelErr = math.Hypot(est.RelErr, from.RelErr)
			est.Note = fmt.Sprintf("beyond the measured %s by a factor %.3g: %s, with the correction at the edge", feature, math.Exp2(by), from.Note)
		}
	}
	if k.Layout != "" && k.Layout != Fwd {
		f, fitted := m.Layouts[k.Layout]
		if !fitted {
			f = layoutRule[k.Layout]
			est.widen(layoutRuleErr, fmt.Sprintf("%s from the forward product by the ratio measured on B200", k.Layout))
		}
		least := min(us, k.HBMBytes()/(g.HBMGBps*1e3)) // a ratio of products that compute does not make memory faster
		us = max(least, m.Launch+max(us-m.Launch, 0)*f.Factor+f.Traffic*accumulateBytes(k)/(g.HBMGBps*1e3))
	}
	if k.Batch > 1 {
		est.widen(0.1, "batched: the tiles of all products in one launch")
	}
	est.Time = unit.Micros(us)
	return est, nil
}

// accumulateBytes is what reading and writing an fp32 result moves beyond
// writing one in bf16.
func accumulateBytes(k GEMM) float64 {
	if k.Layout != Wgrad {
		return 0
	}
	return 6 * float64(k.M) * float64(k.N) * float64(max(k.Batch, 1))
}

// widen marks an estimate as derived by a rule with an error of its own.
func (e *Estimate) widen(relErr float64, note string) {
	e.RelErr = math.Hypot(e.RelErr, relErr)
	if e.Source != Roofline {
		e.Source = Derived
	}
	if e.Note != "" {
		note = e.Note + "; " + note
	}
	e.Note = note
}

// priceGEMM chooses the model of a format, or derives the format from another's.
func (p *Profile) priceGEMM(k GEMM) (Estimate, error) {
	m := p.GEMM[tensorCoreFormat(k.DType)]
	switch {
	case m == nil:
		return p.otherFormat(k)
	case !m.OverBase:
		return m.likeBase(p, tensorCoreFormat(k.DType)).Price(k, p.hw)
	case p.base == nil:
		return m.Price(k, p.hw) // says that there is no base
	}
	first := k
	first.Layout = Fwd
	base, err := p.derived(first)
	if err != nil {
		return Estimate{}, err
	}
	return m.finish(k, p.hw, base, base.Time.Micros())
}

// likeBase is the model of a 16-bit format with what this project measured on another
// GPU of the generation: the gradients' products over the forward ones. In 8 bits
// they are of cuBLASLt, and the model is of other libraries.
func (m *GEMMModel) likeBase(p *Profile, d unit.DType) *GEMMModel {
	if len(m.Layouts) > 0 || d.Bytes() < 2 || p.base == nil || p.base.hw.Arch != p.hw.Arch {
		return m
	}
	b := p.base.GEMM[d]
	if b == nil || b.OverBase || len(b.Layouts) == 0 {
		return m
	}
	like := *m
	like.Layouts = b.Layouts
	return &like
}

// formatRule derives a format without a fit from one with a fit.
type formatRule struct {
	from   unit.DType
	relErr float64
	note   string
}

var formatRules = map[unit.DType]formatRule{
	// Blackwell's tensor cores apply the scales of 32 elements themselves, at the
	// rate of tensor-scaled fp8 (PTX ISA, tcgen05.mma.block_scale).
	unit.MXFP8:    {unit.FP8, 0.1, "mxfp8 at the rate of fp8 with one scale a tensor: the tensor cores apply block scales"},
	unit.FP8Block: {unit.FP8, 0.25, "fp8 in blocks as fp8 with one scale a tensor"},
	unit.TF32:     {unit.BF16, 0.15, "tf32 from bf16 by the ratio of peaks"},
	unit.FP32:     {unit.BF16, 0.3, "fp32 on the vector units, from bf16 by the ratio of peaks"},
}

// otherFormat derives a GEMM from a fit of another format on the same GPU, by the
// ratio of the rooflines.
func (p *Profile) otherFormat(k GEMM) (Estimate, error) {
	missing := &MissingError{Profile: p.Name, Kernel: k, Why: "it has no GEMM in this format"}
	r, ok := formatRules[k.DType]
	m := p.GEMM[r.from]
	if !ok || m == nil {
		return Estimate{}, missing
	}
	if _, ok := peak(p.hw, k.DType); !ok {
		missing.Why = fmt.Sprintf("%s has no tensor cores for it", p.hw.Name)
		return Estimate{}, missing
	}
	like := k
	like.DType = r.from
	e, err := p.priceGEMM(like)
	if err != nil {
		return Estimate{}, err
	}
	was, err := RooflineOf(like, p.hw)
	if err != nil {
		return Estimate{}, err
	}
	is, err := RooflineOf(k, p.hw)
	if err != nil {
		return Estimate{}, err
	}
	floor := min(m.Launch, e.Time.Micros())
	e.Time = unit.Micros(floor + (e.Time.Micros()-floor)*is.Time.Seconds()/was.Time.Seconds())
	e.widen(r.relErr, r.note)
	return e, nil
}
