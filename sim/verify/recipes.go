package verify

import "strings"

// What NVIDIA's public recipes set and their performance tables leave out.
// Each fact names its recipe.

// recipeVP is the number of virtual stages of a recipe; 0 where none is known.
func recipeVP(r Row) int64 {
	if r["model"] == "nemotron4-340b" && r.from("dgxc") {
		return 12 // NeMo performance recipe pretrain nemotron4 340b, h100, pp 8 (model_configs_h100.csv)
	}
	return 0
}

// recipeRecompute is what a recipe recomputes; "" where it is nothing or not known.
func recipeRecompute(r Row) string {
	if r["model"] != "deepseek-v3" {
		return ""
	}
	switch {
	case r.from("dgxc") && r["gpu"] == "H100":
		return "selective:mla_up_proj+mlp+moe" // NeMo recipe pre_train deepseek v3 h100 (model_configs_h100.csv)
	case r.from("Megatron-Bridge"):
		return "selective:mla_up_proj" // Megatron-Bridge scripts/performance, DEEPSEEK_V3_PRETRAIN_CONFIG_*: recompute_modules
	}
	return ""
}

// recipeDispatcher is how Megatron-Bridge's performance recipes exchange tokens
// (scripts/performance, *_workload_base_configs.py: moe_flex_dispatcher_backend):
// HybridEP on NVLink racks and, from release 26 on, everywhere; before that
// DeepEP on Blackwell nodes and NCCL's all-to-all on Hopper.
func recipeDispatcher(r Row) string {
	switch {
	case strings.HasPrefix(r["gpu"], "GB"), r.says("NeMo 26."):
		return "hybridep"
	case strings.HasPrefix(r["gpu"], "B"):
		return "deepep"
	}
	return "alltoall"
}
