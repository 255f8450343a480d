package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
)

// SendCurve is a send and its receive over a link of GBps, per direction.
type SendCurve struct {
	GBps   float64   `json:"gbps"`
	Curve  Curve     `json:"curve"`
	Errors ErrorBand `json:"errors"`
}

// A send over a NIC, where none was measured. Measured by vidur on two DGX H100
// with 400 Gb/s NICs (data README 5.5): 19.1 us and 35.9 GB/s, 0.72 of the NIC.
// That is no slow network: NCCL's send and receive use few channels a peer, and
// issue NVIDIA/nccl 1272 has 18.3 of 25 GB/s (0.73) by default since 2.20 on eight
// nodes and 24.2 only with NCCL_NCHANNELS_PER_NET_PEER=4.
const (
	netSendUs    = 19.1
	netSendShare = 0.72
)

// PriceP2P returns the time of a send and its receive on g. Without a NIC it goes
// over NVLink.
func (m *CollectiveModel) PriceP2P(p P2P, g *hw.GPU) (Estimate, error) {
	if p.Bytes < 0 || !(p.NICGBps >= 0) || math.IsInf(p.NICGBps, 0) {
		return Estimate{}, fmt.Errorf("price of %s: want a size and a rate >= 0", p)
	}
	if p.Bytes == 0 {
		return Estimate{Source: Derived, Note: "nothing to move"}, nil
	}
	if p.NICGBps > 0 {
		return m.netSend(p).estimate(), nil
	}
	out, err := m.nvlinkSend(p, g)
	if err != nil {
		return Estimate{}, fmt.Errorf("price of %s: %w", p, err)
	}
	return out.estimate(), nil
}

func (m *CollectiveModel) netSend(p P2P) price {
	s := m.NetSend
	if s == nil {
		us := netSendUs + float64(p.Bytes)/(netSendShare*p.NICGBps*1e3)
		return price{us: us, relErr: 0.3, source: Derived,
			note: fmt.Sprintf("latency and share of the NIC's rate (%g) as measured between two DGX H100", netSendShare)}
	}
	us := s.Curve.Micros(float64(p.Bytes) * s.GBps / p.NICGBps)
	out := price{us: us, relErr: s.Errors.At(us), source: Interpolated}
	if p.NICGBps != s.GBps {
		out.source, out.relErr = Derived, 2*out.relErr+0.1
		out.note = fmt.Sprintf("measured at %g GB/s, bytes scaled by the ratio of the NICs", s.GBps)
	}
	return out
}

func (m *CollectiveModel) nvlinkSend(p P2P, g *hw.GPU) (price, error) {
	if s := m.Send; s != nil {
		us := s.Curve.Micros(float64(p.Bytes) * m.nvlinkScale(g))
		return price{us: us, relErr: s.Errors.At(us), source: Interpolated}, nil
	}
	// An all-to-all of two ranks is a send each way of half its buffer.
	pair, err := m.inDomain(Collective{Kind: AllToAll, Bytes: 2 * p.Bytes, Group: Group{Ranks: 2, PerDomain: 2}}, g)
	if err != nil {
		return price{}, fmt.Errorf("no send over NVLink was measured, nor an all-to-all of two ranks: %w", err)
	}
	pair.source, pair.relErr, pair.note = Derived, pair.relErr+0.15, "half of an all-to-all of two ranks"
	return pair, nil
}
