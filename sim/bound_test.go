package sim

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/calibrate"
	"orrery/scenarios"
	"orrery/sim/cost"
)

// sharedProfile reads each profile once.
func sharedProfile() func(string) (*cost.Profile, error) {
	known := map[string]*cost.Profile{}
	return func(name string) (*cost.Profile, error) {
		if p := known[name]; p != nil {
			return p, nil
		}
		p, err := calibrate.Profile(name)
		known[name] = p
		return p, err
	}
}

// drawnScenario is a small scenario with any layout, schedule and framework that the
// language takes; what it refuses of the draw is left to its defaults.
func drawnScenario(t *rapid.T) *scenarios.Scenario {
	pick := func(name string, of ...any) any { return rapid.SampledFrom(of).Draw(t, name) }
	two := func(name string, most int) int64 { return int64(1) << rapid.IntRange(0, most).Draw(t, name) }
	values := map[string]any{
		"cluster.gpu": pick("gpu", "h100", "b200"), "training.sequence_length": int64(2048),
		"framework.preset": pick("preset", "megatron", "nemo", "torchtitan", "fsdp", "ddp"),
	}
	model := pick("model", "llama3-8b", "gpt3-5b", "mixtral-8x7b", "gpt-oss-20b", "moonlight-16b-a3b")
	values["model.name"] = model
	moe := model != "llama3-8b" && model != "gpt3-5b"
	pp := two("pp", 3)
	vp := int64(1)
	schedule := "auto"
	if pp > 1 {
		vp = rapid.SampledFrom([]int64{1, 1, 2, 2, 3, 4}).Draw(t, "vp")
		var names []string
		for _, s := range scenarios.Schedules() {
			if s.Name() != "file" {
				names = append(names, s.Name())
			}
		}
		schedule = rapid.SampledFrom(append(slices.Repeat([]string{"auto"}, len(names)/2), names...)).Draw(t, "schedule")
	}
	dp, micro := two("dp", 2), two("micro_batch", 1)
	mbs := pp * two("microbatches", 2)
	values["parallel.tp"], values["parallel.cp"], values["parallel.pp"], values["parallel.vp"], values["parallel.dp"] = two("tp", 3), two("cp", 1), pp, vp, dp
	values["training.micro_batch"], values["training.global_batch"] = micro, micro*mbs*dp
	if moe {
		values["parallel.ep"] = two("ep", 2)
	}
	optional := [][2]any{
		{"schedule.name", schedule},
		{"training.recompute", pick("recompute", "none", "selective", "selective:layernorm+fc1", "full", "full:1")},
		{"parallel.zero", rapid.Int64Range(0, 3).Draw(t, "zero")},
		{"training.precision", pick("precision", "bf16", "fp8", "fp8_block")},
		{"parallel.cp_kind", pick("cp_kind", "ring", "a2a", "allgather", "query")},
		{"parallel.sp", pick("sp", true, false)},
		{"framework.overlap_grad_reduce", pick("grad_reduce", true, false)},
		{"framework.overlap_param_gather", pick("param_gather", true, false)},
		{"framework.overlap_p2p", pick("p2p", true, false)},
		{"framework.cuda_graphs", pick("graphs", true, false)},
		{"framework.bucket_mib", pick("bucket", 0.0, 100.0, 1e4)},
		{"schedule.slices", pick("slices", int64(1), pp, 2*pp)},
		{"schedule.context_exchange", pick("exchange", true, false)},
		{"schedule.weight_pieces", pick("pieces", true, false)},
		{"schedule.overlap_pairs", pick("pairs", true, false)},
		{"schedule.offload", pick("offload", 0.0, 0.5)},
		{"cluster.oversubscription", pick("oversubscription", 1.0, 2.0)},
		{"parallel.order", pick("order", []string{"tp", "cp", "ep", "dp", "pp"}, []string{"tp", "cp", "ep", "pp", "dp"})},
		{"training.finetune", pick("finetune", "none", "none", "none", "lora")},
		{"training.optimizer", pick("optimizer", "adam", "adam", "sgd", "none")},
	}
	s, err := scenarios.Resolve("drawn", values)
	if err != nil {
		t.Skip(err)
	}
	for _, o := range optional {
		key := o[0].(string)
		values[key] = o[1]
		with, err := scenarios.Resolve("drawn", values)
		if err != nil {
			delete(values, key)
			continue
		}
		s = with
	}
	return &s.Scenario
}

// exactMemory reports whether the peak follows from the order of passes alone.
func exactMemory(s *scenarios.Scenario) bool {
	order, err := s.Schedule.Order()
	return err == nil && !needsCosts(order) && s.Schedule.Slices == 1 && s.Schedule.Offload == 0 && !s.Schedule.VocabParallel && s.Training.Finetune == "none"
}

// No run takes less than its bound says, in time or in memory, whatever was priced
// before; a job that does not fit by the bound does not fit. Of most schedules the
// bound of memory is what the run finds.
func TestBoundsAreBelowRuns(t *testing.T) {
	profile := sharedProfile()
	shared := NewBounds(profile)
	drawn, tight := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		s := drawnScenario(t)
		r, err := Simulate(context.Background(), s, Options{NoAdvice: true, Profile: profile})
		if err != nil {
			t.Skip(err)
		}
		b, err := shared.Of(s)
		require.NoError(t, err)
		require.Empty(t, b.Loose)
		alone, err := NewBounds(profile).Of(s)
		require.NoError(t, err)
		require.Equal(t, alone, b, "a bound depends on what was bounded before")
		res := r.Result
		require.LessOrEqual(t, b.PeakMemoryGiB, res.PeakMemoryGiB, "memory")
		if exactMemory(s) {
			require.InEpsilon(t, res.PeakMemoryGiB, b.PeakMemoryGiB, 1e-9)
			require.Equal(t, res.Fits, b.Fits)
		}
		if !b.Fits {
			require.False(t, res.Fits)
			return
		}
		require.LessOrEqual(t, b.StepTimeS, res.StepTimeS, "time of %s", s.Schedule.Name)
		drawn++
		if b.StepTimeS > 0.95*res.StepTimeS {
			tight++
		}
	})
	require.Greater(t, 2*tight, drawn, "most bounds are within 5 %% of the time")
}

// What a bound does not know it says.
func TestBoundsOfOtherScenarios(t *testing.T) {
	for _, name := range []string{"varlen/llama3-70b-256k-256-web-slimpack", "nlp/co-gat-mastodon", "multimodal/qwen3-30b-vit-bigmac-16", "moe/qwen3-235b-ep64-dp4"} {
		res, err := scenarios.Load(name, nil)
		require.NoError(t, err)
		b, err := NewBounds(nil).Of(&res.Scenario)
		require.NoError(t, err)
		require.NotEmpty(t, b.Loose)
		require.True(t, b.Fits)
		require.Zero(t, b.StepTimeS)
	}
}
