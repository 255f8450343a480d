package cost

import (
	"maps"
	"slices"
)

// streamLaunch is the launch of a kernel behind another in a stream, in
// microseconds: gpu-benches on an H200, 2.4 us (1.2 us in a CUDA graph).
const streamLaunch = 2.4

// memoryRule tells how an op is priced where its GPU has no fit of it.
type memoryRule struct {
	like    string  // the op whose fit it borrows
	share   float64 // of the published memory bandwidth
	relErr  float64
	assumed bool // share is carried over from another op or guessed
	note    string
}

// memoryRules lists the ops. One without a share is priced by a fit, its own, its
// relative's or the base GPU's. An op with a share takes it on every GPU without
// a fit of its own: kernels of one design are assumed to reach a like share of
// the bandwidth.
var memoryRules = map[string]memoryRule{
	"residual_add": {},
	"rope":         {},
	"swiglu":       {},
	"embedding":    {},
	"rmsnorm_vllm": {},
	"gelu":         {like: "swiglu"},
	// sorts the tokens, then adds rows: at least the traffic of the lookup
	"embedding_grad": {like: "embedding"},

	"copy":  {share: 0.83, relErr: 0.1, note: "BabelStream copy on H200: 4.0 of 4.8 TB/s (Azure ND H200 v5)"},
	"scale": {share: 0.83, relErr: 0.1, note: "as BabelStream copy on H200: 4.0 of 4.8 TB/s (Azure ND H200 v5)"},
	"fill":  {share: 0.83, relErr: 0.2, assumed: true, note: "assumed as BabelStream copy on H200: 4.0 of 4.8 TB/s"},
	"adam": {share: 0.865, relErr: 0.15, assumed: true,
		note: "assumed as BabelStream triad on H200: 4.15 of 4.8 TB/s (Azure ND H200 v5)"},
	"grad_norm": {share: 0.81, relErr: 0.15, assumed: true, note: "assumed as reading device memory on H200: 3.89 of 4.8 TB/s (gpu-benches)"},

	"rmsnorm": {share: 0.6, relErr: 0.25, note: normNote},
	"layernorm": {like: "rmsnorm", share: 0.6, relErr: 0.25, assumed: true,
		note: "as rmsnorm: " + normNote},
	"rmsnorm_bwd": {like: "rmsnorm", share: 0.6, relErr: 0.25, note: normNote},
	"layernorm_bwd": {like: "rmsnorm_bwd", share: 0.6, relErr: 0.25, assumed: true,
		note: "as rmsnorm: " + normNote},
	"permute":   {share: 0.50, relErr: 0.2, note: "SimuMax on B200: 0.501 of 8 TB/s (permute_fwd)"},
	"unpermute": {share: 0.51, relErr: 0.2, note: "SimuMax on B200: 0.511 of 8 TB/s (permute_bwd)"},
	"cross_entropy": {share: 0.325, relErr: 0.25,
		note: "SimuMax on B200: 0.325 of 8 TB/s (ce)"},
	"router": {share: 0.3, relErr: 0.5, assumed: true, note: "assumed: softmax and top-k of short rows reach as much as cross entropy"},
	"cast_fp8": {share: 0.39, relErr: 0.4,
		note: "DeepSeek-V3 training trace on H800: 67 us for each per-token cast, of about 4096x7168"},
	"transpose_cast_fp8": {share: 0.5, relErr: 0.4, assumed: true,
		note: "assumed as a permute: SimuMax on B200, 0.50 of 8 TB/s"},
}

// normNote: 4096 x 7168 in bf16, once read and written in 65 us forward
// (1.8 TB/s), twice read and once written in 81 us backward (2.2 TB/s), of 3.35.
const normNote = "DeepSeek-V3 training trace on H800: forward 65 us, backward 81 us for 4096x7168 (0.54 and 0.65 of 3.35 TB/s)"

// MemoryOps lists the ops that Memory kernels may name, sorted.
func MemoryOps() []string { return slices.Sorted(maps.Keys(memoryRules)) }
