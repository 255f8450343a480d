package sim

import (
	"context"
	"fmt"

	"orrery/models"
	"orrery/schedules/pipeline"
	"orrery/sim/hw"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/timeline"
	"orrery/sim/unit"
)

// contextGiB is what a process holds outside the framework's allocator: the
// CUDA context, cuBLAS and cuDNN workspaces and NCCL's buffers. Assumed; on
// Hopper a context with these libraries shows 1.5-3 GiB in nvidia-smi.
const contextGiB = 2.0

// fragmentation is the assumed share of allocated memory that the caching
// allocator holds beside it.
const fragmentation = 0.03

// towerClasses are the classes of memory of encoder and generator, as reports call them.
var towerClasses = map[int]string{lower.MemEncoder: "encoder_activations", lower.MemGenerator: "generator_activations"}

// HeldBytes is what each pipeline rank holds all through the step; copies of a
// rank in an expanded program hold the same and are left out.
func (r *Run) HeldBytes() []unit.Bytes {
	out := make([]unit.Bytes, len(r.Step.Lanes))
	for rank := range out {
		l := r.Plan.Static(rank % r.stages())
		out[rank] = unit.Bytes(l.Sum() - l.Logits - l.Workspace)
	}
	return out
}

// MemoryCurve is what a pipeline rank holds over the step: its static ledger
// and the activations in flight.
func (r *Run) MemoryCurve(rank int) []timeline.MemoryPoint {
	held := int64(r.HeldBytes()[rank])
	out := []timeline.MemoryPoint{{Op: program.None, Bytes: held}}
	for _, pt := range r.activations()[rank].Curve {
		pt.Bytes += held
		out = append(out, pt)
	}
	return out
}

// stages is the number of ranks of a pipeline. Where samples are packed, the lanes of
// one replica follow those of another.
func (r *Run) stages() int { return int(r.Scenario.Parallel.PP) }

// fullest is the memory of a pipeline rank: of the replica that holds most at its peak,
// where they differ.
func (r *Run) fullest(stage int) timeline.Memory {
	all := r.activations()
	most := all[stage]
	for rank := stage + r.stages(); rank < len(r.Step.Lanes); rank += r.stages() {
		if all[rank].Peak.Bytes > most.Peak.Bytes {
			most = all[rank]
		}
	}
	return most
}

// activations is the memory of the program's own events, by rank.
func (r *Run) activations() []timeline.Memory {
	if r.inFlight == nil {
		r.inFlight = r.Timeline.Memory()
	}
	return r.inFlight
}

// memory fills the peaks and the verdict. The transient part of the ledger
// (logits, one layer's workspace) counts at the peak.
func (r *Run) memory(ctx context.Context, gpu *hw.GPU) {
	res := r.Result
	gib := float64(unit.GiB)
	for stage := range r.stages() {
		held := r.fullest(stage)
		l, peak := r.Plan.Static(stage), held.Peak
		sm := StageMemory{Stage: stage, At: r.OpName(peak.Op), Expert: r.hotRank(stage), Breakdown: map[string]float64{}}
		total := float64(peak.Bytes) + l.Sum()
		for _, it := range l.Items() {
			if it.Bytes > 0 {
				sm.Breakdown[it.Name] = it.Bytes / gib
			}
		}
		sm.Breakdown["activations"] = float64(peak.Bytes) / gib
		for class, name := range towerClasses {
			if of := held.PeakByClass; class < len(of) && of[class] > 0 {
				sm.Breakdown[name] = float64(of[class]) / gib
				sm.Breakdown["activations"] -= float64(of[class]) / gib
			}
		}
		sm.PeakGiB = total / gib
		res.MemoryGiBByStage = append(res.MemoryGiBByStage, sm)
		res.PeakMemoryGiB = max(res.PeakMemoryGiB, sm.PeakGiB)
	}
	res.MegatronEstimateGiB = r.megatronEstimate() / gib
	need := res.PeakMemoryGiB*(1+fragmentation) + contextGiB
	have := gpu.HBM.GiB()
	res.Fits = need <= have
	if !res.Fits {
		res.FitAdvice = fmt.Sprintf("does not fit by %.1f GiB (%.1f GiB allocated, with fragmentation and contexts %.1f GiB, of %.1f GiB)",
			need-have, res.PeakMemoryGiB, need, have) + res.outOfMemory()
		if !r.opt.NoAdvice {
			res.FitAdvice += "; " + r.cheapestFit(ctx)
		}
	}
}

// OpName names an op for people.
func (r *Run) OpName(id program.OpID) string {
	if id == program.None {
		return "start"
	}
	tag := r.Tag(id)
	what := "backward"
	switch tag.Phase {
	case pipeline.F:
		what = "forward"
	case pipeline.S:
		what = "output layer's share"
	}
	if tag.Microbatch < 0 {
		return r.Program.Works[r.Program.Work[id]].Name
	}
	if r.Plan.Varlen != nil {
		return fmt.Sprintf("%s of unit %d, stage %d", what, tag.Microbatch, tag.Stage)
	}
	if int(tag.Stage) < len(r.Plan.Stages) && r.Plan.Stages[tag.Stage].Module != pipeline.LLM {
		return fmt.Sprintf("%v %s of microbatch %d", r.Plan.Stages[tag.Stage].Module, what, tag.Microbatch)
	}
	return fmt.Sprintf("%s of microbatch %d, stage %d", what, tag.Microbatch, tag.Stage)
}

// Tag tells what an op of the program that ran belongs to.
func (r *Run) Tag(id program.OpID) lower.Tag {
	if r.folded != nil {
		id = r.folded[id]
	}
	return r.Step.Tags[id]
}

// RankName names a rank of the program that ran.
func (r *Run) RankName(rank int) string {
	pp := len(r.Step.Lanes)
	if r.Plan.Varlen != nil {
		name := fmt.Sprintf("replica %d, stage %d", rank%pp/r.stages(), rank%r.stages())
		if r.folded != nil {
			name += fmt.Sprintf(", copy %d", rank/pp)
		}
		return name
	}
	if r.folded == nil {
		return fmt.Sprintf("stage %d", rank)
	}
	return fmt.Sprintf("stage %d, copy %d", rank%pp, rank/pp)
}

// megatronEstimate is what Megatron-LM's theoretical_memory_usage.py would
// print, in bytes.
func (r *Run) megatronEstimate() float64 {
	if r.Plan.Varlen != nil || len(r.Plan.Towers()) > 0 { // neither of which the script knows
		return 0
	}
	par, tr := r.Scenario.Parallel, r.Scenario.Training
	if r.Plan.Model.Net != nil { // the script knows transformers
		return 0
	}
	vp := par.VP
	if vp == 1 || r.Plan.Copies != nil { // the script knows no copies
		vp = 0
	}
	states, activations, err := models.MegatronMemory{
		Seq: tr.SequenceLength, MicroBatch: tr.MicroBatch, Microbatches: r.Plan.Microbatches,
		TP: par.TP, PP: par.PP, VP: vp, DP: par.DP * par.CP, EP: par.EP, ETP: par.ETP,
		DistributedOptimizer: par.ZeRO >= 1, SequenceParallel: par.SP, Selective: true, PaddedVocab: r.Plan.Vocab,
	}.Estimate(r.Plan.Model)
	if err != nil {
		return 0
	}
	return states + activations/float64(par.CP)
}
