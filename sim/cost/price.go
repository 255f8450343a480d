package cost

import (
	"errors"
	"fmt"
	"math"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// Price returns the time of a kernel on the profile's GPU. What the profile has
// no fit for is derived from its base (derive.go). The error is a *MissingError
// where no fit covers the kernel, and another one where the kernel makes no sense.
func (p *Profile) Price(k Kernel) (Estimate, error) {
	if p == nil || p.hw == nil {
		return Estimate{}, errors.New("price: a profile without GPU; load it with calibrate.Profile or NewProfile")
	}
	if err := validKernel(k); err != nil {
		return Estimate{}, err
	}
	if v, ok := k.(VarlenAttention); ok { // of kernels of one length, each by its own fit
		return p.varlen(v)
	}
	if _, host := k.(HostCopy); p.variant() && !host {
		return p.derived(k)
	}
	e, err := p.own(k)
	if err != nil && p.base != nil {
		if d, derr := p.derived(k); derr == nil {
			return d, nil
		}
	}
	if err != nil {
		return Estimate{}, err
	}
	return e, nil
}

// validKernel refuses what no model can make sense of, before a model sees it.
func validKernel(k Kernel) error {
	bad := func(d unit.DType) error {
		if d.Valid() {
			return nil
		}
		return fmt.Errorf("%s kernel: unknown dtype %q", k.Family(), d)
	}
	switch k := k.(type) {
	case nil:
		return errors.New("price: no kernel")
	case GEMM:
		if err := bad(k.DType); err != nil {
			return err
		}
		return k.valid()
	case GroupedGEMM:
		return bad(k.DType)
	case Attention:
		if k.KVDType != "" {
			if err := bad(k.KVDType); err != nil {
				return err
			}
		}
		return bad(k.DType)
	case VarlenAttention:
		return k.valid()
	case MoE:
		return bad(k.DType)
	case ExpertExchange:
		if err := k.Group.check(); err != nil {
			return err
		}
		return bad(k.DType)
	case Memory:
		return k.valid()
	case Collective:
		return k.Group.check()
	}
	return nil
}

// maxSize bounds sizes and bytes so that their sums stay in range.
const maxSize = 1 << 60

// own prices a kernel by the profile's own fits.
func (p *Profile) own(k Kernel) (Estimate, error) {
	missing := func() (Estimate, error) {
		return Estimate{}, &MissingError{Profile: p.Name, Kernel: k, Why: "it has no fit of this family and format"}
	}
	switch k := k.(type) {
	case GEMM:
		return p.priceGEMM(k)
	case GroupedGEMM:
		if m := p.Grouped[tensorCoreFormat(k.DType)]; m != nil {
			return m.Price(k, p.hw)
		}
	case Attention:
		if p.Attention != nil {
			return p.Attention.Price(k, p.hw)
		}
	case MoE:
		if m := p.MoE[tensorCoreFormat(k.DType)]; m != nil {
			return m.Price(k, p.hw)
		}
	case Memory:
		return p.priceMemory(k)
	case Collective:
		if p.Collective != nil {
			return p.Collective.Price(k, p.hw)
		}
	case Reported:
		return k.price(p.hw)
	case P2P:
		if p.Collective != nil {
			return p.Collective.PriceP2P(k, p.hw)
		}
	case HostCopy:
		return k.price()
	case ExpertExchange:
		if p.Exchange != nil {
			return p.Exchange.Price(k, p.hw)
		}
	default:
		return Estimate{}, fmt.Errorf("price: no model of kernels of type %T", k)
	}
	return missing()
}

// priceMemory takes the op's fit, that of a GPU of the same generation, or else a
// published share of the bandwidth.
func (p *Profile) priceMemory(k Memory) (Estimate, error) {
	if p.Memory != nil {
		if e, err := p.Memory.Price(k, p.hw); err == nil {
			return e, nil
		}
	}
	if b := p.base; b != nil && b.Memory != nil && b.hw.Arch == p.hw.Arch {
		if _, err := b.Memory.Price(k, b.hw); err == nil {
			return p.derived(k)
		}
	}
	if e, ok := publishedMemory(k, p.hw); ok {
		return e, nil
	}
	return Estimate{}, &MissingError{Profile: p.Name, Kernel: k, Why: "no table has this op on this GPU"}
}

// tensorCoreFormat maps fp16 to bf16: tensor cores run both at one rate.
func tensorCoreFormat(d unit.DType) unit.DType {
	if d == unit.FP16 {
		return unit.BF16
	}
	return d
}

// RooflineOf is the least time that the GPU's published peaks allow a kernel: the
// larger of FLOPs over peak and bytes over bandwidth, of NVLink and the NICs where
// it communicates. It is no price: no kernel reaches it.
func RooflineOf(k Kernel, g *hw.GPU) (Estimate, error) {
	if err := validKernel(k); err != nil {
		return Estimate{}, err
	}
	var seconds float64
	switch c := k.(type) {
	case Collective:
		seconds = collectiveRoofline(c, g)
	case P2P:
		seconds = float64(c.Bytes) / (g.NVLinkGBps * 1e9)
		if c.NICGBps > 0 {
			seconds = float64(c.Bytes) / (c.NICGBps * 1e9)
		}
	case Reported:
		if c.GBps > 0 {
			seconds = float64(c.Bytes) / (g.NVLinkGBps * 1e9)
		}
	case HostCopy:
		seconds = float64(c.Bytes) / (c.GBps * 1e9)
	case ExpertExchange:
		n := float64(c.Group.Ranks)
		seconds = c.Traffic() * (n - 1) / n / (g.NVLinkGBps * 1e9)
		if c.Group.Domains() > 1 && c.NICGBps > 0 {
			seconds = c.Traffic() / (c.NICGBps * 1e9)
		}
	default:
		seconds = k.HBMBytes() / (g.HBMGBps * 1e9)
		if f := k.FLOPs(); f > 0 {
			peak, ok := peakOf(g, k)
			if !ok {
				return Estimate{}, fmt.Errorf("roofline: %s has no tensor cores for %q", g.Name, k)
			}
			seconds = max(seconds, f/(peak*1e12))
		}
	}
	if math.IsNaN(seconds) || seconds < 0 {
		return Estimate{}, fmt.Errorf("roofline: %q makes no sense", k)
	}
	return Estimate{Time: unit.Seconds(seconds), RelErr: 1, Source: Roofline, Note: "published peaks of " + g.Name}, nil
}

// collectiveRoofline is in seconds. Every rank passes its buffer once over NVLink,
// but for its own part, and what other domains need goes once over the domain's
// NICs: switches may add (NVLS, SHARP), so a sum costs no more than a copy. In an
// all-to-all nothing is shared, and each rank has its own NIC.
func collectiveRoofline(c Collective, g *hw.GPU) float64 {
	local, domains := float64(min(c.Group.Ranks, c.Group.PerDomain)), float64(c.Group.Domains())
	seconds := float64(c.Bytes) * (local - 1) / local / (g.NVLinkGBps * 1e9)
	if domains > 1 && c.NICGBps > 0 {
		nics := local
		if c.Kind == AllToAll {
			nics = 1
		}
		seconds = max(seconds, float64(c.Bytes)*(domains-1)/domains/(nics*c.NICGBps*1e9))
	}
	return seconds
}

// peakOf returns the dense peak of a kernel's format in TFLOP/s.
func peakOf(g *hw.GPU, k Kernel) (float64, bool) {
	var d unit.DType
	switch k := k.(type) {
	case GEMM:
		d = k.DType
	case GroupedGEMM:
		d = k.DType
	case Attention:
		d = k.DType
	case MoE:
		d = k.DType
	}
	return peak(g, d)
}

// peak returns the dense peak of a format in TFLOP/s. Block-scaled fp8 runs on
// the fp8 tensor cores.
func peak(g *hw.GPU, d unit.DType) (float64, bool) {
	if p, ok := g.PeakTFLOPS[d]; ok {
		return p, true
	}
	if d == unit.FP8Block {
		p, ok := g.PeakTFLOPS[unit.FP8]
		return p, ok
	}
	return 0, false
}
