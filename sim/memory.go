package sim

import (
	"cmp"
	"fmt"
	"slices"

	"orrery/models"
	"orrery/schedules/pipeline"
	"orrery/sim/hw"
	"orrery/sim/lower"
	"orrery/sim/program"
	"orrery/sim/unit"
)

// contextGiB is what a process holds outside the framework's allocator: the
// CUDA context, cuBLAS and cuDNN workspaces and NCCL's buffers. Assumed; on
// Hopper a context with these libraries shows 1.5-3 GiB in nvidia-smi.
const contextGiB = 2.0

// fragmentation is the assumed share of allocated memory that the caching
// allocator holds beside it.
const fragmentation = 0.03

// MemoryPoint is the memory of a rank from a time on.
type MemoryPoint struct {
	At    unit.Time
	Bytes float64
	Op    program.OpID // whose start or end it is
}

// MemoryCurve is what a pipeline rank holds over the step: its static ledger
// and the activations in flight. At one instant frees come before allocations.
func (r *Run) MemoryCurve(rank int) []MemoryPoint {
	p, t := r.Step.Program, r.Timeline
	instance := r.firstInstance()
	type event struct {
		at    unit.Time
		bytes int64
		op    program.OpID
	}
	var events []event
	for _, m := range p.Mem {
		if int(m.Rank) != rank {
			continue
		}
		at := t.End[instance(m.Op)]
		if m.AtStart {
			at = t.Start[instance(m.Op)]
		}
		events = append(events, event{at, m.Bytes, instance(m.Op)})
	}
	slices.SortFunc(events, func(a, b event) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.bytes, b.bytes), cmp.Compare(a.op, b.op))
	})
	l := r.Plan.Static(rank)
	base := l.Sum() - l.Logits - l.Workspace
	out := []MemoryPoint{{0, base, program.None}}
	sum := int64(0)
	for _, e := range events {
		sum += e.bytes
		out = append(out, MemoryPoint{e.at, base + float64(sum), e.op})
	}
	return out
}

// firstInstance maps an op of the folded program to the first of its copies in
// the program that ran.
func (r *Run) firstInstance() func(program.OpID) program.OpID {
	if r.folded == nil {
		return func(id program.OpID) program.OpID { return id }
	}
	if r.first == nil {
		r.first = make([]program.OpID, r.Step.Program.Len())
		for i := len(r.folded) - 1; i >= 0; i-- {
			r.first[r.folded[i]] = program.OpID(i)
		}
	}
	return func(id program.OpID) program.OpID { return r.first[id] }
}

// memory fills the peaks and the verdict. The transient part of the ledger
// (logits, one layer's workspace) counts at the peak.
func (r *Run) memory(gpu *hw.GPU) {
	res := r.Result
	gib := float64(unit.GiB)
	for rank := range r.Step.Lanes {
		l := r.Plan.Static(rank)
		var peak MemoryPoint
		for _, pt := range r.MemoryCurve(rank) {
			if pt.Bytes > peak.Bytes {
				peak = pt
			}
		}
		sm := StageMemory{Stage: rank, At: r.OpName(peak.Op), Breakdown: map[string]float64{}}
		total := peak.Bytes + l.Logits + l.Workspace
		for _, it := range l.Items() {
			if it.Bytes > 0 {
				sm.Breakdown[it.Name] = it.Bytes / gib
			}
		}
		sm.Breakdown["activations"] = (peak.Bytes - (l.Sum() - l.Logits - l.Workspace)) / gib
		sm.PeakGiB = total / gib
		res.MemoryGiBByStage = append(res.MemoryGiBByStage, sm)
		res.PeakMemoryGiB = max(res.PeakMemoryGiB, sm.PeakGiB)
	}
	res.MegatronEstimateGiB = r.megatronEstimate() / gib
	need := res.PeakMemoryGiB*(1+fragmentation) + contextGiB
	have := gpu.HBM.GiB()
	res.Fits = need <= have
	if !res.Fits {
		res.FitAdvice = fmt.Sprintf("does not fit by %.1f GiB (%.1f GiB allocated, with fragmentation and contexts %.1f GiB, of %.1f GiB); %s",
			need-have, res.PeakMemoryGiB, need, have, r.cheapestFit(have))
	}
}

// OpName names an op for people.
func (r *Run) OpName(id program.OpID) string {
	if id == program.None {
		return "start"
	}
	tag := r.Tag(id)
	what := "backward"
	if tag.Phase == pipeline.F {
		what = "forward"
	}
	if tag.Microbatch < 0 {
		return r.Program.Works[r.Program.Work[id]].Name
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
	if r.folded == nil {
		return fmt.Sprintf("stage %d", rank)
	}
	return fmt.Sprintf("stage %d, copy %d", rank%pp, rank/pp)
}

// megatronEstimate is what Megatron-LM's theoretical_memory_usage.py would
// print, in bytes.
func (r *Run) megatronEstimate() float64 {
	par, tr := r.Scenario.Parallel, r.Scenario.Training
	vp := par.VP
	if vp == 1 {
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
