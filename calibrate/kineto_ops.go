package calibrate

import (
	"slices"
	"strings"

	"orrery/sim/cost"
	"orrery/sim/unit"
)

// torchDTypes are the names of formats in "Input type" and in arguments of NCCL kernels.
var torchDTypes = map[string]unit.DType{
	"c10::BFloat16": unit.BF16, "BFloat16": unit.BF16, "c10::Half": unit.FP16, "Half": unit.FP16, "float": unit.FP32, "Float": unit.FP32,
	"c10::Float8_e4m3fn": unit.FP8, "c10::Float8_e5m2": unit.FP8, "Float8_e4m3fn": unit.FP8, "Float8_e5m2": unit.FP8,
}

// gemmOps tell where the operands of a product are among an op's inputs.
var gemmOps = map[string]struct{ a, b int }{
	"aten::mm": {0, 1}, "aten::addmm": {1, 2}, "aten::bmm": {0, 1}, "aten::baddbmm": {1, 2}, "aten::_scaled_mm": {0, 1},
}

// attentionOps tell where q, and the value of is_causal, are among an op's inputs
// (aten/src/ATen/native/native_functions.yaml); k and v follow q. Dimensions are
// batch, heads, tokens, channels; the second group has tokens before heads.
var attentionOps = map[string]struct {
	q, causal   int
	tokensFirst bool
}{
	"aten::_scaled_dot_product_flash_attention":              {0, 4, false},
	"aten::_scaled_dot_product_flash_attention_backward":     {1, 11, false},
	"aten::_scaled_dot_product_efficient_attention":          {0, 6, false},
	"aten::_scaled_dot_product_efficient_attention_backward": {1, 11, false},
	"aten::_scaled_dot_product_cudnn_attention":              {0, 6, false},
	"aten::_scaled_dot_product_cudnn_attention_backward":     {1, 14, false},
	"aten::_flash_attention_forward":                         {0, 8, true},
	"aten::_flash_attention_backward":                        {1, 11, true},
}

// kernel is the kernel of prices that an op is; nil with the reason where it is
// none, "" for an op that has no family.
func (op *traceOp) kernel(names []string) (cost.Kernel, string) {
	if in, ok := gemmOps[op.name]; ok {
		return op.gemm(in.a, in.b, names)
	}
	if in, ok := attentionOps[op.name]; ok {
		return op.attention(in.q, in.causal, in.tokensFirst)
	}
	return nil, ""
}

func (op *traceOp) gemm(a, b int, names []string) (cost.Kernel, string) {
	x, y := op.dim(a), op.dim(b)
	dtype, known := torchDTypes[op.dtype(a)]
	switch {
	case len(x) != len(y) || len(x) != 2 && len(x) != 3:
		return nil, op.name + ": shapes not recorded (record_shapes=True)"
	case !known:
		return nil, op.name + ": format " + op.dtype(a) + " has no prices"
	}
	k := cost.GEMM{DType: dtype}
	if len(x) == 3 {
		if k.Batch = x[0]; k.Batch == 1 {
			k.Batch = 0
		}
		x, y = x[1:], y[1:]
	}
	k.M, k.K, k.N = x[0], x[1], y[1]
	if x[1] != y[0] || min(k.M, k.N, k.K) < 1 {
		return nil, op.name + ": shapes do not fit together"
	}
	if dtype == unit.FP32 && slices.ContainsFunc(names, func(n string) bool { return strings.Contains(n, "tf32") }) {
		k.DType = unit.TF32
	}
	k.Layout = op.layout(a, b, names)
	return k, ""
}

// layout is told by the strides of the operands, else by the kernel's name. A
// product of which neither tells counts as forward.
func (op *traceOp) layout(a, b int, names []string) cost.Layout {
	rowMajor := func(i int) (bool, bool) {
		if i >= len(op.strides) || len(op.strides[i]) < 2 {
			return false, false
		}
		s := op.strides[i]
		return s[len(s)-1] == 1, true
	}
	ra, oka := rowMajor(a)
	rb, okb := rowMajor(b)
	if oka && okb {
		switch {
		case ra && !rb:
			return cost.Fwd
		case ra && rb:
			return cost.Dgrad
		case rb:
			return cost.Wgrad
		}
		return cost.Fwd
	}
	for _, n := range names {
		for _, l := range []struct {
			mark   string
			layout cost.Layout
		}{{"_tn_", cost.Fwd}, {"_TN", cost.Fwd}, {"_nn_", cost.Dgrad}, {"_NN", cost.Dgrad}, {"_nt_", cost.Wgrad}, {"_NT", cost.Wgrad}} {
			if strings.Contains(n, l.mark) {
				return l.layout
			}
		}
	}
	return cost.Fwd
}

func (op *traceOp) attention(q, causal int, tokensFirst bool) (cost.Kernel, string) {
	dims := [3][]int64{op.dim(q), op.dim(q + 1), op.dim(q + 2)}
	for i, d := range dims {
		if len(d) != 4 || slices.Min(d) < 1 {
			return nil, op.name + ": shapes of four dimensions not recorded (record_shapes=True; packed sequences have three)"
		}
		if tokensFirst {
			dims[i] = []int64{d[0], d[2], d[1], d[3]}
		}
	}
	if causal >= len(op.concrete) || op.concrete[causal] != "True" && op.concrete[causal] != "False" {
		return nil, op.name + ": whether it is causal is not recorded (Concrete Inputs)"
	}
	dtype, known := torchDTypes[op.dtype(q)]
	if !known {
		return nil, op.name + ": format " + op.dtype(q) + " has no prices"
	}
	k := cost.Attention{Batch: dims[0][0], Heads: dims[0][1], SeqQ: dims[0][2], HeadDim: dims[0][3], KVHeads: dims[1][1], SeqKV: dims[1][2],
		Causal: op.concrete[causal] == "True", Backward: strings.HasSuffix(op.name, "_backward"), DType: dtype}
	if v := dims[2][3]; v != k.HeadDim {
		k.VDim = v
	}
	return k, ""
}

func (op *traceOp) dim(i int) []int64 {
	if i < len(op.dims) {
		return op.dims[i]
	}
	return nil
}

func (op *traceOp) dtype(i int) string {
	if i < len(op.types) {
		return op.types[i]
	}
	return ""
}

// collectiveNames are c10d's.
var collectiveNames = map[string]cost.CollectiveKind{
	"allreduce": cost.AllReduce, "allreduce_coalesced": cost.AllReduce, "allgather": cost.AllGather, "_allgather_base": cost.AllGather,
	"reduce_scatter": cost.ReduceScatter, "_reduce_scatter_base": cost.ReduceScatter, "all_to_all": cost.AllToAll, "broadcast": cost.Broadcast,
}

// ranksOfNode bounds the groups that are taken to sit in one node: a trace does
// not tell where ranks sit.
const ranksOfNode = 8

// collectiveOf is the collective of an NCCL kernel; nil with the reason where the
// trace does not tell enough. Its time includes waiting for the last rank.
func (k *traceKernel) collectiveOf() (cost.Kernel, string) {
	kind, known := collectiveNames[k.collective]
	dtype, sized := torchDTypes[k.commType]
	elems := k.inElems
	if kind == cost.AllGather {
		elems = k.outElems
	}
	switch {
	case k.collective == "":
		return nil, "NCCL kernel without its collective's name and size"
	case !known:
		return nil, "NCCL " + k.collective + ": no prices of it"
	case !sized || elems < 1 || k.groups < 2:
		return nil, "NCCL " + k.collective + ": size, format or number of ranks not recorded"
	case k.groups > ranksOfNode:
		return nil, "NCCL over more than 8 ranks: where they sit is not in a trace"
	}
	return cost.Collective{Kind: kind, Bytes: int64(float64(elems) * dtype.Bytes()), Group: cost.Group{Ranks: k.groups, PerDomain: k.groups}}, ""
}
