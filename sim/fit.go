package sim

import (
	"fmt"
	"slices"

	"orrery/schedules/pipeline"
	"orrery/sim/hw"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// fit gives the plan of an automatic schedule the order for its own prices. The
// plan's first order, for passes that cost the same, is lowered and priced; what its
// passes take on average is what the order is then fitted to.
func (r *Run) fit(gpu *hw.GPU) error {
	if !needsCosts(r.Plan.Schedule) {
		return nil
	}
	_, split := r.Plan.Schedule.(pipeline.MEPipeSplit)
	draft, err := lower.NewStep(r.Plan)
	if err != nil {
		return err
	}
	if err := r.prices.step(draft); err != nil {
		return err
	}
	costs := typicalCosts(draft, r.prices.dur)
	if split {
		return r.cut(draft, costs)
	}
	fitted, limit, err := r.within(gpu, costs)
	if err != nil {
		return err
	}
	r.Plan = fitted
	r.fitted = &ScheduleFit{ForwardS: costs.F.Seconds(), BackwardInputS: costs.I.Seconds(), BackwardWeightS: costs.W.Seconds(), SendS: costs.Comm.Seconds(), MemoryLimit: limit}
	return nil
}

// needsCosts reports whether a schedule's order depends on what passes take.
func needsCosts(s pipeline.Schedule) bool {
	_, auto := s.(pipeline.Fitted)
	_, split := s.(pipeline.MEPipeSplit)
	return auto || split
}

// typicalCosts are the costs of a step's passes as sail-sg's zero-bubble feeds them
// to the heuristics after profiling: the mean of each rank, of which the (upper)
// median over the ranks, at least one unit of time. A pass of several ops takes
// all of them.
func typicalCosts(s *lower.Step, dur []unit.Time) pipeline.Costs {
	ranks := len(s.Lanes)
	const sends = 4
	total, passes := tally(s, dur, 5*ranks, func(rank int, tag lower.Tag, send bool) int {
		if send {
			return sends*ranks + rank
		}
		return int(tag.Phase)*ranks + rank
	})
	median := func(at int) unit.Time {
		var means []unit.Time
		for i := at * ranks; i < (at+1)*ranks; i++ {
			if n := passes[i]; n > 0 {
				means = append(means, total[i]/n)
			}
		}
		if len(means) == 0 {
			return 0
		}
		slices.Sort(means)
		return means[len(means)/2]
	}
	return pipeline.Costs{F: max(median(int(pipeline.F)), 1), I: max(median(int(pipeline.I)), 1), W: max(median(int(pipeline.W)), 1), Comm: median(sends)}
}

// tally sums what the passes of a step take, and its sends, into bins, and counts
// them. A pass of several ops is one.
func tally(s *lower.Step, dur []unit.Time, bins int, bin func(rank int, tag lower.Tag, send bool) int) (total, number []unit.Time) {
	total, number = make([]unit.Time, bins), make([]unit.Time, bins)
	last := make([]lower.Tag, len(s.Lanes))
	seen := make([]bool, len(s.Lanes))
	for id, w := range s.Program.Work {
		lane, tag := s.Program.Lane[id], s.Tags[id]
		rank := s.Program.Lanes[lane].Rank
		send := s.Program.Works[w].Kind == program.Send
		if tag.Microbatch < 0 || !send && lane != s.Lanes[rank].Compute {
			continue
		}
		at := bin(int(rank), tag, send)
		if send || !seen[rank] || tag != last[rank] {
			number[at]++
		}
		if !send {
			last[rank], seen[rank] = tag, true
		}
		total[at] += dur[w]
	}
	return total, number
}

// StageCosts is what the passes of each global stage of a run take on average, and
// what a send takes: the costs for which an order of its passes can be looked for.
// A backward that is whole counts as one for inputs, and split is false where all are.
func (r *Run) StageCosts() (stages []pipeline.Costs, send unit.Time, split bool) {
	n := pipeline.Stages(r.Plan.Schedule, r.Plan.Shape)
	const phases = 4 // F, B, I, W
	total, number := tally(r.Step, r.prices.dur, n*phases+1, func(_ int, tag lower.Tag, send bool) int {
		if send {
			return n * phases
		}
		return int(tag.Stage)*phases + int(tag.Phase)
	})
	passes := make([]unit.Time, n*phases) // the ops of paired passes alternate, so that tally sees too many
	for _, slots := range r.Plan.Order {
		for _, slot := range slots {
			passes[int(slot.Stage)*phases+int(slot.Phase)]++
		}
	}
	mean := func(stage int, p pipeline.Phase) unit.Time {
		i := stage*phases + int(p)
		return total[i] / max(passes[i], 1)
	}
	stages = make([]pipeline.Costs, n)
	for i := range stages {
		c := pipeline.Costs{F: mean(i, pipeline.F), I: mean(i, pipeline.I), W: mean(i, pipeline.W)}
		if c.I+c.W > 0 {
			split = true
		} else {
			c.I = mean(i, pipeline.B)
		}
		stages[i] = c
	}
	return stages, total[n*phases] / max(number[n*phases], 1), split
}

// refits bounds the search for a limit that fits; each step takes off what is too much.
const refits = 8

// within fits the order under the scenario's limit, or else under the one that the
// GPU's memory leaves beside what a rank holds all through the step. Half a
// microbatch's activations are not quite what either half of a backward pass gives
// back, so that this limit is lowered until the order's own peak fits. Where not one
// microbatch fits, or not as much as the schedule needs, the result tells.
func (r *Run) within(gpu *hw.GPU, c pipeline.Costs) (*plan.Plan, float64, error) {
	if limit := r.Scenario.Schedule.MemoryLimit; limit > 0 {
		p, err := r.Plan.Fitted(c, limit)
		if err != nil {
			return nil, 0, fmt.Errorf("schedule.memory_limit: %w", err)
		}
		return p, limit, nil
	}
	room := make([]float64, r.Scenario.Parallel.PP) // bytes for activations, by rank
	limit := float64(r.Plan.Microbatches)
	for rank := range room {
		room[rank] = (float64(gpu.HBM)-contextGiB*float64(unit.GiB))/(1+fragmentation) - r.Plan.Static(rank).Sum()
		limit = min(limit, room[rank]/r.Plan.MicrobatchActivations(rank))
	}
	for range refits {
		limit = max(limit, 1)
		p, err := r.Plan.Fitted(c, limit)
		if err != nil { // less than the schedule can do with
			p, err = r.Plan.Fitted(c, 0)
			return p, 0, err
		}
		worst := 1.0
		for rank, has := range room {
			worst = min(worst, has/p.PeakActivations(rank))
		}
		if worst >= 1 || limit == 1 {
			return p, limit, nil
		}
		limit *= worst
	}
	p, err := r.Plan.Fitted(c, max(limit, 1))
	return p, max(limit, 1), err
}
