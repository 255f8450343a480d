package scenarios

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"orrery/sim/unit"
)

// RecomputeParts are the modules that selective recomputation knows, with
// Megatron-Core's names (transformer_config.py, recompute_modules) and
// "attention" for the whole attention block and "fc1" for the first linear layer
// of the MLP with its activation function.
var RecomputeParts = []string{"core_attn", "attention", "mlp", "fc1", "moe", "moe_act", "layernorm", "mla_up_proj"}

const recomputeForms = `"none", "selective" (core_attn), "selective:part+part" of ` +
	`core_attn, attention, mlp, fc1, moe, moe_act, layernorm, mla_up_proj, "full", "full:n" (n layers of each of the pp x vp stages)`

// ParseRecompute reads "none", "selective", "selective:core_attn+layernorm",
// "full" or "full:4".
func ParseRecompute(s string) (Recompute, *Error) {
	mode, arg, has := strings.Cut(s, ":")
	wrong := func(msg, near string) (Recompute, *Error) {
		return Recompute{}, &Error{Key: "training.recompute", Msg: msg, Found: show(s), Allowed: recomputeForms, Nearest: near}
	}
	switch {
	case mode == "none" && !has:
		return Recompute{Mode: "none"}, nil
	case mode == "selective" && !has:
		return Recompute{Mode: "selective", Parts: []string{"core_attn"}}, nil
	case mode == "selective":
		parts := strings.Split(arg, "+")
		for i, p := range parts {
			if !slices.Contains(RecomputeParts, p) {
				return wrong(fmt.Sprintf("no part is called %q", p), unit.Nearest(p, RecomputeParts))
			}
			if slices.Contains(parts[:i], p) {
				return wrong(fmt.Sprintf("part %s is named twice", p), "")
			}
		}
		return Recompute{Mode: "selective", Parts: parts}, nil
	case mode == "full" && !has:
		return Recompute{Mode: "full"}, nil
	case mode == "full":
		n, err := strconv.ParseInt(arg, 10, 32)
		if err != nil || n < 1 {
			return wrong("not a number of layers", "")
		}
		return Recompute{Mode: "full", Layers: n}, nil
	}
	return wrong("unknown form", unit.Nearest(mode, []string{"none", "selective", "full"}))
}

// String is the form that ParseRecompute reads.
func (r Recompute) String() string {
	switch {
	case r.Mode == "selective" && len(r.Parts) > 0:
		return "selective:" + strings.Join(r.Parts, "+")
	case r.Mode == "full" && r.Layers > 0:
		return fmt.Sprintf("full:%d", r.Layers)
	}
	return r.Mode
}
