package calibrate

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"orrery/kernels/sample"
	"orrery/sim/cost"
)

// Curve is a series of measured points of one kernel and format, and what a
// profile says of them.
type Curve struct {
	Family string `json:"family"`
	Kernel string `json:"kernel"`
	DType  string `json:"dtype,omitempty"`
	Same   string `json:"same,omitempty"` // sizes and options that all points share
	X      string `json:"x"`              // what X counts: "bytes", "FLOPs", or a key of the shapes
	Unit   string `json:"unit"`           // of Median: "us", "mhz", "watt"
	// Rate is the unit of rates: "GB/s" or "TFLOP/s"; "" where points have none.
	Rate   string  `json:"rate,omitempty"`
	Points []Point `json:"points"` // in the order of X
	// Line is the fit between the points, where X alone decides the price.
	Line []XY `json:"line,omitempty"`
}

// Point is one row, or one price where nothing was measured.
type Point struct {
	X        float64     `json:"x"`
	Shape    string      `json:"shape"`
	N        int         `json:"n,omitempty"`      // samples
	Median   float64     `json:"median,omitempty"` // 0: not measured
	Low      float64     `json:"low,omitempty"`
	High     float64     `json:"high,omitempty"`
	Fit      float64     `json:"fit,omitempty"`    // price in microseconds; 0 without
	RelErr   float64     `json:"relerr,omitempty"` // that the price states
	Source   cost.Source `json:"source,omitempty"`
	Residual float64     `json:"residual,omitempty"` // measured over price, minus 1
	work     float64     // bytes or FLOPs
}

// XY is a point of a line: a price in microseconds.
type XY struct {
	X float64 `json:"x"`
	Y float64 `json:"us"`
}

// RateOf turns a time of a point into the rate that its curve shows.
func (c *Curve) RateOf(p Point, micros float64) float64 {
	if micros <= 0 {
		return 0
	}
	return rate(c.Rate, p.work, micros)
}

// LineRate is the rate of a point of the line, of which X is the work.
func (c *Curve) LineRate(q XY) float64 { return rate(c.Rate, q.X, q.Y) }

func rate(unit string, work, micros float64) float64 {
	if unit == "TFLOP/s" {
		return work / micros / 1e6
	}
	return work / micros / 1e3
}

// Name is the curve's title.
func (c *Curve) Name() string {
	return strings.Join(slices.DeleteFunc([]string{c.Family, c.Kernel, c.DType, c.Same}, func(s string) bool { return s == "" }), " ")
}

// Curves groups the rows of a file by kernel and format, and prices them with a
// profile, which may be nil. family keeps one family; "" is all.
func Curves(f *sample.File, p *cost.Profile, family string) ([]Curve, error) {
	groups := map[string][]sample.Row{}
	var known []string
	for _, r := range f.Current() {
		if !slices.Contains(known, r.Family) {
			known = append(known, r.Family)
		}
		if family == "" || r.Family == family {
			key := strings.Join([]string{r.Family, r.Kernel, r.DType, r.Unit, optionsOf(r.Shape)}, "\x00")
			groups[key] = append(groups[key], r)
		}
	}
	if len(groups) == 0 {
		slices.Sort(known)
		if family == "" {
			return nil, fmt.Errorf("%s holds no rows", f.Name)
		}
		return nil, fmt.Errorf("%s holds no family %q; it holds %s", f.Name, family, strings.Join(known, ", "))
	}
	var out []Curve
	for _, key := range sortedKeys(groups) {
		out = append(out, curve(groups[key], p))
	}
	return out, nil
}

// optionKeys part curves: points of one curve agree in these.
var optionKeys = []string{"layout", "causal", "backward", "ranks", "per_domain", "nic_gbps", "head_dim", "v_dim", "window", "topk", "custom", "integer", "ctas", "sms", "blocks"}

func optionsOf(s sample.Shape) string {
	var out []string
	for _, key := range optionKeys {
		if v, ok := s.Get(key); ok {
			out = append(out, key+"="+v)
		}
	}
	return strings.Join(out, " ")
}

func curve(rows []sample.Row, p *cost.Profile) Curve {
	first := rows[0]
	c := Curve{Family: first.Family, Kernel: first.Kernel, DType: first.DType, Unit: first.Unit, Same: optionsOf(first.Shape)}
	kernels := make([]cost.Kernel, len(rows))
	priced := true
	for i, r := range rows {
		k, err := RowKernel(r)
		if err != nil || k == nil || r.Unit != "us" {
			priced = false
			continue
		}
		kernels[i] = k
	}
	x := varyingKey(rows)
	c.X = cmp.Or(x, "row")
	if priced {
		c.X, c.Rate = "bytes", "GB/s"
		if kernels[0].FLOPs() > 0 {
			c.X, c.Rate = "FLOPs", "TFLOP/s"
		}
	}
	for i, r := range rows {
		pt := Point{X: float64(i + 1), Shape: string(r.Shape), N: r.N, Median: r.Median, Low: r.Low, High: r.High}
		if v, ok := r.Shape.Get(x); ok {
			pt.X, _ = strconv.ParseFloat(v, 64) // varyingKey saw that it is a number
		}
		if priced {
			pt.work = workOf(kernels[i])
			pt.X = pt.work
			pt.price(kernels[i], p)
		}
		c.Points = append(c.Points, pt)
	}
	slices.SortStableFunc(c.Points, func(a, b Point) int { return cmp.Compare(a.X, b.X) })
	if priced {
		c.line(kernels[0], p)
	}
	return c
}

// workOf is what rates count: FLOPs, the message's bytes, or the bytes that a
// memory-bound kernel moves.
func workOf(k cost.Kernel) float64 {
	if f := k.FLOPs(); f > 0 {
		return f
	}
	switch k := k.(type) {
	case cost.Collective:
		return float64(k.Bytes)
	case cost.P2P:
		return float64(k.Bytes)
	}
	return k.HBMBytes()
}

// price adds a profile's price, where it has one.
func (pt *Point) price(k cost.Kernel, p *cost.Profile) {
	if p == nil {
		return
	}
	e, err := p.Price(k)
	if err != nil {
		return // a point without a price is shown as such
	}
	pt.Fit, pt.RelErr, pt.Source = e.Time.Micros(), e.RelErr, e.Source
	if pt.Fit > 0 && pt.Median > 0 {
		pt.Residual = pt.Median/pt.Fit - 1
	}
}

// line prices sizes between the points of kernels whose bytes alone decide.
func (c *Curve) line(k cost.Kernel, p *cost.Profile) {
	const steps = 80
	low, high := c.Points[0].X, c.Points[len(c.Points)-1].X
	if p == nil || !(low > 0) || !(high > low) {
		return
	}
	for i := range steps + 1 {
		x := math.Round(low * math.Pow(high/low, float64(i)/steps))
		var at cost.Kernel
		switch k := k.(type) {
		case cost.Memory:
			k.Read, k.Write = int64(x), 0
			at = k
		case cost.Collective:
			k.Bytes = int64(x)
			at = k
		case cost.P2P:
			k.Bytes = int64(x)
			at = k
		default:
			return
		}
		e, err := p.Price(at)
		if err != nil {
			c.Line = nil
			return
		}
		c.Line = append(c.Line, XY{x, e.Time.Micros()})
	}
}

// varyingKey is the first key of the shapes that is a number in all rows and not
// the same in all; "" without one.
func varyingKey(rows []sample.Row) string {
	for _, pair := range rows[0].Shape.Pairs() {
		key, first, _ := strings.Cut(pair, "=")
		varies, number := false, true
		for _, r := range rows {
			v, ok := r.Shape.Get(key)
			if _, err := strconv.ParseFloat(v, 64); !ok || err != nil {
				number = false
			}
			varies = varies || v != first
		}
		if varies && number {
			return key
		}
	}
	return ""
}

// ProfileCurves shows the prices of a profile over sizes, where nothing was
// measured to hold them against.
func ProfileCurves(p *cost.Profile, family string) ([]Curve, error) {
	var out []Curve
	var known []string
	for _, s := range sweeps() {
		f := string(s[0].Family())
		if !slices.Contains(known, f) {
			known = append(known, f)
		}
		if family != "" && f != family {
			continue
		}
		name, shape, _ := KernelText(s[0])
		_, dtype := splitDType(s[0], shape)
		c := Curve{Family: f, Kernel: name, DType: dtype, X: "bytes", Unit: "us", Rate: "GB/s", Same: optionsOf(shape)}
		if m, ok := s[0].(cost.Memory); ok {
			c.Kernel = m.Op
		}
		if s[0].FLOPs() > 0 {
			c.X, c.Rate = "FLOPs", "TFLOP/s"
		}
		for _, k := range s {
			_, shape, _ := KernelText(k)
			pt := Point{Shape: string(shape), work: workOf(k)}
			pt.X = pt.work
			if pt.price(k, p); pt.Fit > 0 {
				c.Points = append(c.Points, pt)
			}
		}
		if len(c.Points) > 0 {
			c.line(s[0], p)
			out = append(out, c)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no curve of family %q in profile %s; families are %s", family, p.Name, strings.Join(known, ", "))
	}
	return out, nil
}

// sweeps are kernels of one kind over sizes, as training runs them.
func sweeps() [][]cost.Kernel {
	var gemm, fp8, attention, backward []cost.Kernel
	for m := int64(256); m <= 16384; m *= 2 {
		gemm = append(gemm, cost.GEMM{M: m, N: m, K: m, DType: "bf16"})
		fp8 = append(fp8, cost.GEMM{M: m, N: m, K: m, DType: "fp8"})
	}
	for seq := int64(1024); seq <= 131072; seq *= 2 {
		a := cost.Attention{Batch: 1, SeqQ: seq, SeqKV: seq, Heads: 32, KVHeads: 8, HeadDim: 128, Causal: true, DType: "bf16"}
		attention = append(attention, a)
		a.Backward = true
		backward = append(backward, a)
	}
	out := [][]cost.Kernel{gemm, fp8, attention, backward}
	for _, op := range []string{"copy", "rmsnorm", "swiglu", "rope", "adam"} {
		var ks []cost.Kernel
		for b := int64(1 << 16); b <= 1<<30; b *= 4 {
			ks = append(ks, cost.Memory{Op: op, Read: b / 2, Write: b / 2})
		}
		out = append(out, ks)
	}
	for _, kind := range []cost.CollectiveKind{cost.AllReduce, cost.AllGather, cost.ReduceScatter, cost.AllToAll} {
		var ks []cost.Kernel
		for b := int64(1 << 12); b <= 1<<30; b *= 4 {
			ks = append(ks, cost.Collective{Kind: kind, Bytes: b, Group: cost.Group{Ranks: 8, PerDomain: 8}})
		}
		out = append(out, ks)
	}
	return out
}
