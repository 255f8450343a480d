package plan

import (
	"fmt"
	"slices"

	"orrery/scenarios"
	"orrery/sim/hw"
	"orrery/sim/unit"
)

// Ledger is the memory of one rank that does not change during the forward and
// backward passes, in bytes by what it is for.
type Ledger struct {
	Weights, Gradients, Optimizer float64
	// Transient: gathered layers (ZeRO-3), the logits of the last stage and what
	// the loss needs beside them, the working memory of one layer's backward.
	Gathered, Logits, Workspace float64
	Buffers                     float64 // of communication
	Replicas                    float64 // redundant experts' weights and gradients
}

// Items names the ledger's entries in a fixed order.
func (l Ledger) Items() []LedgerItem {
	return []LedgerItem{{"weights", l.Weights}, {"gradients", l.Gradients}, {"optimizer", l.Optimizer},
		{"gathered_params", l.Gathered}, {"logits", l.Logits}, {"workspace", l.Workspace}, {"comm_buffers", l.Buffers}, {"replica_slots", l.Replicas}}
}

// LedgerItem is one entry of a Ledger, in bytes.
type LedgerItem struct {
	Name  string
	Bytes float64
}

// Sum is the ledger's total in bytes.
func (l Ledger) Sum() float64 {
	s := 0.0
	for _, it := range l.Items() {
		s += it.Bytes
	}
	return s
}

// QuantisedCopies is how many quantised copies of an operand a linear layer
// keeps: none in 16-bit formats; one of tensor-scaled fp8 on Blackwell, whose
// GEMMs take both layouts; two otherwise (plain and transposed on Hopper, row-
// and column-wise for block formats), as Transformer Engine does.
func (p *Plan) QuantisedCopies() float64 {
	switch p.Scenario.Training.Precision {
	case scenarios.PrecBF16, scenarios.PrecFP16:
		return 0
	case scenarios.PrecFP8:
		if g, err := hw.LookupGPU(p.Scenario.Cluster.GPU); err == nil && g.Arch >= "sm100" && len(g.Arch) > 4 {
			return 1
		}
	}
	return 2
}

// weightBytes per parameter of linear layers: the working copy, and the
// quantised ones that are kept for the step.
func (p *Plan) weightBytes() float64 {
	quantised := p.QuantisedCopies() * p.Scenario.Training.Precision.DType().Bytes()
	if p.Scenario.Framework.FP8Params && quantised > 0 {
		return quantised
	}
	return 2 + quantised
}

// Static is the ledger of a pipeline rank.
func (p *Plan) Static(rank int) Ledger {
	par, fw, tr := p.Scenario.Parallel, p.Scenario.Framework, p.Scenario.Training
	dense, expert := p.RankParams(rank)
	fDense, fExpert := float64(dense), float64(expert)
	shard, eshard := float64(p.Groups.Shard.Ranks), float64(max(p.Groups.ExpertShard.Ranks, 1))
	all := fDense + fExpert
	var l Ledger
	l.Weights = all * p.weightBytes()
	moments := 2.0
	if tr.Optimizer == "sgd" { // with momentum
		moments = 1
	}
	grad, state := fw.GradDType.Bytes(), fw.MainParamDType.Bytes()+moments*fw.MomentDType.Bytes()
	l.Gradients = all * grad
	sharded := fDense/shard + fExpert/eshard
	l.Optimizer = all * state
	if par.ZeRO >= 1 {
		l.Optimizer = sharded * state
	}
	unitBytes := p.largestUnit(rank)
	switch {
	case par.ZeRO == 3 && par.PP == 1:
		// Master weights are the sharded parameters themselves (FSDP mixed precision).
		l.Weights = sharded * fw.MainParamDType.Bytes()
		l.Optimizer = sharded * moments * fw.MomentDType.Bytes()
		l.Gradients = sharded * fw.MainParamDType.Bytes()
		l.Gathered = 2*unitBytes*2 + unitBytes*fw.GradDType.Bytes()
	case par.ZeRO >= 2 && par.PP == 1:
		l.Gradients = sharded*grad + unitBytes*grad
	}
	if tr.Finetune == "lora" {
		a := float64(p.AdapterParams(rank))
		l.Gradients, l.Optimizer = a*grad, a*state
		l.Weights += 2 * a
	}
	if tr.Optimizer == "none" {
		l.Optimizer = 0
	}
	if last := p.headStage(); p.Slices() == 1 && p.Varlen == nil && !p.VocabParallel() && slices.Contains(p.Held[rank], last) {
		l.Logits = p.LogitsBytes()
	}
	p.towerStatic(rank, &l)
	l.Workspace = p.workspaceBytes()
	if p.Routing != nil {
		l.Workspace += p.hottest[rank].Workspace
		l.Replicas = p.replicaBytes(rank)
	}
	return l
}

// headStage is the stage that has the output layer.
func (p *Plan) headStage() int {
	return slices.IndexFunc(p.Stages, func(s Stage) bool { return s.Head })
}

// largestUnit is the number of parameters of the largest FSDP unit of a rank.
func (p *Plan) largestUnit(rank int) float64 {
	var m int64
	for _, s := range p.Held[rank] {
		st := p.Stages[s]
		for i := range st.Layers {
			d, e := p.LayerParams(st.First + i)
			m = max(m, d+e)
		}
	}
	return float64(m)
}

// LogitsBytes of one pass: Tokens x V/TP (with vocabulary parallelism V/(TP x
// PP)) in bf16 and the fp32 copy that the loss keeps for
// its backward pass, or with fused cross entropy the bf16 logits alone, which
// the gradient replaces (research: Megatron VocabParallelCrossEntropy).
func (p *Plan) LogitsBytes() float64 {
	v := float64(p.Tokens) * float64(p.Vocab) / float64(p.Scenario.Parallel.TP)
	if p.VocabParallel() {
		v /= float64(p.Scenario.Parallel.PP)
	}
	if p.Scenario.Framework.FusedCrossEntropy {
		return 2 * v
	}
	return (2 + 4 + 2) * v
}

// workspaceBytes is what one layer's backward needs beside its activations:
// the gradients of its widest tensor and of its input.
func (p *Plan) workspaceBytes() float64 {
	tp := float64(p.Scenario.Parallel.TP)
	t := float64(p.Tokens)
	m := p.Model
	wide := float64(m.FFN)
	if m.Gated {
		wide *= 2
	}
	if m.MoE != nil {
		w := float64(m.MoE.TopK*m.MoE.FFN) * 2
		wide = max(wide, w+float64(m.MoE.TopK*m.Hidden)*tp/tp)
	}
	w := 2 * t * (wide/tp + 2*float64(m.Hidden))
	if p.fullRecompute() {
		w += t * p.layerBytes(m.Layers-1, false)
	}
	return w
}

func (p *Plan) fullRecompute() bool { return p.Scenario.Training.Recompute.Mode == "full" }

// layerBytes is what one layer keeps for its backward pass, per token of this
// rank's microbatch, with or without the recomputation that the scenario asks.
func (p *Plan) layerBytes(layer int64, recompute bool) float64 {
	l := &p.sizes[p.alike(layer)]
	if recompute {
		return l.recompute
	}
	return l.kept
}

func (p *Plan) keptBytes(layer int64, recompute bool) float64 {
	par, rc := p.Scenario.Parallel, p.Scenario.Training.Recompute
	fp8 := p.QuantisedCopies() > 0
	lora := p.Scenario.Training.Finetune == "lora"
	sum := 0.0
	for _, a := range *p.keptBy(layer) {
		if recompute && rc.Mode == "selective" && a.FreedBy(rc.Parts) {
			continue
		}
		if lora && a.LinearInput && a.Group != "attn" && p.Scenario.Training.LoRATargets != "all" {
			continue // a frozen weight without adapter has no gradient to compute from its input
		}
		b := a.PerRank(par.TP, par.ETP, par.SP)
		if fp8 && a.LinearInput {
			b /= 2 // the saved input of a linear layer is the quantised one
		}
		sum += b
	}
	return sum
}

// ActivationBytes is what one pass keeps on a rank from the forward to the
// backward pass of a stage. The keys and values of a slice are kept for the ones
// after it whatever is recomputed, and its logits until the loss of the whole
// microbatch is known.
func (p *Plan) ActivationBytes(stage int) float64 {
	rc, par := p.Scenario.Training.Recompute, p.Scenario.Parallel
	st, t := p.Stages[stage], float64(p.Tokens)
	input := 2 * float64(p.Model.Hidden) // a recomputed layer keeps its input only
	if par.SP {
		input /= float64(par.TP)
	}
	sum := 0.0
	for i := range st.Layers {
		if rc.Mode == "full" && (rc.Layers == 0 || i < rc.Layers) {
			sum += t * input
			if p.Slices() > 1 || p.Varlen != nil {
				sum += t * p.kvBytes(st.First+i)
			}
		} else {
			sum += t * p.layerBytes(st.First+i, true)
		}
	}
	if st.Head && (!p.VocabParallel() || p.VocabPasses()) {
		sum += 2 * t * input // input and output of the final norm
		if p.Slices() > 1 {
			sum += p.LogitsBytes()
		}
	}
	return sum
}

// kvBytes are the keys and values of a layer, per token of this rank.
func (p *Plan) kvBytes(layer int64) float64 {
	sum := 0.0
	for _, a := range *p.keptBy(layer) {
		if a.Name == "attn.k" || a.Name == "attn.v" {
			sum += a.PerRank(p.Scenario.Parallel.TP, p.Scenario.Parallel.ETP, p.Scenario.Parallel.SP)
		}
	}
	return sum
}

// OffloadBytes is what a pass of a stage moves to the host until its backward
// pass: the scenario's share of its activations but for keys and values, which
// later slices read.
func (p *Plan) OffloadBytes(stage int) float64 {
	share := p.Scenario.Schedule.Offload
	if share == 0 {
		return 0
	}
	st := p.Stages[stage]
	left := p.ActivationBytes(stage)
	for i := range st.Layers {
		left -= float64(p.Tokens) * p.kvBytes(st.First+i)
	}
	if st.Head && !p.VocabParallel() {
		left -= p.LogitsBytes()
	}
	return share * max(left, 0)
}

// KVGradBytes are the gradients of the keys and values of one slice in a stage,
// which the slices after it add to; zero where sequences are whole.
func (p *Plan) KVGradBytes(stage int) float64 {
	if p.Slices() == 1 {
		return 0
	}
	sum, st := 0.0, p.Stages[stage]
	for i := range st.Layers {
		sum += float64(p.Tokens) * p.kvBytes(st.First+i)
	}
	return sum
}

// WeightGradBytes is what a pass keeps for the gradients of a stage's weights
// once those of its inputs are done: the inputs of its linear layers and the
// gradients of their outputs (Zero Bubble, arXiv:2401.10241, section 2.1).
func (p *Plan) WeightGradBytes(stage int) float64 {
	sum, st, par := 0.0, p.Stages[stage], p.Scenario.Parallel
	out := map[string]bool{"attn.q": true, "attn.k": true, "attn.v": true, "mlp.fc1_out": true, "mlp.shared_fc1": true}
	for i := range st.Layers {
		for _, a := range *p.keptBy(st.First + i) {
			if a.LinearInput || out[a.Name] { // a gradient has the size of its tensor
				sum += float64(p.Tokens) * a.PerRank(par.TP, par.ETP, par.SP)
			}
		}
		residual := 2 * 2 * float64(p.Model.Hidden) // of the outputs of attention and MLP
		if par.SP {
			residual /= float64(par.TP)
		}
		sum += float64(p.Tokens) * residual
	}
	return sum
}

// Describe says what a ledger is made of, for errors.
func (l Ledger) Describe() string {
	s := ""
	for _, it := range l.Items() {
		if it.Bytes > 0 {
			s += fmt.Sprintf(" %s %s", it.Name, unit.Bytes(it.Bytes))
		}
	}
	return s
}
