package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// ExchangeModel prices the dispatch and combine of tokens among expert-parallel
// ranks by kernels made for it.
type ExchangeModel struct {
	// NVLinkGBps is the NVLink rate of the GPU that was measured, per direction.
	NVLinkGBps float64        `json:"nvlink_gbps"`
	Paths      []ExchangePath `json:"paths"`
}

// ExchangePath is the fit of one operation of one library in one placement.
//
// The time is a monotone function of a load, in microseconds that the transfer
// would take in the steady state:
//
//	load = traffic / (1 GB/s) x exp(Rate(hidden, copies, SMs))
//	time = exp(Time(hidden, load))
//
// where traffic are the bytes that leave one rank (Traffic). The surface Rate
// takes up how per-token work, copies and SMs bound the kernel; Time the latency.
type ExchangePath struct {
	Backend   string     `json:"backend"`
	Op        string     `json:"op"`
	DType     unit.DType `json:"dtype,omitempty"` // "" where only bytes matter
	Ranks     int64      `json:"ranks"`
	PerDomain int64      `json:"per_domain"`
	NICGBps   float64    `json:"nic_gbps,omitempty"`
	SMs       int64      `json:"default_sms,omitempty"` // where the caller gives none

	Rate   Surface   `json:"rate"`
	Time   Lattice   `json:"time"`
	Errors ErrorBand `json:"errors"`
}

// Features of the surfaces: base-2 logarithms of elements a token, of the copies
// that a token is sent in, of SMs, and of the load in microseconds.
const (
	FeatHidden = "hidden"
	FeatCopies = "copies"
	FeatSMs    = "sms"
	FeatLoad   = "load"
)

// expertsHit is the expected number of units (ranks or domains), each holding an
// equal share of the experts, that the topK experts of a token lie on, under
// uniform routing (hypergeometric; net.NodesHit for a share that is not whole).
func expertsHit(units, experts, topK int64) float64 {
	share := float64(experts) / float64(units)
	miss := 1.0
	for i := range topK {
		miss *= max(float64(experts-i)-share, 0) / float64(experts-i)
	}
	return float64(units) * (1 - miss)
}

// Copies is the expected number of messages a token is sent in. Inside one domain
// the kernels copy a token once to each rank that has an expert for it, the own
// rank included; over several domains once to each other domain, whose ranks
// forward it over NVLink. Low-latency kernels send one copy an expert; prepare
// exchanges counts, one a token.
func (e ExpertExchange) Copies() float64 {
	switch {
	case e.Op == "prepare":
		return 1
	case e.Backend == "deepep_ll":
		return float64(e.TopK)
	case e.Group.Domains() > 1:
		d, within, experts := e.Group.Domains(), e.Group.Domains(), e.Experts
		if e.Within > 0 && e.Within < d { // the best domains first, then their best experts
			within, experts = e.Within, e.Experts*e.Within/d
		}
		return expertsHit(within, experts, e.TopK) * float64(d-1) / float64(d)
	}
	return expertsHit(e.Group.Ranks, e.Experts, e.TopK)
}

// Traffic is the expected number of bytes of all copies of a rank's tokens, of the
// busiest rank where loads differ: a rank sends and receives at once, so that the
// larger of both counts (UltraEP, arXiv:2606.04101, section 4.2).
func (e ExpertExchange) Traffic() float64 {
	if e.Busiest > 0 {
		b := e.Busiest
		e.Busiest = 0
		return b * e.Traffic()
	}
	if e.Op == "prepare" {
		return 4 * float64(e.Tokens*e.TopK) // expert indices
	}
	return float64(e.Tokens) * e.Copies() * float64(e.Hidden) * e.DType.Bytes()
}

// Coords places e on the surface Rate; sms is the default of the path.
func (e ExpertExchange) Coords(sms int64) Coords {
	if e.SMs > 0 {
		sms = e.SMs
	}
	return Coords{
		FeatHidden: math.Log2(float64(e.Hidden)),
		FeatCopies: math.Log2(max(e.Copies(), 1e-3)),
		FeatSMs:    math.Log2(float64(max(sms, 1))),
	}
}

// Micros evaluates the path at a load that is scale times what it was measured
// with, in microseconds.
func (p *ExchangePath) Micros(e ExpertExchange, scale float64) float64 {
	c := e.Coords(p.SMs)
	load := scale * e.Traffic() / 1e3 * math.Exp(p.Rate.At(c))
	axis := p.Time.Axes[len(p.Time.Axes)-1].Knots
	least, most := math.Exp2(axis[0]), math.Exp2(axis[len(axis)-1])
	c[FeatLoad] = math.Log2(min(max(load, least), most))
	us := 0.0
	p.Time.Corners(c, func(i int, w float64) { us += w * p.Time.Values[i] })
	return math.Exp(us) * max(1, load/most) // past the last knot at its rate
}

// Price returns the time of an exchange on g. It fails on a malformed exchange
// and on a library of which neither measurement nor figure is known.
func (m *ExchangeModel) Price(e ExpertExchange, g *hw.GPU) (Estimate, error) {
	if err := e.check(); err != nil {
		return Estimate{}, err
	}
	if e.Group.Ranks == 1 || e.Tokens == 0 {
		return Estimate{Source: Derived, Note: "nothing to move"}, nil
	}
	paths := m.pathsOf(e)
	if len(paths) == 0 {
		p, err := publishedExchange(e, g)
		if err != nil {
			return Estimate{}, fmt.Errorf("price of %s: %w", e, err)
		}
		return p.estimate(), nil
	}
	return m.alongPaths(e, paths, g).estimate(), nil
}

func (e ExpertExchange) check() error {
	if err := e.Group.check(); err != nil {
		return fmt.Errorf("%s: %w", e, err)
	}
	switch {
	case e.Within < 0 || e.Within > 0 && e.Experts*min(e.Within, e.Group.Domains())/e.Group.Domains() < e.TopK:
		return fmt.Errorf("%s: within: want 0, or domains that hold at least top-k experts", e)
	case e.Tokens < 0 || e.Hidden < 1 || e.TopK < 1 || e.Experts < e.TopK || e.SMs < 0:
		return fmt.Errorf("%s: want tokens >= 0, hidden and top-k >= 1, experts >= top-k and SMs >= 0", e)
	case !(e.Busiest >= 0) || math.IsInf(e.Busiest, 0):
		return fmt.Errorf("%s: busiest: want the busiest rank over a balanced one, or 0", e)
	case !e.DType.Valid():
		return fmt.Errorf("%s: unknown format %q", e, e.DType)
	case e.Group.Domains() > 1 && !(e.NICGBps > 0 && !math.IsInf(e.NICGBps, 0)):
		return fmt.Errorf("%s: a group of %d domains needs the rate of a NIC", e, e.Group.Domains())
	}
	return nil
}

// pathsOf returns the paths of e's library and operation over as many domains
// (one, or several), ascending in ranks; of one format if any was measured in it.
func (m *ExchangeModel) pathsOf(e ExpertExchange) []*ExchangePath {
	var exact, other []*ExchangePath
	for i := range m.Paths {
		p := &m.Paths[i]
		if p.Backend != e.Backend || p.Op != e.Op || (p.Ranks > p.PerDomain) != (e.Group.Domains() > 1) {
			continue
		}
		if p.DType == e.DType || p.DType == "" {
			exact = append(exact, p)
		} else if len(other) == 0 || other[0].DType == p.DType {
			other = append(other, p)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return other
}

// alongPaths interpolates log time over the logarithm of the ranks; outside the
// ranks that were measured the nearest path serves, with e's own traffic.
func (m *ExchangeModel) alongPaths(e ExpertExchange, paths []*ExchangePath, g *hw.GPU) price {
	n := e.Group.Ranks
	for i, p := range paths {
		switch {
		case p.Ranks == n, i == 0 && p.Ranks > n, i == len(paths)-1:
			return m.along(e, p, g)
		case p.Ranks > n:
			lo, hi := m.along(e, paths[i-1], g), m.along(e, p, g)
			w := math.Log(float64(n)/float64(paths[i-1].Ranks)) / math.Log(float64(p.Ranks)/float64(paths[i-1].Ranks))
			return price{
				us:     math.Exp((1-w)*math.Log(lo.us) + w*math.Log(hi.us)),
				relErr: max(lo.relErr, hi.relErr) + 0.05, source: Derived,
				note: fmt.Sprintf("between %d and %d ranks", paths[i-1].Ranks, p.Ranks),
			}
		}
	}
	return price{}
}

func (m *ExchangeModel) along(e ExpertExchange, p *ExchangePath, g *hw.GPU) price {
	scale, note := 1.0, ""
	switch {
	case p.Ranks > p.PerDomain && e.NICGBps != p.NICGBps:
		scale = p.NICGBps / e.NICGBps
		note = fmt.Sprintf("measured with NICs of %g GB/s", p.NICGBps)
	case p.Ranks == p.PerDomain && g != nil && g.NVLinkGBps > 0 && g.NVLinkGBps != m.NVLinkGBps:
		scale = m.NVLinkGBps / g.NVLinkGBps
		note = fmt.Sprintf("measured with NVLink of %g GB/s", m.NVLinkGBps)
	case p.Ranks != e.Group.Ranks || p.PerDomain != e.Group.PerDomain:
		note = fmt.Sprintf("measured among %d ranks, %d in a domain; scaled by the bytes a rank sends", p.Ranks, p.PerDomain)
	case p.DType != "" && p.DType != e.DType:
		note = fmt.Sprintf("measured in %s; scaled by the bytes", p.DType)
	}
	us := p.Micros(e, scale)
	out := price{us: us, relErr: p.Errors.At(us), source: Interpolated}
	if note != "" {
		out.source, out.relErr, out.note = Derived, out.relErr+0.15, note
	} else if what, by := p.Rate.Beyond(e.Coords(p.SMs)); by > 0 {
		out.source, out.relErr = Derived, out.relErr+0.05*by
		out.note = fmt.Sprintf("%s beyond what was measured; scaled by the bytes", what)
	}
	return out
}
