package sim

import (
	"orrery/schedules/pipeline"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// cut gives the plan its weight gradients in pieces, one for each product, in the
// gaps that the prices of a draft with whole ones leave. Sends take what is typical.
func (r *Run) cut(draft *lower.Step, typical pipeline.Costs) error {
	passes := map[pipeline.Slot]unit.Time{}
	pieces := map[pipeline.Slot][]unit.Time{}
	byWork := make([][]unit.Time, len(draft.Works))
	for id, w := range draft.Program.Work {
		lane, tag := draft.Program.Lane[id], draft.Tags[id]
		if tag.Microbatch < 0 || lane != draft.Lanes[draft.Program.Lanes[lane].Rank].Compute {
			continue
		}
		slot := pipeline.Slot{Phase: tag.Phase, Stage: tag.Stage, Microbatch: tag.Microbatch, Slice: tag.Slice}
		passes[slot] += r.prices.dur[w]
		if tag.Phase != pipeline.W {
			continue
		}
		if byWork[w] == nil {
			times, err := r.prices.pieces(draft.Works[w].Blocks)
			if err != nil {
				return err
			}
			byWork[w] = times
		}
		if pieces[slot] == nil {
			pieces[slot] = byWork[w]
		} else { // a pass that stops for gradients' buckets
			pieces[slot] = append(pieces[slot][:len(pieces[slot]):len(pieces[slot])], byWork[w]...)
		}
	}
	costs := pipeline.Costs{Comm: typical.Comm, Vary: func(s pipeline.Slot) unit.Time { return passes[s] }}
	var err error
	r.Plan, err = r.Plan.Cut(costs, func(s pipeline.Slot) []unit.Time { return pieces[s] })
	return err
}

// pieces prices a weight gradient's products one by one.
func (p *prices) pieces(uses []lower.Use) ([]unit.Time, error) {
	var out []unit.Time
	for _, b := range lower.Pieces(uses) {
		w := workPrice{}
		if err := p.work(&lower.Work{Blocks: []lower.Use{{Block: b, Times: 1}}}, &w, program.Backward); err != nil {
			return nil, err
		}
		out = append(out, w.Time+w.Host)
	}
	return out, nil
}
