package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// CollectiveModel prices NCCL's collectives and sends. Inside an NVLink domain
// it follows measured curves; between domains it follows NCCL's own model of its
// algorithms (package net) at the bandwidths that were measured.
type CollectiveModel struct {
	// NVLinkGBps is the NVLink rate of the GPU that was measured, per direction.
	// Another GPU's messages count as larger by the ratio of the rates.
	NVLinkGBps float64           `json:"nvlink_gbps"`
	Curves     []CollectiveCurve `json:"curves"` // of equal pattern: ascending ranks
	Errors     ErrorBand         `json:"errors"`
	Send       *SendCurve        `json:"send,omitempty"`
	NetSend    *SendCurve        `json:"net_send,omitempty"`
}

// CollectiveCurve is one collective among Ranks GPUs of one NVLink domain.
type CollectiveCurve struct {
	Kind    CollectiveKind `json:"kind"`
	Custom  string         `json:"custom,omitempty"`
	Integer bool           `json:"integer,omitempty"`
	Ranks   int64          `json:"ranks"`
	Curve   Curve          `json:"curve"`
}

// nvlinkScale is by how much larger messages count on g than on the GPU measured.
func (m *CollectiveModel) nvlinkScale(g *hw.GPU) float64 {
	if g == nil || !(g.NVLinkGBps > 0) || !(m.NVLinkGBps > 0) {
		return 1
	}
	return m.NVLinkGBps / g.NVLinkGBps
}

// price is an unrounded Estimate.
type price struct {
	us     float64
	relErr float64
	source Source
	note   string
}

func (p price) estimate() Estimate {
	return Estimate{Time: unit.Micros(p.us), RelErr: p.relErr, Source: p.source, Note: p.note}
}

// Price returns the time of a collective on g. A group of one rank takes no
// time. It fails on a malformed group, on a pattern that was not measured, and
// on a group of several domains without the rate of the NIC.
func (m *CollectiveModel) Price(c Collective, g *hw.GPU) (Estimate, error) {
	if err := c.check(); err != nil {
		return Estimate{}, err
	}
	if c.Group.Ranks == 1 || c.Bytes == 0 {
		return Estimate{Source: Derived, Note: "nothing to move"}, nil
	}
	var p price
	var err error
	if c.Group.Domains() == 1 {
		p, err = m.inDomain(c, g)
	} else {
		p, err = m.acrossDomains(c, g)
	}
	if err != nil {
		return Estimate{}, fmt.Errorf("price of %s: %w", c, err)
	}
	return p.estimate(), nil
}

func (c Collective) check() error {
	if err := c.Group.check(); err != nil {
		return fmt.Errorf("%s: %w", c, err)
	}
	switch {
	case c.Bytes < 0:
		return fmt.Errorf("%s: negative size", c)
	case c.Group.Domains() > 1 && !(c.NICGBps > 0 && !math.IsInf(c.NICGBps, 0)):
		return fmt.Errorf("%s: a group of %d domains needs the rate of a NIC", c, c.Group.Domains())
	case c.SMs < 0:
		return fmt.Errorf("%s: negative number of SMs", c)
	}
	return nil
}

func (g Group) check() error {
	if g.Ranks < 1 || g.PerDomain < 1 || g.PerDomain > g.Ranks {
		return fmt.Errorf("group of %d ranks with %d in a domain: want 1 <= per domain <= ranks", g.Ranks, g.PerDomain)
	}
	return nil
}

// inDomain prices a collective whose ranks share an NVLink domain.
func (m *CollectiveModel) inDomain(c Collective, g *hw.GPU) (price, error) {
	if c.Kind == Broadcast {
		return m.broadcast(c, g)
	}
	curves := m.curvesOf(c)
	if len(curves) == 0 {
		return price{}, fmt.Errorf("not measured")
	}
	bytes := float64(c.Bytes) * m.nvlinkScale(g)
	n := c.Group.Ranks
	last := &curves[len(curves)-1]
	var p price
	switch {
	case n > last.Ranks && c.Custom != "":
		return price{}, fmt.Errorf("kernel %s was measured among at most %d ranks", c.Custom, last.Ranks)
	case n > last.Ranks:
		p = m.wide(c, curves, bytes)
	case n < curves[0].Ranks:
		p = m.follow(&curves[0], bytes)
		p.source, p.relErr, p.note = Derived, 2*p.relErr+0.1, fmt.Sprintf("as among %d ranks, the fewest measured", curves[0].Ranks)
	default:
		p = m.between(curves, n, bytes)
	}
	if p.source == Interpolated && m.nvlinkScale(g) != 1 {
		p.source, p.relErr, p.note = Derived, 2*p.relErr+0.05, "NVLink part scaled by the ratio of NVLink rates"
	}
	return m.withFewerSMs(p, c, curves[0].Curve.latency(), g), nil
}

// curvesOf returns the curves of c's pattern, ascending in ranks.
func (m *CollectiveModel) curvesOf(c Collective) []CollectiveCurve {
	pick := func(integer bool) (found []CollectiveCurve) {
		for _, v := range m.Curves {
			if v.Kind == c.Kind && v.Custom == c.Custom && v.Integer == integer {
				found = append(found, v)
			}
		}
		return found
	}
	if found := pick(c.Integer); len(found) > 0 {
		return found
	}
	return pick(false)
}

func (m *CollectiveModel) follow(c *CollectiveCurve, bytes float64) price {
	us := c.Curve.Micros(bytes)
	return price{us: us, relErr: m.Errors.At(us), source: Interpolated}
}

// between interpolates log time over the logarithm of the ranks.
func (m *CollectiveModel) between(curves []CollectiveCurve, n int64, bytes float64) price {
	for i := range curves {
		if curves[i].Ranks == n {
			return m.follow(&curves[i], bytes)
		}
		if curves[i].Ranks < n {
			continue
		}
		lo, hi := m.follow(&curves[i-1], bytes), m.follow(&curves[i], bytes)
		w := math.Log(float64(n)/float64(curves[i-1].Ranks)) / math.Log(float64(curves[i].Ranks)/float64(curves[i-1].Ranks))
		return price{
			us:     math.Exp((1-w)*math.Log(lo.us) + w*math.Log(hi.us)),
			relErr: max(lo.relErr, hi.relErr) + 0.05, source: Derived,
			note: fmt.Sprintf("between %d and %d ranks", curves[i-1].Ranks, curves[i].Ranks),
		}
	}
	return price{} // not reached: the caller has n <= the last curve's ranks
}

// broadcast is priced as NCCL's pipelined ring: the latency of an all-gather and
// the buffer once at the ring's bandwidth. No table has it.
func (m *CollectiveModel) broadcast(c Collective, g *hw.GPU) (price, error) {
	gather := c
	gather.Kind, gather.Bytes = AllGather, 1
	p, err := m.inDomain(gather, g)
	if err != nil {
		return price{}, err
	}
	bus, err := m.ringBusGBps(AllGather, g)
	if err != nil {
		return price{}, err
	}
	p.us += float64(c.Bytes) / (bus * 1e3)
	p.source, p.relErr, p.note = Derived, 0.3, "latency of an all-gather, the buffer at the bandwidth of its ring"
	return p, nil
}

// withFewerSMs stretches what exceeds the latency when the kernel gets fewer SMs
// than its library takes by default: each channel of NCCL is one block that
// copies at its own rate (assumed proportional).
func (m *CollectiveModel) withFewerSMs(p price, c Collective, latency float64, g *hw.GPU) price {
	full := c.channels(g)
	if c.SMs == 0 || c.SMs >= full || p.us <= latency {
		return p
	}
	p.us = latency + (p.us-latency)*float64(full)/float64(c.SMs)
	p.source, p.relErr = Derived, p.relErr+0.2
	p.note = fmt.Sprintf("%d of %d SMs: time beyond the latency in inverse proportion (assumed)", c.SMs, full)
	return p
}
