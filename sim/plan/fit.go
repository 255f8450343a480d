package plan

import (
	"fmt"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// Fitted is the plan with the order of its automatic schedule for the costs of
// passes and a limit on activations in microbatches (0: the schedule's own). The
// stages stay where they are. The error says where the limit is too tight, or that
// the schedule is not an automatic one.
func (p *Plan) Fitted(c pipeline.Costs, limit float64) (*Plan, error) {
	auto, ok := p.Schedule.(pipeline.Fitted)
	if !ok {
		return nil, fmt.Errorf("schedule %s does not depend on costs", p.Schedule.Name())
	}
	auto.Costs, auto.Limit = c, limit
	order, err := auto.Order(p.Shape)
	if err != nil {
		return nil, err
	}
	q := *p
	q.Schedule, q.Order = auto, order
	return &q, nil
}

// PeakActivations is the most bytes of activations that a rank holds in its order
// where a pass takes from its start and gives back at its end. Sequences must be
// whole.
func (p *Plan) PeakActivations(rank int) float64 {
	held, peak := 0.0, 0.0
	for _, s := range p.Order[rank] {
		all, weights := p.ActivationBytes(int(s.Stage)), p.WeightGradBytes(int(s.Stage))
		switch s.Phase {
		case pipeline.F:
			held += all
			peak = max(peak, held)
		case pipeline.B:
			held -= all
		case pipeline.I:
			held -= all - weights
		case pipeline.W:
			held -= weights
		}
	}
	return peak
}

// MicrobatchActivations is the bytes that a rank holds of one microbatch after its
// forward passes.
func (p *Plan) MicrobatchActivations(rank int) float64 {
	sum := 0.0
	for _, stage := range p.Held[rank] {
		sum += p.ActivationBytes(stage)
	}
	return sum
}

// Cut is the plan with weight gradients in pieces of the times given where they run
// behind other passes of the costs given; see [pipeline.MEPipeCut].
func (p *Plan) Cut(c pipeline.Costs, pieces func(pipeline.Slot) []unit.Time) (*Plan, error) {
	split, ok := p.Schedule.(pipeline.MEPipeSplit)
	if !ok {
		return nil, fmt.Errorf("schedule %s has no weight gradients in pieces", p.Schedule.Name())
	}
	split.Costs, split.Cut = c, pieces
	order, err := split.Order(p.Shape)
	if err != nil {
		return nil, err
	}
	q := *p
	q.Schedule, q.Order = split, order
	return &q, nil
}
