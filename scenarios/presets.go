package scenarios

import (
	"slices"

	"orrery/sim/unit"
)

// preset is what a framework does unless it is told otherwise. It sets
// defaults only: the file wins over it, and --set over the file.
type preset struct {
	name, doc, source string
	rules             []rule // in order: a rule may read what earlier ones set
}

// rule gives one key its default.
type rule struct {
	key   string
	say   string // the rule in words; "" where it is a constant
	value func(*Scenario) any
}

func is(key string, v any) rule { return rule{key, "", func(*Scenario) any { return v }} }

var (
	// Megatron-LM's recipes turn --sequence-parallel on with tensor parallelism;
	// torchtitan's tensor-parallel plan always is sequence parallel
	// (models/llama3/parallelize.py, apply_tp).
	spWithTP   = rule{"parallel.sp", "tp > 1", func(s *Scenario) any { return s.Parallel.TP > 1 }}
	gatherZeRO = rule{"framework.overlap_param_gather", "zero > 0", func(s *Scenario) any { return s.Parallel.ZeRO > 0 }}
	gradHalf   = rule{"framework.grad_dtype", "bf16, fp16 with precision fp16", func(s *Scenario) any { return string(half(s)) }}
	// DistributedDataParallel of Megatron-Core: max(40000000, 1000000 x dp_size)
	// parameters, dp_size with context parallelism.
	bucketMegatron = rule{"framework.bucket_mib", "max(40e6, 1e6 x dp x cp) parameters", func(s *Scenario) any {
		n := max(40e6, 1e6*float64(s.Parallel.DP)*float64(s.Parallel.CP))
		return n * s.Framework.GradDType.Bytes() / float64(unit.MiB)
	}}
)

// half is the 16-bit format that activations and parameters have.
func half(s *Scenario) unit.DType {
	if s.Training.Precision == PrecFP16 {
		return unit.FP16
	}
	return unit.BF16
}

// over is the base's rules with some replaced, in the base's order.
func over(base []rule, diff ...rule) []rule {
	out := slices.Clone(base)
	for _, d := range diff {
		if i := slices.IndexFunc(out, func(r rule) bool { return r.key == d.key }); i >= 0 {
			out[i] = d
		}
	}
	return out
}

var megatronRules = []rule{
	is("training.vocab_pad", int64(128)),
	is("parallel.zero", int64(1)),
	spWithTP,
	{"parallel.etp", "tp", func(s *Scenario) any { return s.Parallel.TP }},
	is("parallel.cp_kind", "ring"),
	is("framework.overlap_grad_reduce", true),
	gatherZeRO,
	is("framework.overlap_tp", false),
	is("framework.overlap_tp_backward", true),
	{"framework.overlap_p2p", "vp > 1", func(s *Scenario) any { return s.Parallel.VP > 1 }},
	is("framework.overlap_ep", false),
	is("framework.overlap_cp", true),
	is("framework.fused_kernels", true),
	is("framework.fused_cross_entropy", false),
	is("framework.cuda_graphs", false),
	is("framework.grad_dtype", "fp32"),
	is("framework.fp8_params", false),
	{"framework.param_dtype", "fp8 with fp8_params, else bf16, fp16 with precision fp16", func(s *Scenario) any {
		if s.Framework.FP8Params {
			return string(unit.FP8)
		}
		return string(half(s))
	}},
	is("framework.main_param_dtype", "fp32"),
	is("framework.moment_dtype", "fp32"),
	bucketMegatron,
	is("framework.moe_dispatcher", "alltoall"),
	is("framework.deterministic_attention", false),
	is("framework.flash_attention_2", false),
	is("framework.fp8_attention", false),
}

var presets = []preset{
	{
		name: "megatron",
		doc:  "Megatron-LM with the distributed optimizer and both data-parallel overlaps",
		source: "Megatron-LM README, training examples (--use-distributed-optimizer --overlap-grad-reduce --overlap-param-gather --sequence-parallel); " +
			"arguments.py: gradients are reduced in fp32 with --bf16, overlap_p2p_comm only with virtual stages, --make-vocab-size-divisible-by 128; " +
			"distributed_data_parallel.py: bucket size; parallel_state.py: expert tensor parallelism is tp unless set",
		rules: megatronRules,
	},
	{
		name: "nemo",
		doc:  "NeMo and Megatron-Bridge performance recipes: megatron with tensor-parallel overlap and 16-bit gradients",
		source: "Megatron-Bridge scripts/performance, set_basic_perf_overrides: grad_reduce_in_fp32 False; _benchmark_common: Transformer Engine cross entropy; " +
			"training/mixed_precision.py: fp8_param_gather True for fp8 and mxfp8, False for blockwise and nvfp4; comm_overlap: tp_comm_overlap with sequence parallelism; " +
			"MoE recipes: expert_tensor_parallel_size 1",
		rules: over(megatronRules,
			is("parallel.etp", int64(1)),
			rule{"framework.overlap_tp", "sp", func(s *Scenario) any { return s.Parallel.SP }},
			is("framework.fused_cross_entropy", true),
			gradHalf,
			rule{"framework.fp8_params", "precision fp8 or mxfp8", func(s *Scenario) any {
				return s.Training.Precision == PrecFP8 || s.Training.Precision == PrecMXFP8
			}},
		),
	},
	{
		name: "torchtitan",
		doc:  "torchtitan with FSDP2, eager (set fused_kernels for torch.compile)",
		source: "torchtitan config: mixed_precision_param bfloat16, mixed_precision_reduce float32, enable_async_tensor_parallel false, " +
			"context_parallel_rotate_method allgather, expert_tensor_parallel_degree 1; FSDP2 prefetches the next layer's parameters",
		rules: over(megatronRules,
			is("training.vocab_pad", int64(1)),
			is("parallel.zero", int64(3)),
			is("parallel.etp", int64(1)),
			is("parallel.cp_kind", "allgather"),
			is("framework.overlap_cp", false),
			is("framework.fused_kernels", false),
			is("framework.flash_attention_2", true),
			is("framework.overlap_tp_backward", false),
			is("framework.bucket_mib", 0.0),
		),
	},
	{
		name: "fsdp",
		doc:  "PyTorch FSDP, full shard, pure 16-bit mixed precision, eager",
		source: "PyTorch FullyShardedDataParallel: FULL_SHARD, backward prefetch of the next layer; " +
			"MixedPrecision with param_dtype and reduce_dtype bf16, as llm-foundry's `mixed_precision: PURE`",
		rules: over(megatronRules,
			is("training.vocab_pad", int64(1)),
			is("parallel.zero", int64(3)),
			is("parallel.sp", false),
			is("parallel.etp", int64(1)),
			is("framework.fused_kernels", false),
			is("framework.flash_attention_2", true),
			gradHalf,
			is("framework.bucket_mib", 0.0),
		),
	},
	{
		name: "ddp",
		doc:  "PyTorch DistributedDataParallel with an optimizer of full size on every rank, eager",
		source: "PyTorch DistributedDataParallel: bucket_cap_mb 25, gradients reduced in their own format (fp32 under autocast) behind the backward pass, nothing sharded; " +
			"attention by scaled_dot_product_attention",
		rules: over(megatronRules,
			is("training.vocab_pad", int64(1)),
			is("parallel.zero", int64(0)),
			is("parallel.sp", false),
			is("parallel.etp", int64(1)),
			is("framework.overlap_tp_backward", false),
			is("framework.fused_kernels", false),
			is("framework.flash_attention_2", true),
			is("framework.bucket_mib", 25.0),
		),
	},
}

// Presets lists the frameworks' names.
func Presets() []string {
	names := make([]string, len(presets))
	for i, p := range presets {
		names[i] = p.name
	}
	return names
}

// presetNamed returns the preset; nil if there is none.
func presetNamed(name string) *preset {
	if i := slices.IndexFunc(presets, func(p preset) bool { return p.name == name }); i >= 0 {
		return &presets[i]
	}
	return nil
}
