package sim

import (
	"context"
	"fmt"
	"maps"
	"math"

	"orrery/scenarios"
	"orrery/schedules/packing"
	"orrery/schedules/pipeline"
	"orrery/sim/hw"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// summarise turns the timeline into the Result.
func (r *Run) summarise(ctx context.Context, gpu *hw.GPU) error {
	s := r.Scenario
	makespan := r.Makespan()
	slow := jitter(s.Cluster.GPUs)
	step := makespan.Seconds() * (1 + slow)
	n := float64(s.Cluster.GPUs)
	tokens := float64(r.Plan.StepTokens())
	modelFLOPs, hardwareFLOPs := r.flops()
	peak := gpu.PeakTFLOPS[unit.BF16]
	if p, ok := gpu.PeakTFLOPS[s.Training.Precision.DType()]; ok {
		peak = p
	}
	res := &Result{
		Name: s.Name, StepTimeS: step, GPUs: s.Cluster.GPUs, Schedule: r.scheduleName(), Profile: r.prices.profile.Name,
		TokensPerSPerGPU:     tokens / step / n,
		ModelTFLOPSPerGPU:    modelFLOPs / step / n / 1e12,
		HardwareTFLOPSPerGPU: hardwareFLOPs / step / n / 1e12,
		Warnings:             []string{},
	}
	res.MFU = res.ModelTFLOPSPerGPU / peak
	res.ScheduleFit = r.fitted
	r.Result = res
	b := r.breakdown()
	b["jitter"] = makespan.Seconds() * slow
	res.BreakdownS = b
	res.BubbleFraction = b["bubble"] / step
	for _, k := range exposedComm {
		res.ExposedCommFraction += b[k] / step
	}
	res.StepTimeRelError = r.relError()
	res.CriticalPath = r.criticalPath()
	res.Sources = r.sources()
	res.PaddingFraction = r.Plan.PaddingShare()
	r.memory(ctx, gpu)
	r.modules()
	r.launching(ctx)
	if err := r.experts(ctx, gpu); err != nil {
		return err
	}
	r.warn()
	if err := ctx.Err(); err != nil { // what was tried for advice may have been cut short
		return err
	}
	if err := r.packing(ctx); err != nil {
		return err
	}
	return r.expect()
}

// exposedComm are the rows of the breakdown that are waits for communication.
var exposedComm = []string{"tp_comm_exposed", "cp_comm_exposed", "ep_comm_exposed", "expert_weights_exposed", "pipeline_send", "grad_reduce_exposed", "param_gather_exposed"}

// Makespan is the end of the last op, before jitter.
func (r *Run) Makespan() unit.Time {
	var m unit.Time
	for _, e := range r.Timeline.End {
		m = max(m, e)
	}
	return m
}

// flops of one step: by Megatron's convention, and what the hardware runs with
// recomputation. LoRA's frozen base has no weight gradients.
func (r *Run) flops() (model, hardware float64) {
	s := r.Scenario
	b, seq := s.Training.GlobalBatch, s.Training.SequenceLength
	m := r.Plan.Model
	if m.Net != nil { // without padding they would be fewer
		for _, passes := range r.Plan.Batches {
			for _, batch := range passes {
				model += float64(s.Parallel.DP) * m.NetFLOPs(batch)
			}
		}
		return model, model
	}
	model = m.StepFLOPs(seq, b, r.Plan.Vocab).Total()
	hardware = float64(b) * m.HardwareFLOPs([]int64{seq}, r.Plan.Vocab).Total()
	if r.Plan.Varlen != nil {
		model, hardware = r.packedFLOPs()
	}
	if s.Training.Finetune == "lora" {
		hardware *= 2.0 / 3
	}
	if s.Training.Recompute.Mode == "full" {
		share := 1.0
		if n := s.Training.Recompute.Layers; n > 0 {
			done := int64(0)
			for _, l := range s.Parallel.LayersPerStage {
				done += min(n, l)
			}
			share = float64(done) / float64(r.Plan.Model.Layers)
		}
		hardware += share * hardware / 3
	}
	for _, t := range r.Plan.Towers() {
		model += r.Plan.TowerStepFLOPs(t, false)
		hardware += r.Plan.TowerStepFLOPs(t, true)
	}
	return model, hardware
}

// breakdown tells where the time of the mean rank went, in seconds: the rows
// add up to the makespan. What the compute lane runs is charged to classes of
// kernels; what it waits for, to the op it waited for. Waits are summed as
// integers and runs counted, so that folding equal ranks changes no digit.
func (r *Run) breakdown() map[string]float64 {
	p, t := r.Program, r.Timeline
	ranks := len(r.Lanes)
	end := make([]unit.Time, ranks)      // of the compute lane so far
	computed := make([]unit.Time, ranks) // of its passes so far
	wait := map[string]unit.Time{}
	for id := range program.OpID(p.Len()) {
		rank := p.Lanes[p.Lane[id]].Rank
		if p.Lane[id] != r.Lanes[rank].Compute {
			continue
		}
		if gap := t.Start[id] - end[rank]; gap > 0 {
			r.charge(wait, id, gap, computed)
		}
		end[rank] = t.End[id]
		if p.Works[p.Work[id]].Kind != program.Optimizer {
			computed[rank] = t.End[id]
		}
	}
	makespan := r.Makespan()
	for rank := range ranks {
		wait["param_gather_exposed"] += makespan - end[rank]
	}
	out, hidden := map[string]float64{}, map[string]float64{}
	for k, v := range wait {
		out[k] = v.Seconds() / float64(ranks)
	}
	r.chargeWorks(out, hidden)
	for _, k := range []program.Kind{program.GradReduce, program.ParamGather} {
		hidden[k.String()] = max(hidden[k.String()]-out[k.String()+"_exposed"], 0)
	}
	for _, m := range []map[string]float64{out, hidden} {
		maps.DeleteFunc(m, func(_ string, v float64) bool { return v == 0 })
	}
	r.Result.HiddenCommS = hidden
	return out
}

// chargeWorks adds what the lanes of the mean pipeline rank ran.
func (r *Run) chargeWorks(out, hidden map[string]float64) {
	p := r.Step.Program
	groups := r.Step.Groups()
	ranks := float64(len(r.Step.Lanes) * groups)
	shared := map[program.LaneID]int64{} // ranks of a data-parallel lane
	for _, l := range r.Step.Lanes {
		shared[l.DP]++
	}
	compute, dp := make([]int64, len(p.Works)), make([]int64, len(p.Works))
	for id, w := range p.Work {
		lanes := r.Step.Lanes[p.Lanes[p.Lane[id]].Rank]
		for g := range groups {
			switch w := r.Step.WorkOf(g, w); p.Lane[id] {
			case lanes.Compute:
				compute[w]++
			case lanes.DP:
				dp[w] += shared[lanes.DP]
			}
		}
	}
	phases := map[string]float64{}
	r.Result.PhasesS = phases
	for w := range p.Works {
		if compute[w] > 0 {
			addWork(out, hidden, &r.prices.works[w], float64(compute[w])/ranks)
			addPhases(phases, &r.prices.works[w], float64(compute[w])/ranks, p.Works[w].Kind)
		}
		if dp[w] > 0 {
			hidden[p.Works[w].Kind.String()] += float64(dp[w]) / ranks * r.prices.dur[w].Seconds()
		}
	}
}

// addPhases adds n runs of a pass to the forward, backward and recomputation
// that it is made of, what its communication exposes included.
func addPhases(out map[string]float64, w *workPrice, n float64, kind program.Kind) {
	total := n * (w.Time + w.Host).Seconds()
	switch kind {
	case program.Forward:
		out["forward"] += total
	case program.Backward:
		again, weights := n*w.Recompute.Seconds(), n*w.Wgrad.Seconds()
		if again > 0 {
			out["recompute"] += again
		}
		out["backward_weight"] += weights
		out["backward_input"] += total - again - weights
	}
}

// charge books a wait of the compute lane before op id: for data-parallel
// communication what went on after its rank had computed all it could, for the
// transfer that arrived last its own time, and the rest (the other rank was not
// ready) as bubble. computed is when each rank's last pass ended.
func (r *Run) charge(wait map[string]unit.Time, id program.OpID, gap unit.Time, computed []unit.Time) {
	p := r.Program
	b := r.Timeline.Blocker[id]
	if b != program.None && p.Works[p.Work[b]].Kind == program.Other { // the barrier before the optimizer
		b = r.Timeline.Blocker[b]
	}
	if b == program.None {
		wait["bubble"] += gap
		return
	}
	switch k := p.Works[p.Work[b]].Kind; k {
	case program.GradReduce, program.ParamGather:
		from, own := p.Lanes[p.Lane[b]].Rank, p.Lanes[p.Lane[id]].Rank
		if pp := int32(r.stages()); from%pp == own%pp {
			from = own // its own group's, whichever copy stands for the group
		}
		if k == program.GradReduce && r.Plan.Varlen != nil {
			from = r.slowest(from, computed)
		}
		d := max(min(gap, r.Timeline.End[b]-computed[from]), 0)
		wait[k.String()+"_exposed"] += d
		wait["bubble"] += gap - d
	case program.Offload:
		wait["offload_exposed"] += min(gap, r.prices.dur[p.Work[b]])
		wait["bubble"] += gap - min(gap, r.prices.dur[p.Work[b]])
	case program.Send:
		d := min(gap, r.prices.dur[p.Work[b]])
		wait["pipeline_send"] += d
		wait["bubble"] += gap - d
	default:
		wait["bubble"] += gap
	}
}

// slowest is the rank of a stage whose passes ended last, of the replicas that reduce
// their gradients together: what they wait for is it, not the reduction.
func (r *Run) slowest(rank int32, computed []unit.Time) int32 {
	pp := int32(r.stages())
	for other := rank % pp; int(other) < len(computed); other += pp {
		if computed[other] > computed[rank] {
			rank = other
		}
	}
	return rank
}

// addWork adds n runs of a work to the rows of the breakdown. Recomputation is
// a row of its own, taken from the classes in proportion.
func addWork(out, hidden map[string]float64, w *workPrice, n float64) {
	busy := unit.Time(0)
	for _, t := range w.Busy {
		busy += t
	}
	again := 0.0
	if busy > 0 {
		again = w.Recompute.Seconds() / busy.Seconds()
	}
	for c := range lower.NumClasses {
		out[c.String()] += n * w.Busy[c].Seconds() * (1 - again)
		if w.Exposed[c] > 0 {
			name := c.String()
			if c != lower.OptimizerStep {
				name += "_exposed"
			}
			out[name] += n * w.Exposed[c].Seconds()
		}
		hidden[c.String()] += n * w.Hidden[c].Seconds()
	}
	out["recompute"] += n * w.Recompute.Seconds()
	out["host"] += n * w.Host.Seconds()
}

// relError is the half width of the 90 % interval of the step time: the errors
// of the prices (one shape errs the same way each time, shapes independently)
// and what the model of a whole step misses beside them.
func (r *Run) relError() float64 {
	p := r.Step.Program
	var sum, total float64
	counts := make([]float64, len(p.Works))
	for id := range p.Len() {
		if p.Lanes[p.Lane[id]].Rank == 0 {
			counts[p.Work[id]]++
		}
	}
	for w, n := range counts {
		sum += n * n * r.prices.works[w].err2
		total += n * r.prices.dur[w].Seconds()
	}
	if total == 0 {
		return 0
	}
	return math.Sqrt(sum/(total*total) + StepModelError*StepModelError)
}

// StepModelError is the 90 % half width that published runs leave once prices
// are fitted: the p90 of `sim verify` over the embedded runs (docs/fidelity.md).
const StepModelError = 0.25

// criticalPath is the share of each kind of work on the longest chain of ops.
func (r *Run) criticalPath() map[string]float64 {
	p, t := r.Program, r.Timeline
	out := map[string]float64{}
	total := r.Makespan().Seconds()
	for _, id := range t.CriticalPath() {
		w := p.Work[id]
		d := (t.End[id] - t.Start[id]).Seconds()
		k := p.Works[w].Kind
		if k == program.GradReduce || k == program.ParamGather { // nothing but collectives
			out[k.String()] += d / total
			continue
		}
		wp := &r.prices.works[w]
		exposed := 0.0
		for c := range lower.NumClasses {
			if wp.Exposed[c] > 0 && c != lower.OptimizerStep {
				out[c.String()] += wp.Exposed[c].Seconds() / total
				exposed += wp.Exposed[c].Seconds()
			}
		}
		if rc := wp.Recompute.Seconds(); rc > 0 {
			out["recompute"] += rc / total
			exposed += rc
		}
		out[k.String()] += (d - exposed) / total
	}
	maps.DeleteFunc(out, func(_ string, v float64) bool { return v == 0 })
	return out
}

func (r *Run) warn() {
	r.Result.Warnings = append(r.Result.Warnings, r.prices.warnings()...)
	if f, ok := r.Plan.Schedule.(*pipeline.FileOrder); ok && f.Untimed > 0 {
		r.Result.Warnings = append(r.Result.Warnings, fmt.Sprintf("%d actions of %s are no passes (sends, receives, parameters) and were left out: the step has its own", f.Untimed, r.Scenario.Schedule.File))
	}
	if v := r.Plan.Varlen; v != nil {
		if _, ok := v.Packer.(packing.Streaming); ok {
			r.Result.Warnings = append(r.Result.Warnings, fmt.Sprintf("%s lets samples wait for later steps; this is one step, in which none waits: sim pack has them wait over several", v.Packer.Name()))
		}
	}
	if !r.Result.Fits {
		r.Result.Warnings = append(r.Result.Warnings, r.Result.FitAdvice)
	}
}

func (r *Run) expect() error {
	for _, e := range r.Scenario.Expect {
		got, err := r.Result.of(e).Metric(e.Metric)
		if err != nil {
			return err
		}
		r.Result.Expect = append(r.Result.Expect, expectation(e, got))
	}
	return nil
}

// expectation holds a value against what was published.
func expectation(e scenarios.Expect, got float64) Expectation {
	x := Expectation{Metric: e.Metric, Balancer: e.Balancer, Expected: e.Value, Got: got, Tolerance: e.Tolerance, Source: e.Source}
	if x.Error = got; e.Value != 0 { // of nothing there is no relative error
		x.Error = got/e.Value - 1
	}
	x.OK = math.Abs(x.Error) <= e.Tolerance
	return x
}

// Metric is a scalar field of the result by its JSON name.
func (r *Result) Metric(name string) (float64, error) {
	switch name {
	case "step_time_s":
		return r.StepTimeS, nil
	case "tokens_per_s_per_gpu":
		return r.TokensPerSPerGPU, nil
	case "model_tflops_per_gpu":
		return r.ModelTFLOPSPerGPU, nil
	case "hardware_tflops_per_gpu":
		return r.HardwareTFLOPSPerGPU, nil
	case "mfu":
		return r.MFU, nil
	case "bubble_fraction":
		return r.BubbleFraction, nil
	case "exposed_comm_fraction":
		return r.ExposedCommFraction, nil
	case "packing_gap", "packing_speedup":
		return r.Packing.metric(name)
	case "launch_bound_fraction":
		return r.Launching.BoundFraction, nil
	case "peak_memory_gib":
		return r.PeakMemoryGiB, nil
	case "fits":
		if r.Fits {
			return 1, nil
		}
		return 0, nil
	}
	return r.Experts.metric(name)
}
