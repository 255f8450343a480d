package sim

import "context"

// Phase is a part of a run.
type Phase string

// Phases of a run, in their order. Packing and routing are of scenarios that have such;
// what a run tries to find advice and baselines belongs to its summary.
const (
	PhasePlan      Phase = "planning"
	PhasePack      Phase = "packing"
	PhaseRoute     Phase = "routing"
	PhaseLower     Phase = "lowering"
	PhasePrice     Phase = "pricing"
	PhaseSimulate  Phase = "simulating"
	PhaseSummarise Phase = "summarising"
)

// enter tells that a phase begins; its error ends a run that was cancelled.
func (o Options) enter(ctx context.Context, p Phase) error {
	if o.Phase != nil {
		o.Phase(p)
	}
	return ctx.Err()
}
