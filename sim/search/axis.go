package search

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"orrery/scenarios"
)

// Axis is a key of the scenario and the values that a search tries for it.
type Axis struct {
	Key    string
	Values []any // as TOML gives them
}

// Keys of the axes that a search has by itself.
const (
	keyGPUs      = "cluster.gpus"
	keyTP        = "parallel.tp"
	keyCP        = "parallel.cp"
	keyPP        = "parallel.pp"
	keyVP        = "parallel.vp"
	keyMicro     = "training.micro_batch"
	keyEP        = "parallel.ep"
	keyETP       = "parallel.etp"
	keySP        = "parallel.sp"
	keyZeRO      = "parallel.zero"
	keyOrder     = "parallel.order"
	keyCPKind    = "parallel.cp_kind"
	keySchedule  = "schedule.name"
	keySlices    = "schedule.slices"
	keyOffload   = "schedule.offload"
	keyRecompute = "training.recompute"
)

// ownAxes are in the order in which the space is walked; what decides whether others
// make sense comes first, recomputation, which nothing follows from, last.
var ownAxes = []string{keyGPUs, keyTP, keyCP, keyPP, keyVP, keyMicro, keyEP, keyETP, keySP, keyZeRO, keyOrder, keyCPKind, keySchedule, keySlices, keyOffload, keyRecompute}

// follows are keys that an axis determines: where the file gives them they are left
// open again, unless a search tries values for them.
var follows = []string{"parallel.dp", "parallel.edp", "parallel.shard", "parallel.layers_per_stage", "training.microbatches",
	"schedule.group_size", "schedule.account_embedding", "schedule.overlap_pairs"}

// ParseAxis reads "parallel.tp=1,2,4". A list stands in brackets: each entry is one
// value, [["tp","cp","ep","dp","pp"]] a value that is a list.
func ParseAxis(text string) (Axis, error) {
	key, list, ok := strings.Cut(text, "=")
	key = strings.TrimSpace(key)
	if !ok || key == "" || strings.TrimSpace(list) == "" {
		return Axis{}, fmt.Errorf("%q is no axis: path.to.key=value,value", text)
	}
	a := Axis{Key: key}
	if values, isList := scenarios.ParseValue(list).([]any); isList {
		a.Values = values
	} else {
		for _, v := range strings.Split(list, ",") {
			a.Values = append(a.Values, scenarios.ParseValue(v))
		}
	}
	return a, a.check()
}

// check refuses values that the key cannot have, whatever the others are.
func (a *Axis) check() error {
	if len(a.Values) == 0 {
		return fmt.Errorf("axis %s has no values", a.Key)
	}
	for i, v := range a.Values {
		if s, ok := v.(string); ok && s == "auto" {
			continue
		}
		if err := scenarios.CheckValue(a.Key, v); err != nil {
			return err
		}
		if slices.ContainsFunc(a.Values[:i], func(w any) bool { return text(v) == text(w) }) {
			return fmt.Errorf("axis %s has %s twice", a.Key, text(v))
		}
	}
	return nil
}

// divisors of n up to a limit, ascending.
func divisors(n, most int64) (out []any) {
	for d := int64(1); d <= min(n, most); d++ {
		if n%d == 0 {
			out = append(out, d)
		}
	}
	return out
}

// powers of two from 1 up to a limit.
func powers(most int64) (out []any) {
	for p := int64(1); p <= most; p *= 2 {
		out = append(out, p)
	}
	return out
}

const (
	// leastPiece are the tokens that a context-parallel rank is given at the least.
	leastPiece = 512
	// mostMicro bounds the sequences of a microbatch.
	mostMicro = 8
)

// usual are the values that a search tries for an axis of its own where nobody says;
// of pp, vp, micro batch, slices and recomputation what others allow is tried of them.
func usual(s *scenarios.Scenario, key string) []any {
	m, par := &s.Model, s.Parallel
	switch key {
	case keyGPUs:
		return []any{s.Cluster.GPUs}
	case keyTP:
		return with(divisors(m.Attn.Heads, s.Cluster.NVLinkDomain), par.TP)
	case keyCP:
		return with(powers(max(s.Training.SequenceLength/leastPiece, 1)), par.CP)
	case keyPP:
		return with(divisors(s.Cluster.GPUs, m.Layers+2), par.PP)
	case keyVP:
		return chunks(m.Layers, par.VP)
	case keyMicro:
		return with(powers(mostMicro), s.Training.MicroBatch)
	case keyEP:
		if m.MoE == nil {
			return []any{int64(1)}
		}
		return with(divisors(m.MoE.Experts, s.Cluster.GPUs), par.EP)
	case keyETP:
		if m.MoE == nil {
			return nil
		}
		return with([]any{int64(1)}, par.ETP)
	case keySP:
		return []any{true, false}
	case keyZeRO:
		return []any{int64(0), int64(1), int64(2), int64(3)}
	case keyOrder:
		return orders(par.Order)
	case keyCPKind:
		return with([]any{"ring", "a2a"}, par.CPKind)
	case keySchedule:
		return schedules(s)
	case keySlices:
		return []any{s.Schedule.Slices}
	case keyOffload:
		if s.Schedule.Name == "slimpipe" {
			return with([]any{0.0, 0.5, 1.0}, s.Schedule.Offload)
		}
		return nil
	case keyRecompute:
		return recomputations(s)
	}
	return nil
}

// with adds the scenario's own value to a list that lacks it.
func with[T any](values []any, own T) []any {
	if slices.ContainsFunc(values, func(v any) bool { return text(v) == text(own) }) {
		return values
	}
	return append(values, any(own))
}

// chunks are numbers of model chunks a rank: powers of two, and what divides the
// layers, or those with embedding and loss.
func chunks(layers, own int64) []any {
	var out []any
	for v := int64(1); v <= layers; v++ {
		if layers%v == 0 || (layers+2)%v == 0 || bits.OnesCount64(uint64(v)) == 1 {
			out = append(out, v)
		}
	}
	return with(out, own)
}

// orders are the scenario's placement, and the two usual ones: data parallelism
// inside the pipeline (its ranks are neighbours) and around it.
func orders(own []string) []any {
	out := []any{toList(own)}
	for _, o := range [][]string{{"tp", "cp", "ep", "dp", "pp"}, {"tp", "cp", "ep", "pp", "dp"}} {
		out = with(out, toList(o))
	}
	return out
}

func toList(names []string) []any {
	out := make([]any, len(names))
	for i, n := range names {
		out[i] = n
	}
	return out
}

// schedules are the scenario's, the one that follows from pp and vp, and zero-bubble
// ones that need no more model chunks than two; the bidirectional pairs of
// DualPipeV are there to hide expert exchange.
func schedules(s *scenarios.Scenario) []any {
	out := []any{"auto", "zb_h1", "zbv"}
	if s.Model.MoE != nil {
		out = append(out, "dualpipev")
	}
	switch s.Schedule.Name {
	case "none", "1f1b", "interleaved_1f1b": // which auto is
	default:
		out = with(out, s.Schedule.Name)
	}
	return out
}

// recomputations are all sets of the parts that a layer has, of which fc1 and the
// whole MLP exclude each other, and whole layers, all of a stage's or some.
func recomputations(s *scenarios.Scenario) []any {
	m := &s.Model
	choices := [][]string{{"", "core_attn"}, {"", "layernorm"}, {""}, {""}}
	if m.FFN > 0 && m.MoE == nil {
		choices[2] = []string{"", "fc1", "mlp"}
	}
	if m.MoE != nil {
		choices[2] = []string{"", "moe_act", "moe"}
	}
	if m.Attn.MLA() {
		choices[3] = []string{"", "mla_up_proj"}
	}
	sets := []string{""}
	for _, parts := range choices {
		var next []string
		for _, set := range sets {
			for _, p := range parts {
				next = append(next, strings.Trim(set+"+"+p, "+"))
			}
		}
		sets = next
	}
	out := []any{"none"}
	for _, set := range sets[1:] {
		out = append(out, "selective:"+set)
	}
	out = append(out, "full")
	for n := int64(1); n < m.Layers; n *= 2 {
		out = append(out, fmt.Sprintf("full:%d", n))
	}
	return with(out, s.Training.Recompute.String())
}
