package scenarios

import (
	"fmt"
	"slices"
	"strings"

	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// check holds the settled keys against each other.
func (r *resolver) check() {
	r.checkHeads()
	r.checkSequence()
	r.checkExperts()
	r.checkRouting()
	r.checkServing()
	r.checkSchedule()
	r.checkSharding()
	r.checkTraining()
	r.checkOrder()
	r.checkTowers()
	r.checkData()
}

// divides fails unless d divides n.
func (r *resolver) divides(n, d int64, what string, keys ...string) {
	if d < 1 || n%d != 0 {
		r.fail(keys, "does not divide "+what, fmt.Sprint(d), fmt.Sprintf("divisors of %d", n))
	}
}

func (r *resolver) checkHeads() {
	m, p := &r.s.Model, &r.s.Parallel
	kv := m.Attn.KVHeads
	switch {
	case m.Attn.Heads%p.TP != 0:
		r.divides(m.Attn.Heads, p.TP, "model.heads", "parallel.tp", "model.heads")
	case !m.Attn.MLA() && kv > 0 && kv%p.TP != 0 && p.TP%kv != 0:
		r.fail([]string{"parallel.tp", "model.kv_heads"}, "neither divides model.kv_heads nor is a multiple of it", fmt.Sprint(p.TP), fmt.Sprintf("divisors and multiples of %d", kv))
	case m.Hidden%p.TP != 0:
		r.divides(m.Hidden, p.TP, "model.hidden", "parallel.tp", "model.hidden")
	default:
		r.divides(m.FFN, p.TP, "model.ffn", "parallel.tp", "model.ffn")
	}
}

func (r *resolver) checkSequence() {
	m, p, t := &r.s.Model, &r.s.Parallel, &r.s.Training
	chunks := p.CP * r.s.Schedule.Slices
	if p.CP > 1 && p.CPKind != "a2a" {
		// Causal attention is balanced by giving each rank two chunks, the i-th
		// from either end (Llama 3, arXiv:2407.21783, section 3.3.2).
		chunks *= 2
	}
	switch {
	case p.CP > 1 && p.CPKind == "a2a" && m.Attn.Heads%(p.TP*p.CP) != 0:
		r.fail([]string{"parallel.cp", "parallel.cp_kind"}, "a2a exchanges heads: tp x cp does not divide model.heads", fmt.Sprintf("tp %d, cp %d", p.TP, p.CP), fmt.Sprintf("tp x cp a divisor of %d", m.Attn.Heads))
	case r.s.Schedule.Slices > 1 && p.CP > 1 && p.CPKind != "query":
		r.fail([]string{"parallel.cp_kind", "schedule.slices", "parallel.cp"}, "slices leave their keys and values where they are", fmt.Sprintf("%q", p.CPKind), `parallel.cp_kind = "query", or schedule.slices = 1`)
	case t.SequenceLength%chunks != 0 && r.s.Schedule.Slices > 1:
		r.fail([]string{"schedule.slices", "parallel.cp", "training.sequence_length"}, fmt.Sprintf("training.sequence_length is not cut into %d equal pieces (slices x cp, twice where cp is above 1)", chunks), fmt.Sprint(r.s.Schedule.Slices), fmt.Sprintf("slices such that they divide %d", t.SequenceLength))
	case t.SequenceLength%chunks != 0:
		r.fail([]string{"parallel.cp", "training.sequence_length"}, fmt.Sprintf("training.sequence_length is not cut into %d equal chunks", chunks), fmt.Sprint(p.CP), fmt.Sprintf("cp such that %d divides by 2 x cp (a2a: cp)", t.SequenceLength))
	case p.SP && p.TP == 1:
		r.fail([]string{"parallel.sp"}, "nothing to split over, tp is 1", "true", "false, or tp above 1")
	case p.SP:
		r.divides(t.SequenceLength/p.CP/r.s.Schedule.Slices, p.TP, "training.sequence_length / (cp x slices), which sequence parallelism splits", "parallel.tp", "training.sequence_length")
	}
	if tokens, ok := product(t.GlobalBatch, t.SequenceLength); !ok || tokens > 1<<53 {
		r.fail([]string{"training.global_batch", "training.sequence_length"}, "too many tokens in a step", fmt.Sprintf("%d sequences of %d", t.GlobalBatch, t.SequenceLength), "up to 2^53 tokens")
	}
}

func (r *resolver) checkExperts() {
	m, p := r.s.Model.MoE, &r.s.Parallel
	if m == nil {
		if p.EP > 1 {
			r.fail([]string{"parallel.ep"}, "the model has no experts", fmt.Sprint(p.EP), "1")
		}
		return
	}
	r.divides(m.Experts, p.EP, "model.experts", "parallel.ep", "model.experts")
	r.divides(m.FFN, p.ETP, "model.moe_ffn", "parallel.etp", "parallel.tp", "model.moe_ffn")
	r.divides(m.SharedFFN, p.TP, "model.shared_ffn", "parallel.tp", "model.shared_ffn")
	r.checkDispatch()
}

// checkDispatch refuses what only the kernels made for expert exchange do, where
// others run.
func (r *resolver) checkDispatch() {
	f := &r.s.Framework
	if f.MoEDispatcher != "deepep" && f.MoEDispatcher != "hybridep" {
		if f.MoEDispatchDType != unit.BF16 {
			r.fail([]string{"framework.moe_dispatch_dtype", "framework.moe_dispatcher"}, f.MoEDispatcher+" sends bf16", show(string(f.MoEDispatchDType)), `"bf16", or framework.moe_dispatcher "deepep" or "hybridep"`)
		}
		if f.MoEDispatchSMs > 0 {
			r.fail([]string{"framework.moe_dispatch_sms", "framework.moe_dispatcher"}, f.MoEDispatcher+" takes as many channels as NCCL gives it", fmt.Sprint(f.MoEDispatchSMs), `0, or framework.moe_dispatcher "deepep" or "hybridep"`)
		}
		if f.MoEDomains > 0 {
			r.fail([]string{"framework.moe_domains", "framework.moe_dispatcher"}, f.MoEDispatcher+" sends a copy of a token for each of its experts, wherever they are", fmt.Sprint(f.MoEDomains), `0, or framework.moe_dispatcher "deepep" or "hybridep"`)
		}
	}
}

func (r *resolver) checkSchedule() {
	p, sc, m := &r.s.Parallel, &r.s.Schedule, r.s.Training.Microbatches
	order, err := r.order()
	if err == nil {
		err = order.Check(pipeline.Shape{Devices: int(p.PP), Virtual: int(p.VP), Microbatches: int(m), Slices: int(sc.Slices), Group: int(sc.GroupSize)})
	}
	if sc.ContextExchange && sc.Name != "slimpipe" {
		r.fail([]string{"schedule.context_exchange", "schedule.name"}, "the exchange follows SlimPipe's order", "true", `false, or schedule.name = "slimpipe"`)
	}
	r.checkOwnKeys()
	r.checkVocabulary()
	r.checkPieces()
	r.checkPairs()
	if sc.Offload > 0 && sc.Name != "slimpipe" {
		r.fail([]string{"schedule.offload", "schedule.name"}, "offloading follows SlimPipe's order", fmt.Sprint(sc.Offload), `0, or schedule.name = "slimpipe"`)
	}
	if err != nil {
		keys := []string{"schedule.name"}
		if sc.Name == fileOrder {
			keys = []string{"schedule.file", "schedule.name"}
		}
		r.fail(append(keys, "schedule.group_size", "schedule.slices", "parallel.vp", "parallel.pp", "training.microbatches", "training.global_batch"),
			err.Error(), fmt.Sprintf("%s of pp %d, vp %d, %d microbatches", sc.Name, p.PP, p.VP, m), "")
	}
}

// checkPairs refuses what a pair of overlapped passes cannot be joined with.
func (r *resolver) checkPairs() {
	p, sc := &r.s.Parallel, &r.s.Schedule
	switch {
	case !sc.OverlapPairs:
	case !hasPairs(sc):
		r.fail([]string{"schedule.overlap_pairs", "schedule.name"}, "schedule "+sc.Name+" has no pairs", "true", `false, or schedule.name = "dualpipe" or "dualpipev"`)
	case r.s.Framework.OverlapEP:
		r.fail([]string{"framework.overlap_ep", "schedule.overlap_pairs", "schedule.name"}, "pairs of passes hide the expert exchange already", "true", "false, or schedule.overlap_pairs = false")
	case p.PP == 1 && p.ZeRO >= 2:
		r.fail([]string{"parallel.zero", "schedule.overlap_pairs", "schedule.name"}, "without a pipeline every pass gathers or reduces on its own, which pairs do not do", fmt.Sprint(p.ZeRO), "0 or 1, or schedule.overlap_pairs = false")
	}
}

func (r *resolver) checkSharding() {
	p, f := &r.s.Parallel, &r.s.Framework
	r.divides(p.DP*p.CP, p.Shard, "dp x cp", "parallel.shard", "parallel.dp")
	if p.ZeRO == 0 && r.wrote("parallel.shard") && p.Shard != p.DP*p.CP {
		r.fail([]string{"parallel.shard"}, "nothing is sharded, zero is 0", fmt.Sprint(p.Shard), "zero from 1 to 3")
	}
	if p.ZeRO == 0 && f.OverlapParamGather {
		r.fail([]string{"framework.overlap_param_gather"}, "nothing is gathered, zero is 0", "true", "false, or zero from 1 to 3")
	}
	if f.OverlapTP && p.TP > 1 && !p.SP {
		r.fail([]string{"framework.overlap_tp"}, "needs sequence parallelism", "true", "false, or parallel.sp = true")
	}
	if f.OverlapEP && p.EP == 1 {
		r.fail([]string{"framework.overlap_ep"}, "there is no expert exchange, ep is 1", "true", "false, or ep above 1")
	}
	if f.FP8Params && !strings.Contains(string(r.s.Training.Precision), "fp8") {
		r.fail([]string{"framework.fp8_params", "training.precision"}, "precision is "+string(r.s.Training.Precision), "true", "false, or an fp8 precision")
	}
	if f.ParamDType == "fp8" && !f.FP8Params {
		r.fail([]string{"framework.param_dtype"}, "parameters are not kept in fp8", `"fp8"`, "bf16, fp16, fp32, or fp8_params = true")
	}
}

func (r *resolver) checkTraining() {
	t := &r.s.Training
	for _, key := range []string{"training.lora_rank", "training.lora_targets"} {
		if t.Finetune != "lora" && r.wrote(key) {
			r.fail([]string{key}, "finetune is "+t.Finetune, show(r.given[key].raw), `training.finetune = "lora"`)
		}
	}
	for _, e := range checkRecompute(&r.s) {
		r.fail([]string{e.Key}, e.Msg, e.Found, e.Allowed)
	}
}

// checkRecompute says what is wrong with what a scenario recomputes.
func checkRecompute(s *Scenario) (problems []*Error) {
	rc, m := s.Training.Recompute, &s.Model
	wrong := func(msg, allowed string) {
		problems = append(problems, &Error{Key: "training.recompute", Msg: msg, Found: show(rc.String()), Allowed: allowed})
	}
	if most := slices.Max(s.Parallel.LayersPerStage); rc.Layers > most {
		wrong("more layers than a stage has", fmt.Sprintf("full:1 to full:%d", most))
	}
	for _, part := range rc.Parts {
		ok, why := true, ""
		switch part {
		case "moe", "moe_act":
			ok, why = m.MoE != nil, "the model has no experts"
		case "mla_up_proj":
			ok, why = m.Attn.MLA(), "the model's attention is not MLA"
		case "mlp":
			ok, why = m.FFN > 0, "the model has no dense layers"
		}
		if !ok {
			wrong(why, "parts that the model has")
		}
	}
	return problems
}

// Recomputing is the scenario with another training.recompute, which no other key
// follows from. The error is the one that the key would have in a file.
func (s *Scenario) Recomputing(text string) (*Scenario, error) {
	rc, err := ParseRecompute(text)
	if err != nil {
		err.Key = "training.recompute"
		return nil, err
	}
	other := *s
	other.Training.Recompute = rc
	return &other, join(checkRecompute(&other))
}

func (r *resolver) checkOrder() {
	order := r.s.Parallel.Order
	for _, d := range dimensions() {
		if !slices.Contains(order, d) || len(order) != len(dimensions()) {
			r.fail([]string{"parallel.order"}, "not each dimension once", strings.Join(order, ", "), "a permutation of "+strings.Join(dimensions(), ", "))
			return
		}
	}
}
