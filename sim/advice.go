package sim

import (
	"context"
	"fmt"

	"orrery/scenarios"
)

// change is one way to need less memory.
type change struct {
	what  string
	apply func(*scenarios.Scenario) bool // false where it changes nothing
	any   bool                           // of any model, also one that lists its layers
}

// changes that keep the GPUs and the global batch.
var changes = []change{
	{"training.recompute = \"selective:core_attn+layernorm+mlp\"", func(s *scenarios.Scenario) bool {
		parts := []string{"core_attn", "layernorm", "mlp"}
		if s.Model.MoE != nil {
			parts = []string{"core_attn", "layernorm", "moe_act"}
		}
		old := s.Training.Recompute
		s.Training.Recompute = scenarios.Recompute{Mode: "selective", Parts: parts}
		return old.Mode == "none"
	}, false},
	{"training.recompute = \"full\"", func(s *scenarios.Scenario) bool {
		old := s.Training.Recompute
		s.Training.Recompute = scenarios.Recompute{Mode: "full"}
		return old.Mode != "full" || old.Layers > 0
	}, false},
	{"parallel.zero = 1", func(s *scenarios.Scenario) bool {
		old := s.Parallel.ZeRO
		s.Parallel.ZeRO = 1
		return old == 0 && s.Parallel.DP*s.Parallel.CP > 1
	}, false},
	{"parallel.zero = 3", func(s *scenarios.Scenario) bool {
		old := s.Parallel.ZeRO
		s.Parallel.ZeRO = 3
		return old < 3 && s.Parallel.PP == 1 && s.Parallel.DP*s.Parallel.CP > 1
	}, false},
	{"framework.grad_dtype = \"bf16\"", func(s *scenarios.Scenario) bool {
		old := s.Framework.GradDType
		s.Framework.GradDType = "bf16"
		return old != "bf16"
	}, true},
	{"encoder.recompute = true", func(s *scenarios.Scenario) bool { return recomputed(&s.Encoder) }, true},
	{"generator.recompute = true", func(s *scenarios.Scenario) bool { return recomputed(&s.Generator) }, true},
	{"half the micro batch", func(s *scenarios.Scenario) bool {
		s.Training.MicroBatch /= 2
		return s.Training.MicroBatch > 0
	}, true},
	{"twice tp, half dp", func(s *scenarios.Scenario) bool {
		p := &s.Parallel
		ok := s.Encoder == nil && s.Generator == nil && // whose own layouts follow from it
			p.DP%2 == 0 && p.TP*2 <= s.Cluster.NVLinkDomain && s.Model.Attn.Heads%(p.TP*2) == 0 &&
			p.ETP*p.EP <= p.DP/2*p.CP*p.TP*2
		p.TP, p.DP, p.SP = p.TP*2, p.DP/2, true
		return ok && (p.Shard == 0 || p.Shard == p.DP*2*p.CP)
	}, false},
}

// recomputed gives a scenario a tower of its own whose layers run forward again.
func recomputed(t **scenarios.Tower) bool {
	if *t == nil || (*t).Recompute {
		return false
	}
	again := **t
	again.Recompute = true
	*t = &again
	return true
}

// cheapestFit tries each change and names the one that fits and is fastest.
func (r *Run) cheapestFit(ctx context.Context) string {
	if r.Plan.Varlen != nil { // each change would be packed anew
		return "less does with training.recompute, more pp or cp, or a packer that cuts samples (slimpack, chunkflow, seq1f1b)"
	}
	best, bestTime := "", 0.0
	for _, c := range changes {
		s := *r.Scenario
		s.Expect = nil
		s.Parallel.Shard = 0
		if !c.any && s.Model.Net != nil || !c.apply(&s) {
			continue
		}
		s.Parallel.Shard = s.Parallel.DP * s.Parallel.CP
		other, err := Simulate(ctx, &s, Options{NoAdvice: true, Profile: r.opt.Profile, alone: true, loads: r.loads})
		if err != nil || !other.Result.Fits {
			continue
		}
		if best == "" || other.Result.StepTimeS < bestTime {
			best, bestTime = c.what, other.Result.StepTimeS
		}
	}
	if best == "" {
		return "no single change to recomputation, ZeRO, micro batch or tp makes it fit"
	}
	return fmt.Sprintf("cheapest change that fits: %s (step %.3g s)", best, bestTime)
}
