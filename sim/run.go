package sim

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"orrery/calibrate"
	"orrery/scenarios"
	"orrery/sim/cost"
	"orrery/sim/engine"
	"orrery/sim/hw"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// Run is one simulated step with everything that led to it.
type Run struct {
	Scenario *scenarios.Scenario
	Plan     *plan.Plan
	Step     *lower.Step
	Timeline *timeline.Timeline // of Program
	Result   *Result

	// Program is what ran: Step.Program, or every rank's with Options.Expand.
	Program *program.Program
	Lanes   []lower.RankLanes
	folded  []program.OpID // op of Step.Program by op; nil where they are the same

	loads []*plan.Routing // of the scenario's balancers; nil where the load is even

	inFlight []timeline.Memory // by rank, once it has been asked for

	prices *prices
	fitted *ScheduleFit // nil where the schedule needs no costs
	opt    Options
}

// Options change how a scenario is run, never what comes out.
type Options struct {
	Expand   bool // simulate every rank instead of one for each set of equal ones
	NoAdvice bool // do not run others to find what to change
	// Profile finds the price profile of a name; nil is calibrate.Profile. Many
	// runs may share what it returns.
	Profile func(name string) (*cost.Profile, error)
	// MaxOps refuses a larger step, as Ops estimates it, before anything is laid out;
	// 0 is no limit.
	MaxOps float64
	// Phase, if not nil, is told what the run does next, by the goroutine that runs.
	Phase func(Phase)

	baseline bool            // this run is what another is compared with
	alone    bool            // do not run other balancers beside this one
	loads    []*plan.Routing // of the run that asks for advice
}

// Simulate runs a resolved scenario. A run that is cancelled ends after the phase that
// it is in.
func Simulate(ctx context.Context, s *scenarios.Scenario, opt Options) (*Run, error) {
	if s.Serving.On() {
		return nil, &scenarios.Error{Key: "serving", Msg: "the scenario is of serving", Allowed: "sim prefill, which runs it"}
	}
	if err := opt.Fits(s); err != nil {
		return nil, err
	}
	gpu, err := machine(s)
	if err != nil {
		return nil, err
	}
	find := opt.Profile
	if find == nil {
		find = calibrate.Profile
	}
	profile, err := find(s.Cluster.Profile)
	if err != nil {
		return nil, err
	}
	r := &Run{Scenario: s, opt: opt}
	if err := opt.enter(ctx, PhasePlan); err != nil {
		return nil, err
	}
	if r.Plan, err = plan.New(s); err != nil {
		return nil, err
	}
	r.prices = newPrices(profile.On(gpu), gpu, hostLaunch(s, gpu))
	if err := r.fit(gpu); err != nil {
		return nil, err
	}
	if err := r.pack(ctx, gpu); err != nil {
		return nil, err
	}
	if r.loads, err = r.route(ctx); err != nil {
		return nil, err
	}
	if r.loads != nil {
		r.Plan = r.Plan.Use(r.loads[0])
	}
	if err := r.simulate(ctx); err != nil {
		return nil, err
	}
	if err := opt.enter(ctx, PhaseSummarise); err != nil {
		return nil, err
	}
	return r, r.summarise(ctx, gpu)
}

// simulate lowers, prices and runs the plan.
func (r *Run) simulate(ctx context.Context) (err error) {
	if err := r.opt.enter(ctx, PhaseLower); err != nil {
		return err
	}
	if r.Step, err = lower.NewStep(r.Plan); err != nil {
		return err
	}
	if err := r.opt.enter(ctx, PhasePrice); err != nil {
		return err
	}
	if err := r.prices.step(r.Step); err != nil {
		return err
	}
	r.Program, r.Lanes = r.Step.Program, r.Step.Lanes
	var e *lower.Expanded
	if r.opt.Expand {
		e = r.Step.Expand()
	} else if r.Step.Groups() > 1 {
		e = r.Step.ByGroup()
	}
	if e != nil {
		r.Program, r.Lanes, r.folded = e.Program, e.Lanes, e.Folded
	}
	if err := r.opt.enter(ctx, PhaseSimulate); err != nil {
		return err
	}
	r.Timeline = &timeline.Timeline{}
	return engine.Relax(r.Program, r.prices.dur, r.Timeline)
}

// machine is the scenario's GPU with its overrides.
func machine(s *scenarios.Scenario) (*hw.GPU, error) {
	g, err := hw.LookupGPU(s.Cluster.GPU)
	if err != nil {
		return nil, err
	}
	c := *g
	if s.Cluster.HBMGiB > 0 {
		c.HBM = unit.Bytes(s.Cluster.HBMGiB * float64(unit.GiB))
	}
	if s.Cluster.HBMGBps > 0 {
		c.HBMGBps = s.Cluster.HBMGBps
	}
	if s.Cluster.NVLinkGBps > 0 {
		c.NVLinkGBps = s.Cluster.NVLinkGBps
	}
	if s.Cluster.PowerW > 0 {
		c.PowerW = s.Cluster.PowerW
	}
	if f := s.Cluster.FLOPsFactor; f > 0 && f != 1 {
		c.PeakTFLOPS = maps.Clone(c.PeakTFLOPS)
		for d := range c.PeakTFLOPS {
			c.PeakTFLOPS[d] *= f
		}
	}
	return &c, nil
}

// hostLaunch is the host's time per kernel of an eager framework.
func hostLaunch(s *scenarios.Scenario, g *hw.GPU) unit.Time {
	switch {
	case s.Framework.CUDAGraphs:
		return 0
	case strings.HasPrefix(g.Name, "gb"): // Grace
		return gracePerKernel
	}
	return x86PerKernel
}

// What Python, the dispatcher and the launch cost an eager framework for each
// kernel. vLLM's eager all-reduce takes 14 to 17 us more than its graph replay on
// x86 hosts and 41 us more on Grace (vllm_0.24.0_custom_allreduce_perf.csv,
// medians up to 4 KiB); most kernels share a Python call with others, so that
// about half of it is assumed for each.
const (
	x86PerKernel   = 8 * unit.Microsecond
	gracePerKernel = 20 * unit.Microsecond
)

// jitterSigma is the assumed relative spread of GPUs of one kind under the same
// load. Single GEMMs differ by up to 10 % between nodes (spread of the
// collections in the kernel tables); over a whole step less of it remains. A step
// waits for the slowest rank: its expected excess over the mean is sigma times the
// expected maximum of n normal variables.
const jitterSigma = 0.01

// jitter is the relative excess of the slowest of n ranks.
func jitter(n int64) float64 {
	if n < 2 {
		return 0
	}
	// Blom's approximation of the expected maximum of n standard normals.
	return jitterSigma * math.Sqrt2 * math.Erfinv(2*(float64(n)-0.375)/(float64(n)+0.25)-1)
}

// sources is the share of kernel time on the compute and communication lanes
// of all works that was priced from each source.
func (r *Run) sources() map[string]float64 {
	out, total := map[string]float64{}, 0.0
	counts := make([]float64, len(r.Step.Works))
	for _, w := range r.Step.Program.Work {
		counts[w]++
	}
	add := func(k cost.Kernel, n float64) {
		e := r.prices.kernels[k]
		t := n * e.Time.Seconds()
		if e.Source != "" {
			out[string(e.Source)] += t
			total += t
		}
	}
	for i, w := range r.Step.Works {
		if w.Kernel != nil {
			add(w.Kernel, counts[i])
		}
		for _, u := range w.Blocks {
			for _, op := range u.Block.Ops {
				add(op.Kernel, counts[i]*float64(u.Times))
			}
		}
	}
	for k := range out {
		out[k] /= max(total, 1e-300)
	}
	return out
}

// warnings names kernels that were priced outside what was measured, the
// costliest first.
func (p *prices) warnings() []string {
	var notes []string
	for k, e := range p.kernels {
		if e.Source == cost.Roofline {
			notes = append(notes, fmt.Sprintf("%s is priced by roofline: %s", k, e.Note))
		}
	}
	slices.Sort(notes)
	if len(notes) > maxWarnings {
		notes = append(notes[:maxWarnings], fmt.Sprintf("and %d more kernels priced by roofline", len(notes)-maxWarnings))
	}
	return notes
}

// maxWarnings keeps a report readable.
const maxWarnings = 5
