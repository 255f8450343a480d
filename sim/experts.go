package sim

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"orrery/scenarios"
	"orrery/schedules/balance"
	"orrery/sim/hw"
	"orrery/sim/lower"
	"orrery/sim/plan"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// One rank stands for all of an expert-parallel group: every layer with experts has
// two all-to-alls, each of which ends for all ranks when the busiest has sent and
// received what it has to, and starts when the slowest has come to it. What differs
// between ranks in between are the grouped GEMMs and what goes with them, so that
// the group takes as long as a rank that has the most rows and the most tiles of
// any. Where two ranks share these maxima, that is longer than the slowest, by less
// than a tile an expert. TestOneRankStandsForTheGroup simulates all ranks. Groups
// that hold the same experts meet once a step, at the gradients, and are simulated
// each (lower.Step.ByGroup).

// Experts is what uneven loads of experts cost, and what balancers make of them.
// Means are over layers, microbatches and groups.
type Experts struct {
	Balancer        string  `json:"balancer"`
	ImbalanceBefore float64 `json:"imbalance_before"` // of ranks: largest load over the mean
	ImbalanceAfter  float64 `json:"imbalance_after"`
	OverBound       float64 `json:"over_bound"` // largest load over its certified lower bound
	Worst           HotRank `json:"worst"`      // the largest load of the step
	FractionOfIdeal float64 `json:"fraction_of_ideal"`
	// BalancingSPerLayer is what planning and sending weights add to the forward
	// pass of a layer with experts, in seconds.
	BalancingSPerLayer  float64            `json:"balancing_s_per_layer"`
	PlanningS           float64            `json:"planning_s"` // of the mean rank and step, as the next two
	WeightsExposedS     float64            `json:"weights_exposed_s"`
	ExchangeExposedS    float64            `json:"exchange_exposed_s"`
	Replicas            float64            `json:"replicas"` // of a layer and microbatch
	MovedGiB            float64            `json:"moved_gib"`
	ReplicaMemoryGiB    float64            `json:"replica_memory_gib"` // of the rank with most
	ActivationOverIdeal float64            `json:"activation_over_ideal"`
	RemoteFraction      float64            `json:"remote_fraction"`  // of pairs of token and expert
	DroppedFraction     float64            `json:"dropped_fraction"` // of pairs, by the capacity factor
	PaddedFraction      float64            `json:"padded_fraction"`  // rows of padding over pairs
	Compared            []ComparedBalancer `json:"compared,omitempty"`

	activation float64 // bytes of activations and workspace at the peak
}

// HotRank is a rank of an expert-parallel group that has much to do.
type HotRank struct {
	Group      int     `json:"group"`
	Rank       int     `json:"rank"` // within the group
	Layer      int64   `json:"layer"`
	Microbatch int     `json:"microbatch"`
	Pairs      float64 `json:"pairs"`     // of token and expert that it receives
	OverMean   float64 `json:"over_mean"` // over those of an even load
}

func (h HotRank) String() string {
	return fmt.Sprintf("rank %d of expert group %d, which receives %.0f token-expert pairs of layer %d, microbatch %d, %.2f times an even load",
		h.Rank, h.Group, h.Pairs, h.Layer, h.Microbatch, h.OverMean)
}

// ComparedBalancer is another balancer on the same loads.
type ComparedBalancer struct {
	StepTimeS         float64 `json:"step_time_s"`
	ModelTFLOPSPerGPU float64 `json:"model_tflops_per_gpu"`
	PeakMemoryGiB     float64 `json:"peak_memory_gib"`
	Fits              bool    `json:"fits"`
	Experts
	result *Result
}

const idealBalancer = "ideal"

// route plans the loads for the scenario's balancers and for an ideal one.
func (r *Run) route(ctx context.Context) ([]*plan.Routing, error) {
	names := plan.Balancers(r.Scenario)
	if !slices.Contains(names, idealBalancer) {
		names = append(names, idealBalancer)
	}
	if known := r.opt.loads; len(known) > 0 && r.Plan.Suits(known[0]) {
		return known, nil
	}
	if r.Plan.Model.MoE != nil && r.Scenario.Routing.Uneven() {
		if err := r.opt.enter(ctx, PhaseRoute); err != nil {
			return nil, err
		}
	}
	return r.Plan.Route(names)
}

// experts fills Result.Experts, and runs the balancers beside the scenario's.
func (r *Run) experts(ctx context.Context, gpu *hw.GPU) error {
	if r.loads == nil {
		return nil
	}
	x := r.expertsOf()
	r.Result.Experts = x
	if r.opt.alone {
		return nil
	}
	for _, routing := range r.loads[1:] {
		other, err := r.under(ctx, gpu, routing)
		if err != nil {
			return fmt.Errorf("balancer %s: %w", routing.Balancer, err)
		}
		o := other.Result
		x.Compared = append(x.Compared, ComparedBalancer{StepTimeS: o.StepTimeS, ModelTFLOPSPerGPU: o.ModelTFLOPSPerGPU, PeakMemoryGiB: o.PeakMemoryGiB, Fits: o.Fits, Experts: *o.Experts, result: o})
	}
	ideal, idealS := x, r.Result.StepTimeS
	for i := range x.Compared {
		if c := &x.Compared[i]; c.Balancer == idealBalancer {
			ideal, idealS = &c.Experts, c.StepTimeS
		}
	}
	held := ideal.activation
	x.FractionOfIdeal, x.ActivationOverIdeal = idealS/r.Result.StepTimeS, x.activation/held
	for i := range x.Compared {
		c := &x.Compared[i]
		c.FractionOfIdeal, c.ActivationOverIdeal = idealS/c.StepTimeS, c.activation/held
	}
	asked := len(r.Scenario.Routing.Compare)
	x.Compared = x.Compared[:asked] // the ideal one is last where nobody asked for it
	return nil
}

// under is this run with another routing.
func (r *Run) under(ctx context.Context, gpu *hw.GPU, routing *plan.Routing) (*Run, error) {
	s := *r.Scenario
	s.Expect = nil
	o := &Run{Scenario: &s, Plan: r.Plan.Use(routing), loads: []*plan.Routing{routing}, opt: Options{NoAdvice: true, alone: true}}
	o.prices = newPrices(r.prices.profile, gpu, r.prices.host)
	if err := o.simulate(ctx); err != nil {
		return nil, err
	}
	return o, o.summarise(ctx, gpu)
}

// meansOf is what a routing says without times.
func meansOf(routing *plan.Routing) *Experts {
	x := &Experts{Balancer: routing.Balancer}
	var n, asked, dropped, padded float64
	var moved int64
	routing.All(func(group int, layer int64, mb int, s *plan.Share) {
		n++
		x.ImbalanceBefore += s.Before
		x.ImbalanceAfter += s.After
		x.OverBound += s.OverBound
		x.Replicas += float64(s.Replicas)
		x.RemoteFraction += s.Remote
		moved += int64(s.Moved)
		asked, dropped, padded = asked+float64(s.Asked), dropped+float64(s.Dropped), padded+float64(s.Padded)
		for rank, rows := range s.ByRank {
			if float64(rows) > x.Worst.Pairs {
				x.Worst = HotRank{Group: group, Rank: rank, Layer: layer, Microbatch: mb, Pairs: float64(rows), OverMean: float64(rows) / routing.Pairs}
			}
		}
	})
	for _, sum := range []*float64{&x.ImbalanceBefore, &x.ImbalanceAfter, &x.OverBound, &x.Replicas, &x.RemoteFraction} {
		*sum /= n
	}
	x.DroppedFraction, x.PaddedFraction = dropped/asked, padded/asked
	x.MovedGiB = float64(moved) * float64(routing.Setup.Prices.WeightBytes()) / float64(unit.GiB)
	return x
}

// expertsOf is what the run's own routing costs.
func (r *Run) expertsOf() *Experts {
	x, gib := meansOf(r.Plan.Routing), float64(unit.GiB)
	for rank := range r.Step.Lanes {
		l := r.Plan.Static(rank)
		x.ReplicaMemoryGiB = max(x.ReplicaMemoryGiB, l.Replicas/gib)
		x.activation = max(x.activation, float64(r.activations()[rank].Peak.Bytes)+l.Workspace)
	}
	b := r.Result.BreakdownS
	x.PlanningS, x.WeightsExposedS, x.ExchangeExposedS = b[lower.ExpertPlanning.String()], b[lower.ExpertWeights.String()+"_exposed"], b[lower.EPComm.String()+"_exposed"]
	n := r.Plan.Routing.Groups * len(r.Plan.Routing.Layers) * r.Plan.Routing.Microbatches
	x.BalancingSPerLayer = r.balancing() / float64(n)
	return x
}

// balancing is what planning and sending weights add to all forward passes.
func (r *Run) balancing() float64 {
	var t unit.Time
	p := r.Step.Program
	for id := range program.OpID(p.Len()) {
		if p.Works[p.Work[id]].Kind != program.Forward {
			continue
		}
		for g := range r.Step.Groups() {
			w := &r.prices.works[r.Step.WorkOf(g, p.Work[id])]
			t += w.Busy[lower.ExpertPlanning] + w.Exposed[lower.ExpertWeights]
		}
	}
	return t.Seconds()
}

// hotRank is the rank whose memory stands for a pipeline rank's.
func (r *Run) hotRank(rank int) *HotRank {
	if r.Plan.Routing == nil {
		return nil
	}
	h := r.Plan.Hottest(rank)
	if h.Layer < 0 {
		return nil
	}
	return &HotRank{Group: h.Group, Rank: h.Rank, Layer: h.Layer, Microbatch: h.Microbatch, Pairs: h.Rows, OverMean: h.Rows / r.Plan.Routing.Pairs}
}

// of is the result that an expectation is about.
func (r *Result) of(e scenarios.Expect) *Result {
	if r.Experts == nil || e.Balancer == "" {
		return r
	}
	for i := range r.Experts.Compared {
		if b, _, err := balance.ParseBalancer(r.Experts.Compared[i].Balancer); err == nil && b.Name() == e.Balancer {
			c := &r.Experts.Compared[i]
			c.result.Experts = &c.Experts
			return c.result
		}
	}
	return r
}

// expertMetric is a metric of Experts by its JSON name.
func (x *Experts) metric(name string) (float64, error) {
	values := map[string]func(*Experts) float64{
		"imbalance_before":      func(x *Experts) float64 { return x.ImbalanceBefore },
		"imbalance_after":       func(x *Experts) float64 { return x.ImbalanceAfter },
		"fraction_of_ideal":     func(x *Experts) float64 { return x.FractionOfIdeal },
		"over_bound":            func(x *Experts) float64 { return x.OverBound },
		"activation_over_ideal": func(x *Experts) float64 { return x.ActivationOverIdeal },
		"balancing_s_per_layer": func(x *Experts) float64 { return x.BalancingSPerLayer },
	}
	f, ok := values[name]
	switch {
	case !ok:
		return 0, &scenarios.Error{Key: "expect.metric", Found: name}
	case x == nil:
		return 0, &scenarios.Error{Key: "expect.metric", Msg: "the load is even", Found: name, Allowed: "a metric that needs no routing.load or routing.file"}
	}
	return f(x), nil
}

// outOfMemory names the rank that needs the most memory, where loads differ.
func (r *Result) outOfMemory() string {
	worst := slices.MaxFunc(r.MemoryGiBByStage, func(a, b StageMemory) int { return cmp.Compare(a.PeakGiB, b.PeakGiB) })
	if worst.Expert == nil {
		return ""
	}
	return fmt.Sprintf("; out of memory is %s, stage %d", worst.Expert, worst.Stage)
}
