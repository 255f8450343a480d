package calibrate

import (
	"fmt"
	"strconv"
	"strings"

	"orrery/kernels/sample"
	"orrery/sim/cost"
	"orrery/sim/unit"
)

// KernelText is the reverse of ParseKernel: the name of a kernel and its sizes, in
// the order of the keys, without those that have their defaults. ok is false for a
// kernel that `sim price` has no name for.
func KernelText(k cost.Kernel) (name string, shape sample.Shape, ok bool) {
	name, values := kernelValues(k)
	for _, spec := range kernelSpecs {
		if spec.name != name {
			continue
		}
		var pairs []string
		for _, key := range spec.keys {
			if v := values[key.name]; v != "" && v != key.value {
				pairs = append(pairs, key.name+"="+v)
			}
		}
		return name, sample.Shape(strings.Join(pairs, " ")), true
	}
	return name, "", false
}

// splitDType takes the format out of a shape, since rows have a column for it; ""
// where kernels like this have none.
func splitDType(k cost.Kernel, shape sample.Shape) (sample.Shape, string) {
	_, values := kernelValues(k)
	var pairs []string
	for _, p := range shape.Pairs() {
		if !strings.HasPrefix(p, "dtype=") {
			pairs = append(pairs, p)
		}
	}
	return sample.Shape(strings.Join(pairs, " ")), values["dtype"]
}

// kernelValues gives the value of every key of a kernel; those that are absent
// have their defaults.
func kernelValues(k cost.Kernel) (name string, values map[string]string) {
	n := func(i int64) string { return strconv.FormatInt(i, 10) }
	x := func(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }
	switch k := k.(type) {
	case cost.GEMM:
		return "gemm", map[string]string{"m": n(k.M), "n": n(k.N), "k": n(k.K), "dtype": string(k.DType), "layout": string(k.Layout),
			"batch": n(max(k.Batch, 1)), "fastest": strconv.FormatBool(k.Fastest)}
	case cost.GroupedGEMM:
		return "grouped_gemm", map[string]string{"groups": n(k.Groups), "tokens": n(k.Tokens), "n": n(k.N), "k": n(k.K), "dtype": string(k.DType),
			"layout": string(k.Layout), "max_over_mean": x(max(k.MaxOverMean, 1))}
	case cost.Attention:
		v := map[string]string{"batch": n(k.Batch), "seq": n(k.SeqQ), "heads": n(k.Heads), "head_dim": n(k.HeadDim), "v_dim": n(k.VDim),
			"window": n(k.Window), "causal": strconv.FormatBool(k.Causal), "backward": strconv.FormatBool(k.Backward),
			"decode": strconv.FormatBool(k.Decode), "fa2": strconv.FormatBool(k.FA2), "cudnn": strconv.FormatBool(k.CuDNN), "deterministic": strconv.FormatBool(k.Deterministic),
			"dtype": string(k.DType), "kv_dtype": string(k.KVDType)}
		if k.SeqKV != k.SeqQ {
			v["seq_kv"] = n(k.SeqKV)
		}
		if k.KVHeads != k.Heads {
			v["kv_heads"] = n(k.KVHeads)
		}
		return "attention", v
	case cost.MoE:
		return "moe", map[string]string{"tokens": n(k.Tokens), "hidden": n(k.Hidden), "inter": n(k.Inter), "topk": n(k.TopK), "experts": n(k.Experts),
			"tp": n(k.TP), "ep": n(k.EP), "distribution": k.Distribution, "ungated": strconv.FormatBool(k.Ungated), "dtype": string(k.DType)}
	case cost.Memory:
		return "memory", map[string]string{"op": k.Op, "read": n(k.Read), "write": n(k.Write)}
	case cost.Collective:
		v := groupValues(k.Group)
		v["bytes"], v["nic_gbps"], v["sms"], v["custom"], v["integer"] = n(k.Bytes), x(k.NICGBps), n(k.SMs), k.Custom, strconv.FormatBool(k.Integer)
		return string(k.Kind), v
	case cost.P2P:
		return "p2p", map[string]string{"bytes": n(k.Bytes), "nic_gbps": x(k.NICGBps)}
	case cost.ExpertExchange:
		v := groupValues(k.Group)
		v["tokens"], v["hidden"], v["topk"], v["experts"] = n(k.Tokens), n(k.Hidden), n(k.TopK), n(k.Experts)
		v["backend"], v["sms"], v["dtype"], v["nic_gbps"] = k.Backend, n(k.SMs), string(k.DType), x(k.NICGBps)
		return "ep_" + k.Op, v
	}
	return fmt.Sprintf("%T", k), nil
}

func groupValues(g cost.Group) map[string]string {
	v := map[string]string{"ranks": strconv.FormatInt(g.Ranks, 10)}
	if g.PerDomain != g.Ranks {
		v["per_domain"] = strconv.FormatInt(g.PerDomain, 10)
	}
	return v
}

// dtypeNames are other names of formats.
var dtypeNames = map[string]unit.DType{
	"bfloat16": unit.BF16, "float16": unit.FP16, "half": unit.FP16, "float32": unit.FP32, "float": unit.FP32,
	"fp8_e4m3": unit.FP8, "e4m3": unit.FP8, "fp8_e5m2": unit.FP8, "e5m2": unit.FP8, "float8_e4m3fn": unit.FP8, "float8_e5m2": unit.FP8,
}

// labelKeys of a shape tell where it is from, not what it is.
var labelKeys = map[string]bool{"role": true, "model": true, "seed": true}

// RowKernel is the kernel whose price a row calibrates. A nil kernel without error
// is a row of a family that has no prices: launch, clock, stream and others. The
// error says why a row of a priced family cannot be used.
func RowKernel(r sample.Row) (cost.Kernel, error) {
	name, ok := specOfRow(r)
	if !ok {
		return nil, nil
	}
	var pairs []string
	dtype := r.DType
	if d, known := dtypeNames[dtype]; known {
		dtype = string(d)
	}
	if _, has := r.Shape.Get("dtype"); !has && dtype != "" && name != "memory" && hasKey(name, "dtype") {
		pairs = append(pairs, "dtype="+dtype)
	}
	if _, has := r.Shape.Get("backward"); !has && name == "attention" && isBackward(r.Kernel) {
		pairs = append(pairs, "backward=true")
	}
	for _, p := range r.Shape.Pairs() {
		if key, _, _ := strings.Cut(p, "="); !labelKeys[key] {
			pairs = append(pairs, p)
		}
	}
	if name == "memory" {
		return memoryKernel(r)
	}
	return ParseKernel(name, pairs)
}

func hasKey(name, key string) bool {
	for _, spec := range kernelSpecs {
		if spec.name == name {
			for _, k := range spec.keys {
				if k.name == key {
					return true
				}
			}
		}
	}
	return false
}

func isBackward(kernel string) bool {
	return strings.HasSuffix(kernel, "_bwd") || strings.HasSuffix(kernel, "_backward")
}

// specOfRow finds the kernel that `sim price` prices by a row's family, and by the
// row's kernel where a family has several.
func specOfRow(r sample.Row) (name string, ok bool) {
	switch cost.Family(r.Family) {
	case cost.FamGEMM, cost.FamGroupedGEMM, cost.FamMoE, cost.FamP2P:
		return r.Family, true
	case cost.FamAttention, cost.FamEncoderAttn, cost.FamDecodeAttn, cost.FamMLA:
		return "attention", true
	case cost.FamMemory:
		return "memory", true
	case cost.FamCollective:
		return specInside(r.Kernel, string(cost.AllReduce), string(cost.AllGather), string(cost.ReduceScatter), string(cost.AllToAll), string(cost.Broadcast))
	case cost.FamAllToAll:
		return specInside(r.Kernel, "combine_low_precision", "dispatch", "combine", "prepare")
	}
	return "", false
}

// specInside finds the kernel whose name is part of the row's: nccl_all_reduce,
// allreduce_perf.
func specInside(kernel string, names ...string) (string, bool) {
	plain := func(s string) string { return strings.ReplaceAll(strings.ToLower(s), "_", "") }
	for _, n := range names {
		if strings.Contains(plain(kernel), plain(n)) {
			if strings.HasPrefix(n, "all_") || n == string(cost.ReduceScatter) || n == string(cost.Broadcast) {
				return n, true
			}
			return "ep_" + n, true
		}
	}
	return "", false
}
