package scenarios

import (
	"fmt"
	"math"
	"slices"
)

// Data is what the sequences of a step are. Where the model lists its layers, a
// sequence is a dialogue of utterances, one where there are no dialogues; samples of
// other models are whole, or packed.
type Data struct {
	UtteranceTokens, UtteranceSigma   float64 // of the log-normal distribution of lengths
	DialogueUtterances, DialogueSigma float64
	LongestDialogue                   int64
	Padding                           string // longest, max, none
	Seed                              int64
	Consistency                       bool
	ByDialogue                        bool

	Packing
}

// dataDefaults fills the lengths' distributions.
func (r *resolver) dataDefaults() {
	d, longest := &r.s.Data, r.s.Training.SequenceLength
	spread := 0.5
	if !r.settled("data.utterance_tokens") {
		r.settle("data.utterance_tokens", float64(longest), "derived: training.sequence_length")
		spread = 0
	}
	r.settle("data.utterance_sigma", spread, "default")
	spread = 0.5
	if d.DialogueUtterances == 1 {
		spread = 0
	}
	r.settle("data.dialogue_sigma", spread, "default")
	most := int64(1)
	if d.DialogueUtterances > 1 {
		most = int64(math.Ceil(4 * d.DialogueUtterances))
	}
	r.settle("data.longest_dialogue", most, "derived: 4 x dialogue_utterances, 1 of 1")
}

// checkData holds what only models that list their layers have, and what they do
// not have, against the rest.
func (r *resolver) checkData() {
	r.checkPacking()
	if r.s.Model.Net == nil {
		for _, f := range schema {
			if f.net && f.otherData(&r.s) && r.wrote(f.key) {
				r.fail([]string{f.key}, "sequences of a transformer are whole", show(r.given[f.key].raw), "models that list their layers, as xlm-r-base-slu and co-gat-dailydialog")
			}
		}
		return
	}
	d, t := &r.s.Data, &r.s.Training
	if d.UtteranceTokens > float64(t.SequenceLength) {
		r.fail([]string{"data.utterance_tokens", "training.sequence_length"}, "the mean is above the longest, training.sequence_length", fmt.Sprint(d.UtteranceTokens), fmt.Sprintf("up to %d", t.SequenceLength))
	}
	if d.DialogueUtterances > float64(d.LongestDialogue) {
		r.fail([]string{"data.dialogue_utterances", "data.longest_dialogue"}, "the mean is above the longest, data.longest_dialogue", fmt.Sprint(d.DialogueUtterances), fmt.Sprintf("up to %d", d.LongestDialogue))
	}
	longest := int64(maxSteps)
	if n := r.s.Model.LongestUtterance(); n > 0 {
		longest = min(longest, n)
	}
	if t.SequenceLength > longest {
		r.fail([]string{"training.sequence_length", "model.name"}, "utterances are longer than "+r.s.Model.Name+" has positions or steps for", fmt.Sprint(t.SequenceLength), fmt.Sprintf("up to %d", longest))
	}
	if most := float64(t.GlobalBatch) * float64(d.LongestDialogue); most > maxDrawn {
		r.fail([]string{"training.global_batch", "data.longest_dialogue"}, "too many utterances in a step", fmt.Sprintf("%d sequences of up to %d", t.GlobalBatch, d.LongestDialogue), fmt.Sprintf("up to %d", maxDrawn))
	}
	if t.Microbatches > maxSteps {
		r.fail([]string{"training.microbatches", "training.global_batch"}, "too many microbatches, each of which has a shape of its own", fmt.Sprint(t.Microbatches), fmt.Sprintf("up to %d", maxSteps))
	}
	if d.ByDialogue && t.MicroBatch > maxSteps {
		r.fail([]string{"training.micro_batch", "data.by_dialogue"}, "too many dialogues to loop over", fmt.Sprint(t.MicroBatch), fmt.Sprintf("up to %d, or data.by_dialogue = false", maxSteps))
	}
	if d.Consistency && len(r.s.Model.Losses()) == 0 {
		r.fail([]string{"data.consistency"}, "the model has no outputs to make consistent", "true", "false")
	}
	r.checkNetParallel()
	r.checkNetTraining()
}

// Bounds of what is drawn or launched one by one: utterances of a step, each of
// which has a length; steps of a recurrent layer, microbatches, and loops.
const (
	maxDrawn = 1 << 22
	maxSteps = 4096
)

// checkNetParallel: layers that are no transformer's are replicated, not cut.
func (r *resolver) checkNetParallel() {
	p := &r.s.Parallel
	for _, d := range []struct {
		key string
		n   int64
	}{{"parallel.tp", p.TP}, {"parallel.cp", p.CP}, {"parallel.pp", p.PP}, {"parallel.vp", p.VP}} {
		if d.n > 1 {
			r.fail([]string{d.key}, "a model that lists its layers runs data parallel only", fmt.Sprint(d.n), "1")
		}
	}
	if p.ZeRO > 0 {
		r.fail([]string{"parallel.zero", "framework.preset"}, "a model that lists its layers is not sharded", fmt.Sprint(p.ZeRO), `0, as framework.preset = "ddp" has it`)
	}
	if sc := &r.s.Schedule; sc.Name != "none" || sc.Slices > 1 {
		r.fail([]string{"schedule.name", "schedule.slices"}, "a model that lists its layers has no pipeline", fmt.Sprintf("%s of %d slices", sc.Name, sc.Slices), `schedule.name = "none" of 1 slice`)
	}
}

func (r *resolver) checkNetTraining() {
	t, f := &r.s.Training, &r.s.Framework
	if t.Recompute.Mode != "none" {
		r.fail([]string{"training.recompute"}, "recomputation is not modelled where a model lists its layers", show(t.Recompute.String()), "none")
	}
	if t.Finetune != "none" {
		r.fail([]string{"training.finetune"}, "adapters are not modelled where a model lists its layers", show(t.Finetune), "none")
	}
	if !slices.Contains([]Precision{PrecBF16, PrecFP16}, t.Precision) {
		r.fail([]string{"training.precision"}, "a model that lists its layers runs in 16 bits", show(string(t.Precision)), "bf16, fp16")
	}
	if f.FP8Attention {
		r.fail([]string{"framework.fp8_attention"}, "a model that lists its layers runs in 16 bits", "true", "false")
	}
}

// listedModel reports whether the model lists its layers, whose sizes are not
// changed key by key.
func (r *resolver) listedModel() bool {
	if r.s.Model.Net == nil {
		return false
	}
	for _, f := range modelKeys {
		if f.key != "model.name" && f.key != "model.title" && r.wrote(f.key) {
			r.fail([]string{f.key}, r.s.Model.Name+" lists its layers, whose sizes are not keys", show(r.given[f.key].raw), "model.name alone")
		}
	}
	return true
}
