package cost

import (
	"fmt"

	"orrery/sim/hw"
)

// Bandwidths of libraries that no table has, as their authors publish them:
// bytes of Traffic over time, in GB/s a GPU.
const (
	// HybridEP on GB200 NVL72, bf16 dispatch, kernel only, 32 SMs: 764 GB/s
	// among 8 GPUs, 632 among 36 (deepseek-ai/DeepEP, README_Hybrid-EP.md).
	hybridRackGBps8, hybridRackGBps36 = 764, 632
	// HybridEP on H100, 4 x 8 GPUs, bf16 dispatch over 400 Gb/s NICs with 16 SMs:
	// 57.7 GB/s counting the copies that stay in the node, 3/4 of it sent (same).
	hybridNetGBps = 43
	// DeepEP inside a node of H800 (NVLink 200 GB/s a direction): 153 dispatch,
	// 158 combine, 0.77 of the link (deepseek-ai/DeepEP, README_v1.md).
	deepNodeShare = 0.77
	// DeepEP over 2, 4 and 8 nodes, 50 GB/s a NIC: 43, 58 and 51 GB/s counting
	// the copies that stay in the node (same); 22-45 sent.
	deepNetGBps = 40
	// Start and notification of an exchange (data README 5.6: 27-34 us in a
	// node, 40-90 us more for the notification between nodes).
	exchangeNodeUs, exchangeNetUs = 30, 90
)

// publishedExchange prices DeepEP and HybridEP by their authors' figures.
func publishedExchange(e ExpertExchange, g *hw.GPU) (price, error) {
	if e.Op != "dispatch" && e.Op != "combine" || e.Backend != "deepep" && e.Backend != "hybridep" {
		return price{}, fmt.Errorf("%s of %s: neither measured nor published", e.Op, e.Backend)
	}
	latency, gbps := 0.0, 0.0
	switch {
	case e.Group.Domains() > 1:
		latency, gbps = exchangeNetUs, deepNetGBps*e.NICGBps/50
		if e.Backend == "hybridep" {
			gbps = hybridNetGBps * e.NICGBps / 50
		}
	case g == nil || !(g.NVLinkGBps > 0):
		return price{}, fmt.Errorf("the rate of NVLink is not known")
	default:
		latency, gbps = exchangeNodeUs, deepNodeShare*g.NVLinkGBps
		if e.Backend == "hybridep" {
			w := min(1, max(0, float64(e.Group.Ranks-8)/(36-8)))
			gbps = ((1-w)*hybridRackGBps8 + w*hybridRackGBps36) * g.NVLinkGBps / 900
		}
	}
	return price{
		us: latency + e.Traffic()/(gbps*1e3), relErr: 0.35, source: Published,
		note: fmt.Sprintf("%s: %.3g GB/s a GPU as its authors publish, scaled by the rate of the link", e.Backend, gbps),
	}, nil
}
