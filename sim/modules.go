package sim

import (
	"cmp"
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
	m.PeakGiB = float64(r.modulePeak(t)) / float64(unit.GiB)
	return m
}

// modulePeak is the most bytes of a module's activations that a rank holds at once.
func (r *Run) modulePeak(t *plan.Tower) int64 {
	class := uint8(lower.MemEncoder)
	if t.Module == pipeline.Generator {
		class = lower.MemGenerator
	}
	type change struct {
		at    unit.Time
		bytes int64
	}
	byRank := make([][]change, len(r.Step.Lanes))
	for _, e := range r.Program.Mem {
		if e.Class != class {
			continue
		}
		at := r.Timeline.End[e.Op]
		if e.AtStart {
			at = r.Timeline.Start[e.Op]
		}
		byRank[e.Rank] = append(byRank[e.Rank], change{at, e.Bytes})
	}
	most := int64(0)
	for _, changes := range byRank {
		slices.SortStableFunc(changes, func(a, b change) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.bytes, b.bytes)) })
		held := int64(0)
		for _, c := range changes {
			held += c.bytes
			most = max(most, held)
		}
	}
	return most
}
