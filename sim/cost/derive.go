package cost

import (
	"fmt"
	"maps"
	"math"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// The rule that carries a price from a GPU with a fit to one without: the
// launch floor stays, the rest scales with the larger of two times at the
// published peaks, that of the FLOPs and that of the bytes. It is exact for
// kernels at the same share of the roofline; derivedErr is what it is assumed to
// miss otherwise.
const (
	derivedErr  = 0.15
	powerErr    = 0.05 // more, where the power limit differs
	launchFloor = 2.5  // us: the shortest GEMM of any table is 1.7 to 2.6 us
)

// On returns the profile for another GPU, or for its own with other peaks,
// bandwidths or power: p itself if nothing differs, else a profile that derives
// every price from p's.
func (p *Profile) On(g *hw.GPU) *Profile {
	if g == nil || p.hw == g || p.hw != nil && p.hw.Name == g.Name &&
		p.hw.HBMGBps == g.HBMGBps && p.hw.NVLinkGBps == g.NVLinkGBps && p.hw.PowerW == g.PowerW &&
		maps.Equal(p.hw.PeakTFLOPS, g.PeakTFLOPS) {
		return p
	}
	return NewProfile(g.Name, g, p)
}

// variant reports whether the profile is its base's GPU with other figures. It
// then has no rule of its own: with figures that hardly differ every price hardly
// differs from the base's.
func (p *Profile) variant() bool {
	return p.base != nil && p.base.hw != nil && p.base.hw.Name == p.hw.Name
}

// derived prices a kernel by the base's price and the deriving rule.
func (p *Profile) derived(k Kernel) (Estimate, error) {
	e, err := p.base.Price(k)
	if err != nil {
		return Estimate{}, err
	}
	from, to := p.base.hw, p.hw
	floor, relErr := launchFloor, derivedErr
	var ratio float64
	rule := "derived from " + p.base.Name
	switch k.(type) {
	case Collective, P2P, ExpertExchange:
		floor, ratio, err = p.linkRatio(k)
	default:
		ratio, err = rooflineRatio(k, from, to)
		if clock := powerClock(from, to); clock < 1 && k.FLOPs() > 0 {
			ratio *= 1 + (1/clock-1)*computeShare(k, from)
			relErr += powerErr
			rule += fmt.Sprintf(", its clock under %.0f W assumed at %.2f of that under %.0f W", to.PowerW, clock, from.PowerW)
		}
	}
	if err != nil {
		return Estimate{}, err
	}
	us := e.Time.Micros()
	floor = min(floor, us)
	if e.Note != "" {
		rule += ": " + e.Note
	}
	return Estimate{Time: unit.Micros(floor + (us-floor)*ratio), RelErr: math.Hypot(e.RelErr, relErr), Source: Derived, Note: rule}, nil
}

// rooflineRatio is the time of a kernel at the published peaks of one GPU over
// that at another's.
func rooflineRatio(k Kernel, from, to *hw.GPU) (float64, error) {
	a, err := RooflineOf(k, from)
	if err != nil {
		return 0, err
	}
	b, err := RooflineOf(k, to)
	if err != nil {
		return 0, err
	}
	if a.Time == 0 {
		return 1, nil
	}
	return b.Time.Seconds() / a.Time.Seconds(), nil
}

// computeShare is how far a kernel is on the compute side of the roofline: 1
// where the FLOPs alone bound it, 0 where the bytes do.
func computeShare(k Kernel, g *hw.GPU) float64 {
	peak, ok := peakOf(g, k)
	if !ok {
		return 0
	}
	flops := k.FLOPs() / (peak * 1e12)
	bytes := k.HBMBytes() / (g.HBMGBps * 1e9)
	return max(0, min(1, (flops-bytes)/flops))
}

// powerClock is the sustained clock under a lower power limit of the same
// silicon, as a share of that under the higher one. Dynamic power is f*V^2 and V
// rises with f, so f goes as P^(1/3) where V is proportional to f and P^(1/2)
// where it rises half as fast; 0.4 lies between. This is assumed, not measured.
func powerClock(from, to *hw.GPU) float64 {
	if from.Arch != to.Arch || from.SMs != to.SMs || to.PowerW >= from.PowerW {
		return 1
	}
	return math.Pow(to.PowerW/from.PowerW, 0.4)
}

// linkRatio scales what is above a message's latency, the price of hardly any
// bytes, with the bandwidth of NVLink. What goes over a NIC stays: the NIC's rate
// is part of the kernel.
func (p *Profile) linkRatio(k Kernel) (latencyMicros, ratio float64, err error) {
	const few = 1024 // bytes
	switch c := k.(type) {
	case Collective:
		if c.Group.Domains() > 1 {
			return 0, 1, nil
		}
		c.Bytes = min(c.Bytes, few)
		k = c
	case P2P:
		if c.NICGBps > 0 {
			return 0, 1, nil
		}
		c.Bytes = min(c.Bytes, few)
		k = c
	case ExpertExchange:
		if c.Group.Domains() > 1 {
			return 0, 1, nil
		}
		c.Tokens = min(c.Tokens, 1)
		k = c
	}
	latency, err := p.base.Price(k)
	return latency.Time.Micros(), p.base.hw.NVLinkGBps / p.hw.NVLinkGBps, err
}
