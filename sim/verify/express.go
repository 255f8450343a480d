package verify

import (
	"fmt"
	"strings"
)

// inexpressible is why a row cannot be a scenario.
type inexpressible string

func (e inexpressible) Error() string { return string(e) }

// Express turns a row into values of scenario keys. What the row leaves blank
// and its other columns do not determine is left to the defaults of the
// framework that the source used. The error is the reason where the row cannot
// be expressed.
func Express(r Row) (map[string]any, error) {
	v := map[string]any{"name": r["id"]}
	for _, f := range []func(Row, map[string]any) error{cluster, model, batch, parallel, precision, recompute, framework} {
		if err := f(r, v); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func cluster(r Row, v map[string]any) error {
	gpu := strings.ToLower(r["gpu"])
	if r.says("96GB HBM2e") { // torchtitan's Grand Teton
		gpu = "h100-96gb-500w"
	}
	v["cluster.gpu"] = gpu
	n, err := r.int("n_gpus")
	if err != nil {
		return err
	}
	if n == 0 {
		return inexpressible("the number of GPUs is not given")
	}
	v["cluster.gpus"] = n
	return nil
}

// hybrids have layers (Mamba) that no table prices.
var hybrids = []string{"nemotron-h", "nemotron3"}

func model(r Row, v map[string]any) error {
	name := r["model"]
	if r.says("paxml") || r.says("maxtext") {
		return inexpressible("JAX frameworks (PaxML, MaxText) are not modelled")
	}
	for _, h := range hybrids {
		if strings.HasPrefix(name, h) && name != "nemotron3-22b" {
			return inexpressible("Mamba layers have no price")
		}
	}
	if r["layers"] == "" {
		return inexpressible("the model's layers are not given")
	}
	layers, err := r.int("layers")
	if err != nil {
		return err
	}
	v["model.name"], v["model.layers"] = name, layers
	if r["vocab"] != "" {
		vocab, err := r.int("vocab")
		if err != nil {
			return err
		}
		v["model.vocab"] = vocab
	}
	if name == "deepseek-v3" && r.from("SimuMax") && layers < 61 {
		// The measured 104 GiB of the four-layer case hold three MoE layers, not one.
		v["model.first_dense"] = int64(1)
	}
	if strings.HasPrefix(name, "deepseek-v3") && (r.from("Megatron-Bridge") || r.from("dgxc")) && !r.says("w/o MTP") {
		v["model.mtp"] = int64(1) // num_nextn_predict_layers of the published config, which the recipes keep
	}
	return nil
}

func batch(r Row, v map[string]any) error {
	for _, c := range []struct{ col, key string }{
		{"seq", "training.sequence_length"}, {"gbs", "training.global_batch"}, {"mbs", "training.micro_batch"},
	} {
		n, err := r.int(c.col)
		if err != nil {
			return err
		}
		switch {
		case n > 0:
			v[c.key] = n
		case c.col != "mbs":
			return inexpressible(c.col + " is not given")
		}
	}
	return nil
}

func parallel(r Row, v map[string]any) error {
	deg := map[string]int64{}
	for _, col := range []string{"tp", "pp", "vpp", "cp", "ep", "dp"} {
		n, err := r.int(col)
		if err != nil {
			return err
		}
		deg[col] = n
	}
	n, gbs := v["cluster.gpus"].(int64), v["training.global_batch"].(int64)
	fsdp := strings.Contains(r["zero"], "fsdp")
	if deg["tp"] == 0 || deg["pp"] == 0 {
		switch {
		case fsdp:
			deg["tp"], deg["pp"] = max(deg["tp"], 1), max(deg["pp"], 1)
		default:
			return inexpressible("tensor or pipeline parallelism is not given")
		}
	}
	cp := max(deg["cp"], 1)
	if n%(deg["tp"]*deg["pp"]*cp) != 0 {
		return inexpressible(fmt.Sprintf("%d GPUs are not a multiple of tp %d x pp %d x cp %d", n, deg["tp"], deg["pp"], cp))
	}
	dp := n / (deg["tp"] * deg["pp"] * cp)
	mbs, ok := v["training.micro_batch"].(int64)
	if !ok {
		mbs = 1
		if ga, found := r.note("GA"); found && ga > 0 {
			mbs = max(gbs/(dp*int64(ga)), 1)
		}
		v["training.micro_batch"] = mbs
	}
	if gbs%(dp*mbs) != 0 {
		return inexpressible(fmt.Sprintf("global batch %d is not a multiple of dp %d x micro batch %d", gbs, dp, mbs))
	}
	if r.from("torchtitan") && deg["pp"] > 1 {
		v["training.micro_batch"] = int64(1) // a local batch runs as pipeline microbatches of one sequence
	}
	v["parallel.tp"], v["parallel.pp"], v["parallel.cp"], v["parallel.dp"] = deg["tp"], deg["pp"], cp, dp
	if deg["vpp"] == 0 {
		deg["vpp"] = recipeVP(r)
	}
	if deg["vpp"] > 1 && deg["pp"] > 1 {
		v["parallel.vp"] = deg["vpp"]
	}
	if r["experts"] != "" {
		v["parallel.ep"] = max(deg["ep"], 1)
		v["parallel.etp"] = int64(1)
		if r.from("dgxc") { // NeMo of that time leaves expert tensor parallelism at tp
			v["parallel.etp"] = deg["tp"]
		}
		if etp, found := r.note("ETP"); found {
			v["parallel.etp"] = int64(etp)
		}
	}
	if strings.Contains(r["schedule"], "zero") {
		return inexpressible("schedule " + r["schedule"] + " is not in the catalogue")
	}
	if err := vocabularySchedule(r, v); err != nil {
		return err
	}
	switch z := r["zero"]; {
	case strings.Contains(z, "zero3"), z == "fsdp", z == "fsdp2":
		v["parallel.zero"] = int64(3)
	case strings.Contains(z, "zero2"):
		v["parallel.zero"] = int64(2)
	case strings.Contains(z, "zero1"):
		v["parallel.zero"] = int64(1)
	case z == "none":
		v["parallel.zero"] = int64(0)
	}
	return nil
}

func precision(r Row, v map[string]any) error {
	p := strings.ToLower(r["precision"])
	blackwell := strings.Contains(r["gpu"], "B2") || strings.Contains(r["gpu"], "B3")
	switch {
	case strings.Contains(p, "rowwise"):
		return inexpressible("fp8 with row-wise scales has no price")
	case strings.Contains(r["notes"], "_fp4"), p == "nvfp4":
		p = "nvfp4"
	case p == "":
		if !r.from("MLPerf") {
			p = "bf16"
			break
		}
		return inexpressible("the precision is not given")
	case strings.Contains(p, "mx") && blackwell:
		p = "mxfp8"
	case strings.Contains(p, "blockwise"):
		p = "fp8_block"
	case strings.Contains(p, "fp8"):
		p = "fp8"
	case strings.Contains(p, "bf16"):
		p = "bf16"
	case p == "fp16":
	default:
		return inexpressible("precision " + r["precision"] + " has no price")
	}
	v["training.precision"] = p
	return nil
}

func recompute(r Row, v map[string]any) error {
	switch rc := r["recompute"]; {
	case rc == "" && recipeRecompute(r) != "":
		v["training.recompute"] = recipeRecompute(r)
	case rc == "" || rc == "none" || rc == "selective:none":
		v["training.recompute"] = "none"
		if n, found := r.note("recompute_layers"); found && n > 0 {
			v["training.recompute"] = fmt.Sprintf("full:%d", int64(n))
		}
	case rc == "full":
		v["training.recompute"] = "full"
	case rc == "per-op-SAC": // saves every second matmul's output and attention: the MLP runs again
		v["training.recompute"] = "selective:mlp"
	case rc == "selective+SP":
		v["training.recompute"] = "selective:core_attn"
	case strings.HasPrefix(rc, "selective"):
		v["training.recompute"] = rc
	default:
		return inexpressible("recompute " + rc + " is not known")
	}
	return nil
}

// framework picks the preset of the framework that the source ran, and what
// its notes say differs.
func framework(r Row, v map[string]any) error {
	set := func(key string, val any) { v["framework."+key] = val }
	lora := r.says("lora")
	if lora {
		v["training.finetune"] = "lora"
		if rank, found := r.note("r"); found {
			v["training.lora_rank"] = int64(rank)
		}
		v["training.lora_targets"] = "all" // NeMo's default adapts every linear layer
		if r.from("MLPerf") {
			v["training.lora_targets"] = "attention"
		}
	}
	switch {
	case r.from("SimuMax"):
		set("preset", "megatron")
		for _, k := range []string{"overlap_grad_reduce", "overlap_param_gather", "overlap_p2p", "overlap_tp", "overlap_tp_backward"} {
			set(k, false)
		}
		set("fused_cross_entropy", r.says("_cef"))
	case r.from("Megatron-LM"), r.from("VocabularyParallelism"), r.from("Activation Recomputation"):
		set("preset", "megatron")
	case r.from("torchtitan"):
		set("preset", "torchtitan")
		set("overlap_tp", r.says("async"))
		set("fused_kernels", r.says("compile"))
	case r.from("llm-foundry"):
		set("preset", "fsdp")
	case r.from("Llama 3 paper"):
		set("preset", "megatron")
	default:
		set("preset", "nemo")
		if strings.HasPrefix(r["zero"], "fsdp") {
			set("overlap_tp", false)
		}
	}
	if r.from("MLPerf") {
		set("cuda_graphs", r.says("_cg"))
	}
	if r["experts"] != "" && r.from("Megatron-Bridge") {
		set("moe_dispatcher", recipeDispatcher(r))
		set("cuda_graphs", r.says("NeMo 26.")) // cuda_graph_impl of the same recipes
	}
	return nil
}
