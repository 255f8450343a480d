package cost

import (
	"fmt"
	"math"

	"orrery/sim/hw"
)

// Groups of more ranks than were measured, inside one NVLink domain: a rack of
// NVL72, whose public tables stop at the four GPUs of a tray.

// nvl72FillUs is what an all-reduce of 512 MiB or more among 72 GPUs takes beyond
// one among four: fitted to GB200 NVL72, NCCL 2.26.2, 0.5-8 GiB (coreweave
// nccl-tests README: 586 GB/s at 512 MiB, 835-847 at 8 GiB), where the NVLS
// bandwidth of four ranks plus this reproduces the five sizes within 5 %. Smaller
// messages are assumed to pay in proportion to their size, as their chunks shrink.
const (
	nvl72FillUs    = 500
	nvl72FillBytes = 512 << 20
	nvl72Ranks     = 72
)

// wide extends the curves of a pattern to more ranks.
//
// Of the bytes of a ring or of pairwise sends, (n-1)/n cross NVLink and 1/n is
// copied in place, each at its own rate; both follow from the two widest curves
// (H200 all-gather: those of 2 and 4 ranks give that of 8 within 1 %). Each
// further rank costs a hop. All-reduce on NVLink SHARP keeps its bandwidth and
// pays latency by the doubling.
func (m *CollectiveModel) wide(c Collective, curves []CollectiveCurve, bytes float64) price {
	last := curves[len(curves)-1]
	p := m.follow(&last, bytes)
	n, n0 := float64(c.Group.Ranks), float64(last.Ranks)
	p.source, p.relErr = Derived, p.relErr+0.2
	hop := 0.0
	if len(curves) > 1 {
		before := curves[len(curves)-2]
		hop = max(0, last.Curve.latency()-before.Curve.latency()) / (n0 - float64(before.Ranks))
	}
	if c.Kind == AllReduce {
		fill := nvl72FillUs * min(1, (n-n0)/(nvl72Ranks-n0)) * min(1, bytes/nvl72FillBytes)
		p.us += hop*n0/2*math.Log2(n/n0) + fill
		p.note = fmt.Sprintf("beyond %d ranks: bandwidth kept, latency by doublings and filling as measured on 72 GPUs of a GB200 NVL72", last.Ranks)
		return p
	}
	link, local := splitRates(curves)
	stretch := ((n-1)/n/link + 1/n/local) / ((n0-1)/n0/link + 1/n0/local)
	p.us = p.us*max(1, stretch) + hop*(n-n0)
	p.note = fmt.Sprintf("beyond %d ranks: rates of link and of local copy from the widest groups measured, one hop a rank", last.Ranks)
	return p
}

// splitRates solves bytes/time = ((n-1)/n/link + 1/n/local)^-1 for the two widest
// curves' asymptotes, in GB/s. With one curve, or where the two contradict, all
// is put down to the link.
func splitRates(curves []CollectiveCurve) (link, local float64) {
	last := curves[len(curves)-1]
	n0 := float64(last.Ranks)
	x0, y0 := (n0-1)/n0, 1/last.Curve.GBps()
	if len(curves) > 1 {
		before := curves[len(curves)-2]
		n1 := float64(before.Ranks)
		x1, y1 := (n1-1)/n1, 1/before.Curve.GBps()
		det := (1-x1)*x0 - (1-x0)*x1
		a := ((1-x1)*y0 - (1-x0)*y1) / det
		b := (x0*y1 - x1*y0) / det
		if a > 0 && b > 0 {
			return 1 / a, 1 / b
		}
	}
	return x0 / y0, math.Inf(1)
}

// ringBusGBps is the bus bandwidth of long rings over NVLink, of kind all-gather
// or reduce-scatter.
func (m *CollectiveModel) ringBusGBps(kind CollectiveKind, g *hw.GPU) (float64, error) {
	curves := m.curvesOf(Collective{Kind: kind})
	if len(curves) == 0 {
		return 0, fmt.Errorf("no %s was measured", kind)
	}
	link, _ := splitRates(curves)
	return link / m.nvlinkScale(g), nil
}
