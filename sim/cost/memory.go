package cost

import (
	"fmt"
	"math"
	"strings"

	"orrery/sim/hw"
	"orrery/sim/unit"
)

// MemoryModel prices kernels bound by device memory, by the name of their op.
type MemoryModel struct {
	Ops map[string]*MemoryOp `json:"ops"`
}

// MemoryOp is the fit of one op:
//
//	us = Launch + bytes * ((1-miss)/(Cached*HBM) + miss/(Share*HBM)),
//	miss = 1/(1 + (Knee*L2/bytes)^4),
//
// with the published bandwidth of device memory and size of the L2 cache. What
// fits the cache is often still there from the kernel before.
type MemoryOp struct {
	Launch float64   `json:"launch_us"`
	Share  float64   `json:"share"`
	Cached float64   `json:"cached_share"`
	Knee   float64   `json:"knee"`
	Errors ErrorBand `json:"errors"`
}

func (m Memory) valid() error {
	if m.Read < 0 || m.Write < 0 || m.Read > maxSize || m.Write > maxSize {
		return fmt.Errorf("memory: bytes out of range: %s", m)
	}
	if _, known := memoryRules[m.Op]; known {
		return nil
	}
	return fmt.Errorf("memory: no op is called %q; known are %s", m.Op, strings.Join(MemoryOps(), ", "))
}

// Micros is the time of a kernel of so many bytes.
func (o *MemoryOp) Micros(bytes float64, g *hw.GPU) float64 {
	if bytes <= 0 {
		return o.Launch
	}
	ratio := o.Knee * float64(g.L2) / bytes
	miss := 1 / (1 + ratio*ratio*ratio*ratio)
	perMicro := g.HBMGBps * 1e3
	return o.Launch + bytes/perMicro*((1-miss)/o.Cached+miss/o.Share)
}

// Price returns the time of one kernel: by the op's own fit, or by the fit of
// the op that it resembles. It is an error if there is neither.
func (m *MemoryModel) Price(k Memory, g *hw.GPU) (Estimate, error) {
	if err := k.valid(); err != nil {
		return Estimate{}, err
	}
	rule := memoryRules[k.Op]
	op, note := m.Ops[k.Op], ""
	if op == nil && rule.like != "" {
		op, note = m.Ops[rule.like], fmt.Sprintf("assumed as %s", rule.like)
	}
	if op == nil {
		return Estimate{}, fmt.Errorf("memory: no fit of op %q", k.Op)
	}
	us := op.Micros(k.HBMBytes(), g)
	e := Estimate{Time: unit.Micros(us), RelErr: op.Errors.At(us), Source: Interpolated}
	if note != "" {
		e.widen(0.2, note)
	}
	return e, nil
}

// publishedMemory prices an op by a published share of the memory's bandwidth.
func publishedMemory(k Memory, g *hw.GPU) (Estimate, bool) {
	r, ok := memoryRules[k.Op]
	if !ok || r.share == 0 {
		return Estimate{}, false
	}
	us := streamLaunch + k.HBMBytes()/(r.share*g.HBMGBps*1e3)
	e := Estimate{Time: unit.Micros(us), RelErr: r.relErr, Source: Published, Note: r.note}
	if r.assumed {
		e.Source = Derived
	}
	if k.HBMBytes() < float64(g.L2) { // may be in cache, or be mostly launch
		e.RelErr = math.Hypot(e.RelErr, 0.3)
	}
	return e, true
}
