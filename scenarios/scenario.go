// Package scenarios is the scenario language: what a user asks, as strict TOML,
// resolved to values that each know where they came from.
package scenarios

import (
	"orrery/models"
	"orrery/schedules/pipeline"
	"orrery/sim/unit"
)

// Scenario is a resolved question: every field has a value. Auto values of the
// file are replaced by what the others determine.
type Scenario struct {
	Name        string
	Description string
	Source      string // where the run was published, if it was

	Cluster   Cluster
	Model     models.Model
	Training  Training
	Data      Data // of models that list their layers
	Parallel  Parallel
	Schedule  Schedule
	Framework Framework
	Routing   Routing
	Serving   Serving
	Expect    []Expect

	Encoder, Generator *Tower // nil where there is none
}

// Cluster is the machine.
type Cluster struct {
	GPU      string // key of hw.GPUs
	GPUs     int64
	Node     string // key of hw.Nodes
	Topology string // key of net.Topologies: rail_optimized, fat_tree, single_node, nvl_rack
	Profile  string // name of the price profile, by default the GPU's
	// Overrides; each starts from the catalogue's value.
	GPUsPerNode  int64
	NVLinkDomain int64
	NVLinkGBps   float64 // per GPU and direction
	NICGBps      float64 // per GPU and direction
	HostGBps     float64 // to the host's memory, per GPU and direction
	HBMGiB       float64
	HBMGBps      float64
	PowerW       float64
	FLOPsFactor  float64 // on the peak FLOP/s of every format
	Oversub      float64 // leaf to spine oversubscription of the fabric, 1 is none
}

// Training is one step of training.
type Training struct {
	SequenceLength int64
	GlobalBatch    int64 // sequences
	MicroBatch     int64 // sequences
	Microbatches   int64 // per pipeline and step: GlobalBatch / (MicroBatch x DP)
	Precision      Precision
	Optimizer      string // adam, sgd, none
	Recompute      Recompute
	Finetune       string // none (all parameters train), lora
	LoRARank       int64
	LoRATargets    string // attention, all
	VocabPad       int64  // vocabulary is padded to a multiple of this times TP
}

// Precision is the number format of linear layers' GEMMs.
type Precision string

// Precisions.
const (
	PrecBF16     Precision = "bf16"
	PrecFP16     Precision = "fp16"
	PrecFP8      Precision = "fp8"       // per-tensor scales (delayed or current)
	PrecFP8Block Precision = "fp8_block" // blockwise
	PrecMXFP8    Precision = "mxfp8"
	PrecNVFP4    Precision = "nvfp4"
)

// DType is the GEMM format of the precision.
func (p Precision) DType() unit.DType { return unit.DType(p) }

// Recompute tells what the backward pass computes again.
type Recompute struct {
	Mode   string   // none, selective, full
	Parts  []string // of selective: core_attn, mlp, fc1, moe, moe_act, layernorm, mla_up_proj, attention
	Layers int64    // of full: layers per pipeline stage that are recomputed; 0 is all
}

// Parallel is who holds what.
type Parallel struct {
	TP, CP, PP, VP, EP, ETP, DP int64
	EDP                         int64 // expert data parallelism: DP x CP x TP / (EP x ETP)
	SP                          bool  // sequence parallelism within TP
	// ZeRO stage 0-3: 1 is Megatron's distributed optimizer, 3 is FSDP.
	ZeRO int64
	// Shard is the hybrid sharding group of ZeRO (HSDP), in ranks; DP x CP if whole.
	Shard int64
	// Order of dimensions from the fastest varying rank, e.g. tp-cp-ep-dp-pp.
	Order []string
	// LayersPerStage, one entry a pipeline stage (PP x VP), where uneven.
	LayersPerStage []int64
	CPKind         string // ring, a2a (Ulysses), allgather, query
}

// Schedule is the pipeline's order.
type Schedule struct {
	Name      string // one of Schedules
	GroupSize int64  // microbatches per virtual stage group; 0 is PP
	Slices    int64  // equal pieces of a microbatch's sequences, the unit of sliced schedules
	// ContextExchange: devices even out the causal attention of a tick (SlimPipe).
	ContextExchange bool
	// VocabParallel: embedding and output layer are cut over the pipeline's ranks too.
	VocabParallel bool
	Barriers      int64  // of vocab_1f1b: 1 or 2
	File          string // of the schedule "file": where its order was read from
	read          *pipeline.FileOrder
	WeightPieces  bool // of mepipe_svpp: weight gradients run in pieces
	// MemoryLimit of automatic schedules, in microbatches; 0 is what the GPU's memory leaves.
	MemoryLimit float64
	// OverlapPairs: the two passes of a pair run interleaved, kernel by kernel
	// (DualPipe); else one after the other.
	OverlapPairs bool
	// Offload is the share of activations that waits for its backward pass in the
	// host's memory.
	Offload float64
	// AccountEmbedding: embedding and loss count as a layer when layers are
	// divided among stages (Megatron's account_for_*_in_pipeline_split).
	AccountEmbedding bool
}

// Framework is the behaviour of the training framework.
type Framework struct {
	Preset string // megatron, nemo, torchtitan, fsdp, ddp

	OverlapGradReduce  bool
	OverlapParamGather bool
	OverlapTP          bool // tensor-parallel collectives behind GEMMs (user buffers, async TP)
	OverlapTPBackward  bool // input gathered behind dgrad, its gradient reduced behind wgrad
	OverlapP2P         bool // pipeline sends and receives behind compute
	OverlapEP          bool // dispatch and combine behind another microbatch's compute
	OverlapCP          bool
	OverlapShared      bool // shared experts behind dispatch and combine

	FusedKernels      bool // fused norm, SwiGLU, RoPE, bias (or torch.compile)
	FusedCrossEntropy bool
	CUDAGraphs        bool
	GradDType         unit.DType // of the gradient buffer and its reduction
	ParamDType        unit.DType // of the parameter all-gather
	MainParamDType    unit.DType // master weights; fp32
	MomentDType       unit.DType // Adam moments
	BucketMiB         float64    // gradient bucket
	FP8Params         bool       // parameters kept (and gathered) in fp8
	MoEDispatcher     string     // alltoall, allgather, deepep, hybridep
	MoEDispatchDType  unit.DType // of tokens and gradients on their way to the experts
	MoEDomains        int64      // most NVLink domains that a token is sent to; 0 is no limit
	MoEDispatchSMs    int64      // of the kernels that send them; 0 is their default
	MoEImbalance      float64    // tokens of the hottest rank over the mean; 1 is balanced
	DeterministicAttn bool
	FlashAttention2   bool // FlashAttention-2 on GPUs that have a faster kernel
	FP8Attention      bool
}

// Expect is a published figure that a run is held against.
type Expect struct {
	Metric    string // a field of the JSON result
	Balancer  string // of those compared; "" is the scenario's own
	Value     float64
	Tolerance float64 // relative
	Source    string
}
