package sim

import (
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/unit"
)

// modules fills in what encoder and generator take.
func (r *Run) modules() {
	for _, t := range r.Plan.Towers() {
		r.Result.Modules = append(r.Result.Modules, r.module(t))
	}
}

func (r *Run) module(t *plan.Tower) ModuleResult {
	m := ModuleResult{Module: t.Module.String(), Params: float64(t.Model.Params(r.Plan.Model.Hidden))}
	mbs := float64(len(t.Loads))
	for _, l := range t.Loads {
		m.Tokens += float64(l.Tokens) / mbs
		m.MaxTokens = max(m.MaxTokens, l.Tokens)
	}
	var stages []int
	for i, st := range r.Plan.Stages {
		if st.Module == t.Module {
			stages = append(stages, i)
			for _, l := range t.Loads {
				m.UnitGiB += r.Plan.TowerActivationBytes(i, l) / mbs / float64(unit.GiB)
			}
		}
	}
	p := r.Step.Program
	for id, tag := range r.Step.Tags {
		lane := p.Lane[id]
		if !slices.Contains(stages, int(tag.Stage)) || tag.Microbatch < 0 || lane != r.Step.Lanes[p.Lanes[lane].Rank].Compute {
			continue
		}
		d := r.prices.dur[p.Work[id]].Seconds() / mbs
		if tag.Phase == pipeline.F {
			m.ForwardS += d
		} else {
			m.BackwardS += d
		}
	}
	m.LiveUnits = pipeline.LiveUnitsOf(r.Plan.Schedule, r.Plan.Shape, r.Plan.Order, t.Module)
	most := int64(0)
	for _, held := range r.Timeline.MemoryOf(m.MemoryClass()) {
		most = max(most, held.Peak.Bytes)
	}
	m.PeakGiB = float64(most) / float64(unit.GiB)
	return m
}

// MemoryClass is the class of the program's memory events that are the module's.
func (m ModuleResult) MemoryClass() uint8 {
	if m.Module == pipeline.Generator.String() {
		return lower.MemGenerator
	}
	return lower.MemEncoder
}
