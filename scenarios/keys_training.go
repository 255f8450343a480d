package scenarios

import "orrery/sim/unit"

var precisions = fixed(string(PrecBF16), string(PrecFP16), string(PrecFP8), string(PrecFP8Block), string(PrecMXFP8), string(PrecNVFP4))

var trainingKeys = []*field{
	{key: "training.sequence_length", required: true, unit: "tokens", min: 1, max: maxInt, doc: "Tokens of one sequence.",
		at: func(s *Scenario) any { return &s.Training.SequenceLength }},
	{key: "training.global_batch", auto: true, unit: "sequences", min: 1, max: maxInt, how: "micro_batch x dp x microbatches", doc: "Sequences of one step.",
		at: func(s *Scenario) any { return &s.Training.GlobalBatch }},
	{key: "training.micro_batch", auto: true, unit: "sequences", min: 1, max: maxInt, def: int64(1), doc: "Sequences of one forward pass; auto: global_batch / (dp x microbatches).",
		at: func(s *Scenario) any { return &s.Training.MicroBatch }},
	{key: "training.microbatches", auto: true, min: 1, max: maxInt, how: "global_batch / (micro_batch x dp)", doc: "Microbatches of one pipeline in one step (gradient accumulation).",
		at: func(s *Scenario) any { return &s.Training.Microbatches }},
	{key: "training.precision", def: string(PrecBF16), names: precisions, doc: "Number format of the linear layers' GEMMs: `fp8` has per-tensor scales, `fp8_block` 1x128 and 128x128 blocks.",
		at: func(s *Scenario) any { return &s.Training.Precision }},
	{key: "training.optimizer", def: "adam", names: fixed("adam", "sgd", "none"), doc: "Optimizer; `none` ends the step with the gradients.",
		at: func(s *Scenario) any { return &s.Training.Optimizer }},
	{key: "training.recompute", def: Recompute{Mode: "none"}, names: func() []string { return []string{recomputeForms} },
		doc: "What the backward pass computes again.",
		at:  func(s *Scenario) any { return &s.Training.Recompute }},
	{key: "training.finetune", def: "none", names: fixed("none", "lora"), doc: "`none` trains all parameters, `lora` adapters on a frozen base.",
		at: func(s *Scenario) any { return &s.Training.Finetune }},
	{key: "training.lora_rank", min: 1, max: 1 << 16, how: "16 with LoRA (MLPerf Training llama2_70b_lora)", doc: "Rank of the adapters.",
		at: func(s *Scenario) any { return &s.Training.LoRARank }},
	{key: "training.lora_targets", names: fixed("attention", "all"), how: "attention with LoRA (MLPerf Training llama2_70b_lora)", doc: "Linear layers that have adapters.",
		at: func(s *Scenario) any { return &s.Training.LoRATargets }},
	{key: "training.vocab_pad", min: 1, max: 1 << 20, how: "preset", doc: "The vocabulary is padded to a multiple of this times tp.",
		at: func(s *Scenario) any { return &s.Training.VocabPad }},
}

var dimensions = fixed("tp", "cp", "ep", "dp", "pp")

const maxRanks = 1 << 24

var parallelKeys = []*field{
	{key: "parallel.tp", auto: true, def: int64(1), min: 1, max: maxRanks, doc: "Tensor parallelism; auto: gpus / (cp x pp x dp).",
		at: func(s *Scenario) any { return &s.Parallel.TP }},
	{key: "parallel.cp", auto: true, def: int64(1), min: 1, max: maxRanks, doc: "Context parallelism; auto: gpus / (tp x pp x dp).",
		at: func(s *Scenario) any { return &s.Parallel.CP }},
	{key: "parallel.pp", auto: true, def: int64(1), min: 1, max: maxRanks, doc: "Pipeline parallelism; auto: gpus / (tp x cp x dp), or entries of layers_per_stage / vp.",
		at: func(s *Scenario) any { return &s.Parallel.PP }},
	{key: "parallel.vp", auto: true, def: int64(1), min: 1, max: maxRanks, doc: "Virtual pipeline: model chunks per pipeline rank; auto: entries of layers_per_stage / pp.",
		at: func(s *Scenario) any { return &s.Parallel.VP }},
	{key: "parallel.dp", auto: true, min: 1, max: maxRanks, how: "gpus / (tp x cp x pp)", doc: "Data parallelism.",
		at: func(s *Scenario) any { return &s.Parallel.DP }},
	{key: "parallel.ep", auto: true, def: int64(1), min: 1, max: maxRanks, doc: "Expert parallelism; it folds over tp x cp x dp; auto: tp x cp x dp / (etp x edp).",
		at: func(s *Scenario) any { return &s.Parallel.EP }},
	{key: "parallel.etp", auto: true, min: 1, max: maxRanks, how: "preset", doc: "Tensor parallelism of experts; auto: tp x cp x dp / (ep x edp) where edp is given.",
		at: func(s *Scenario) any { return &s.Parallel.ETP }},
	{key: "parallel.edp", auto: true, min: 1, max: maxRanks, how: "tp x cp x dp / (etp x ep)", doc: "Ranks that hold the same experts.",
		at: func(s *Scenario) any { return &s.Parallel.EDP }},
	{key: "parallel.sp", auto: true, how: "preset", doc: "Sequence parallelism: norms and residuals split over the tensor-parallel ranks.",
		at: func(s *Scenario) any { return &s.Parallel.SP }},
	{key: "parallel.zero", min: 0, max: 3, aliases: map[string]any{"fsdp": int64(3), "distributed_optimizer": int64(1)}, how: "preset",
		doc: "ZeRO stage: 1 shards optimizer states, 2 also gradients, 3 also parameters.",
		at:  func(s *Scenario) any { return &s.Parallel.ZeRO }},
	{key: "parallel.shard", auto: true, min: 1, max: maxRanks, how: "dp x cp", doc: "Ranks that ZeRO shards over; fewer than dp x cp is hybrid sharding (HSDP): replicas of shards.",
		at: func(s *Scenario) any { return &s.Parallel.Shard }},
	{key: "parallel.order", def: dimensions(), names: dimensions, doc: "Dimensions of the rank grid, fastest varying first.",
		at: func(s *Scenario) any { return &s.Parallel.Order }},
	{key: "parallel.layers_per_stage", auto: true, min: 0, max: 10000, how: "even, see schedule.account_embedding", doc: "Layers of each of the pp x vp stages; chunk c of rank r is entry c x pp + r. Ranks of an encoder or a generator (encoder_stages) have none.",
		at: func(s *Scenario) any { return &s.Parallel.LayersPerStage }},
	{key: "parallel.cp_kind", names: fixed("ring", "a2a", "allgather", "query"), how: "preset", doc: "Exchange of context parallelism: ring (P2P), a2a (Ulysses), allgather (keys and values), query (queries and partial results; keys and values stay, as SlimPipe's cache needs).",
		at: func(s *Scenario) any { return &s.Parallel.CPKind }},
}

var scheduleKeys = []*field{
	{key: "schedule.name", auto: true, catalogue: "schedules", names: scheduleNames, how: "none where pp is 1, 1f1b where vp is 1, else interleaved_1f1b", doc: "Order of passes.",
		at: func(s *Scenario) any { return &s.Schedule.Name }},
	{key: "schedule.file", of: []string{fileOrder}, how: "required with the schedule `file`", doc: "The order of passes, a line a rank in PyTorch's pipeline grammar; the path is relative to the scenario's file. Its ranks, chunks, microbatches and slices must be the scenario's.",
		at: func(s *Scenario) any { return &s.Schedule.File }},
	{key: "schedule.group_size", auto: true, min: 0, max: maxInt, how: "pp where the schedule is interleaved, else 0", doc: "Consecutive microbatches of one chunk (Megatron's microbatch_group_size_per_vp_stage).",
		at: func(s *Scenario) any { return &s.Schedule.GroupSize }},
	{key: "schedule.slices", min: 1, max: 4096, def: int64(1), doc: "Equal slices of every sequence, the unit of sliced schedules (SlimPipe, arXiv:2504.14519).",
		at: func(s *Scenario) any { return &s.Schedule.Slices }},
	{key: "schedule.context_exchange", def: false, doc: "Devices hand each other slices of keys and values so that all attend to as many in a tick (SlimPipe, arXiv:2504.14519).",
		at: func(s *Scenario) any { return &s.Schedule.ContextExchange }},
	{key: "schedule.vocab_parallel", auto: true, how: "true where the schedule is vocab_1f1b or interlaced_1f1b", doc: "Embedding and output layer are cut over tp x pp, not held by the first and the last stage (SlimPipe's artifact; arXiv:2411.05288).",
		at: func(s *Scenario) any { return &s.Schedule.VocabParallel }},
	{key: "schedule.barriers", of: []string{vocab1F1B}, min: 1, max: 2, how: "1", doc: "All-reduces that a microbatch's loss waits for; 1 computes the input gradients before the softmax is known, 2 after, for one more microbatch of activations (Vocab-2 and Vocab-1 of arXiv:2411.05288).",
		at: func(s *Scenario) any { return &s.Schedule.Barriers }},
	{key: "schedule.weight_pieces", of: []string{mePipe}, how: "false", doc: "The backward pass is split, and each product of the weight gradients runs where a rank waits long enough for an input (MEPipe, EuroSys'25), by the prices of the scenario's own passes.",
		at: func(s *Scenario) any { return &s.Schedule.WeightPieces }},
	{key: "schedule.memory_limit", of: autoNames(), auto: true, unit: "microbatches", min: 1, max: maxInt, how: "what the GPU's memory leaves", doc: "Activations of so many microbatches may a rank hold at most, half of each given back by either half of the backward pass. The order is then fitted to the prices of the scenario's own passes.",
		at: func(s *Scenario) any { return &s.Schedule.MemoryLimit }},
	{key: "schedule.overlap_pairs", auto: true, how: "true where the schedule has pairs", doc: "The forward and backward pass of a pair hide each other's communication (DualPipe, arXiv:2412.19437, section 3.2.1); false: one after the other.",
		at: func(s *Scenario) any { return &s.Schedule.OverlapPairs }},
	{key: "schedule.offload", def: 0.0, min: 0, max: 1, doc: "Share of a slice's activations, but for keys and values, that waits for its backward pass in the host's memory (SlimPipe's artifact).",
		at: func(s *Scenario) any { return &s.Schedule.Offload }},
	{key: "schedule.account_embedding", auto: true, how: "true where only layers + 2 divides by pp x vp", doc: "Embedding and loss count as a layer each when layers are divided (Megatron's account_for_embedding_in_pipeline_split and account_for_loss_in_pipeline_split).",
		at: func(s *Scenario) any { return &s.Schedule.AccountEmbedding }},
}

func flag(key, doc string, at func(*Framework) *bool) *field {
	return &field{key: key, doc: doc, how: "preset", auto: true, at: func(s *Scenario) any { return at(&s.Framework) }}
}

func dtype(key, doc string, at func(*Framework) *unit.DType, names ...string) *field {
	return &field{key: key, doc: doc, how: "preset", names: fixed(names...), at: func(s *Scenario) any { return at(&s.Framework) }}
}

var frameworkKeys = []*field{
	{key: "framework.preset", def: "megatron", names: Presets, doc: "Framework whose defaults apply (table below).",
		at: func(s *Scenario) any { return &s.Framework.Preset }},
	flag("framework.overlap_grad_reduce", "Gradients are reduced behind the backward pass.", func(f *Framework) *bool { return &f.OverlapGradReduce }),
	flag("framework.overlap_param_gather", "Sharded parameters are gathered behind the forward pass.", func(f *Framework) *bool { return &f.OverlapParamGather }),
	flag("framework.overlap_tp", "Tensor-parallel collectives run behind their GEMMs (user buffers, async TP).", func(f *Framework) *bool { return &f.OverlapTP }),
	flag("framework.overlap_tp_backward", "Column-parallel layers gather their input behind dgrad and reduce its gradient behind wgrad.", func(f *Framework) *bool { return &f.OverlapTPBackward }),
	flag("framework.overlap_p2p", "Pipeline sends and receives run behind compute.", func(f *Framework) *bool { return &f.OverlapP2P }),
	flag("framework.overlap_ep", "Expert dispatch and combine run behind another microbatch's compute.", func(f *Framework) *bool { return &f.OverlapEP }),
	{key: "framework.overlap_shared", moe: true, def: false, doc: "Shared experts run behind dispatch and combine (Megatron-Core's --moe-shared-expert-overlap).",
		at: func(s *Scenario) any { return &s.Framework.OverlapShared }},
	flag("framework.overlap_cp", "Context-parallel exchange runs behind attention.", func(f *Framework) *bool { return &f.OverlapCP }),
	flag("framework.fused_kernels", "Norm, SwiGLU, RoPE and bias are fused kernels (or torch.compile).", func(f *Framework) *bool { return &f.FusedKernels }),
	flag("framework.fused_cross_entropy", "The loss is one kernel that keeps no fp32 copy of the logits.", func(f *Framework) *bool { return &f.FusedCrossEntropy }),
	flag("framework.cuda_graphs", "Kernels are launched from CUDA graphs.", func(f *Framework) *bool { return &f.CUDAGraphs }),
	dtype("framework.grad_dtype", "Format of the gradient buffer and its reduction.", func(f *Framework) *unit.DType { return &f.GradDType }, "fp32", "bf16", "fp16"),
	dtype("framework.param_dtype", "Format of the parameter all-gather.", func(f *Framework) *unit.DType { return &f.ParamDType }, "bf16", "fp16", "fp32", "fp8"),
	dtype("framework.main_param_dtype", "Format of the master weights.", func(f *Framework) *unit.DType { return &f.MainParamDType }, "fp32", "bf16", "fp16"),
	dtype("framework.moment_dtype", "Format of Adam's moments.", func(f *Framework) *unit.DType { return &f.MomentDType }, "fp32", "bf16", "fp16", "fp8"),
	{key: "framework.bucket_mib", auto: true, unit: "MiB", min: 0, max: 1e6, how: "preset", doc: "Gradient bucket; 0 is one bucket a layer (an FSDP unit).",
		at: func(s *Scenario) any { return &s.Framework.BucketMiB }},
	flag("framework.fp8_params", "Parameters are kept and gathered in fp8.", func(f *Framework) *bool { return &f.FP8Params }),
	{key: "framework.moe_dispatcher", names: fixed("alltoall", "allgather", "deepep", "hybridep"), how: "preset", doc: "How tokens reach their experts.",
		at: func(s *Scenario) any { return &s.Framework.MoEDispatcher }},
	{key: "framework.moe_dispatch_dtype", def: "bf16", names: fixed("bf16", "fp8"), doc: "Format in which DeepEP and HybridEP send tokens, and their gradients, to the experts; what comes back is bf16.",
		at: func(s *Scenario) any { return &s.Framework.MoEDispatchDType }},
	{key: "framework.moe_domains", min: 0, max: maxInt, def: int64(0), unit: "NVLink domains", doc: "Most domains that the router lets the experts of a token lie on (DeepSeek-V3: 4 nodes, arXiv:2412.19437, section 2.1.2); 0 is no limit.",
		at: func(s *Scenario) any { return &s.Framework.MoEDomains }},
	{key: "framework.moe_dispatch_sms", min: 0, max: 1024, def: int64(0), unit: "SMs", doc: "Multiprocessors of DeepEP's and HybridEP's kernels, which computation beside them lacks; 0 is their default (DeepEP 20, HybridEP 16, in a rack 32).",
		at: func(s *Scenario) any { return &s.Framework.MoEDispatchSMs }},
	{key: "framework.moe_imbalance", def: 1.0, min: 1, max: 1 << 16, doc: "Tokens of the most loaded expert rank over the mean; 1 is balanced.",
		at: func(s *Scenario) any { return &s.Framework.MoEImbalance }},
	flag("framework.deterministic_attention", "Attention's backward pass is deterministic.", func(f *Framework) *bool { return &f.DeterministicAttn }),
	flag("framework.flash_attention_2", "Attention is FlashAttention-2, as PyTorch's SDPA picks it, instead of the GPU generation's own kernel.", func(f *Framework) *bool { return &f.FlashAttention2 }),
	flag("framework.fp8_attention", "Attention runs in fp8.", func(f *Framework) *bool { return &f.FP8Attention }),
}

// Metrics are the fields of the JSON result that [[expect]] may name.
var Metrics = []string{"step_time_s", "tokens_per_s_per_gpu", "model_tflops_per_gpu", "hardware_tflops_per_gpu", "mfu",
	"bubble_fraction", "exposed_comm_fraction", "launch_bound_fraction", "peak_memory_gib", "fits",
	"packing_gap", "packing_speedup",
	"imbalance_before", "imbalance_after", "fraction_of_ideal", "over_bound", "activation_over_ideal", "balancing_s_per_layer", "rps_at_slo", "rps_over_ideal"}

// lastExpect is the entry being read.
func lastExpect(s *Scenario) *Expect { return &s.Expect[len(s.Expect)-1] }

var expectKeys = []*field{
	{key: "expect.metric", required: true, names: fixed(Metrics...), doc: "Field of the JSON result.",
		at: func(s *Scenario) any { return &lastExpect(s).Metric }},
	{key: "expect.balancer", def: "", names: func() []string { return append([]string{""}, balancerNames()...) }, catalogue: "balancers", doc: "Balancer of routing.compare that the value is of; by default routing.balancer.",
		at: func(s *Scenario) any { return &lastExpect(s).Balancer }},
	{key: "expect.value", required: true, min: -anyNumber, max: anyNumber, doc: "Published value, in the metric's unit (`fits`: true or false).",
		at: func(s *Scenario) any { return &lastExpect(s).Value }},
	{key: "expect.tolerance", def: 0.1, min: 0, max: 10, doc: "Relative difference that still counts as met; where `value` is 0, the absolute one.",
		at: func(s *Scenario) any { return &lastExpect(s).Tolerance }},
	{key: "expect.source", def: "", doc: "Where the value was published.",
		at: func(s *Scenario) any { return &lastExpect(s).Source }},
}
