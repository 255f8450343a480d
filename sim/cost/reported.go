package cost

import (
	"fmt"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// Reported is a kernel that no table has, with the time that its authors publish:
// Latency and Bytes at GBps, which was met on links of NVLinkGBps and scales with
// the rate of NVLink (0: it does not).
type Reported struct {
	Op         string
	Latency    unit.Time
	Bytes      int64
	GBps       float64
	NVLinkGBps float64
	SMs        int64 // that it occupies while it runs
	Source     string
}

// Family implements Kernel.
func (p Reported) Family() Family { return FamAllToAll }

// FLOPs implements Kernel.
func (p Reported) FLOPs() float64 { return 0 }

// HBMBytes implements Kernel.
func (p Reported) HBMBytes() float64 { return float64(p.Bytes) }

func (p Reported) String() string {
	return fmt.Sprintf("%s latency=%s bytes=%d", p.Op, p.Latency, p.Bytes)
}

// reportedRelErr is the spread that such times are given: their fits are within
// some percent of the figures, other machines are not.
const reportedRelErr = 0.2

func (p Reported) price(g *hw.GPU) (Estimate, error) {
	e := Estimate{Time: p.Latency, RelErr: reportedRelErr, Source: Published, Note: p.Source}
	if p.Bytes == 0 {
		return e, nil
	}
	if p.Bytes < 0 || !(p.GBps > 0) || p.NVLinkGBps > 0 && !(g.NVLinkGBps > 0) {
		return Estimate{}, fmt.Errorf("%s: want bytes at a rate above 0", p)
	}
	rate := p.GBps
	if p.NVLinkGBps > 0 {
		rate *= g.NVLinkGBps / p.NVLinkGBps
	}
	e.Time += unit.Seconds(float64(p.Bytes) / (rate * 1e9))
	return e, nil
}
