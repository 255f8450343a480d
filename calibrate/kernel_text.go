package calibrate

// The text of kernels: `sim price` reads it, and a row of samples holds it as its shape.

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"orrery/sim/cost"
	"orrery/sim/unit"
)

// sizeKey is one key=value of a kernel. A key without a default is required.
type sizeKey struct{ name, value string }

// kernelSpec tells how `sim price` reads a kernel.
type kernelSpec struct {
	name  string
	keys  []sizeKey
	build func(v *sizes) cost.Kernel
}

const required = ""

var groupKeys = []sizeKey{{"ranks", "8"}, {"per_domain", "0"}, {"nic_gbps", "0"}}

var kernelSpecs = []kernelSpec{
	{"gemm", []sizeKey{{"m", required}, {"n", required}, {"k", required}, {"dtype", "bf16"}, {"layout", "fwd"}, {"batch", "1"}, {"fastest", "false"}},
		func(v *sizes) cost.Kernel {
			g := cost.GEMM{M: v.int("m"), N: v.int("n"), K: v.int("k"), DType: v.dtype("dtype"), Layout: v.layout(), Batch: v.int("batch"), Fastest: v.bool("fastest")}
			if g.Batch == 1 {
				g.Batch = 0
			}
			return g
		}},
	{"grouped_gemm", []sizeKey{{"groups", required}, {"tokens", required}, {"n", required}, {"k", required}, {"dtype", "bf16"}, {"layout", "fwd"}, {"max_over_mean", "1"}},
		func(v *sizes) cost.Kernel {
			return cost.GroupedGEMM{Groups: v.int("groups"), Tokens: v.int("tokens"), N: v.int("n"), K: v.int("k"),
				DType: v.dtype("dtype"), Layout: v.layout(), MaxOverMean: v.float("max_over_mean")}
		}},
	{"attention", []sizeKey{{"batch", "1"}, {"seq", required}, {"seq_kv", "0"}, {"heads", required}, {"kv_heads", "0"}, {"head_dim", "128"}, {"v_dim", "0"},
		{"window", "0"}, {"causal", "true"}, {"backward", "false"}, {"decode", "false"}, {"fa2", "false"}, {"cudnn", "false"}, {"deterministic", "false"}, {"dtype", "bf16"}, {"kv_dtype", "none"}},
		func(v *sizes) cost.Kernel {
			a := cost.Attention{Batch: v.int("batch"), SeqQ: v.int("seq"), SeqKV: v.int("seq_kv"), Heads: v.int("heads"), KVHeads: v.int("kv_heads"),
				HeadDim: v.int("head_dim"), VDim: v.int("v_dim"), Window: v.int("window"), Causal: v.bool("causal"), Backward: v.bool("backward"),
				Decode: v.bool("decode"), FA2: v.bool("fa2"), CuDNN: v.bool("cudnn"), Deterministic: v.bool("deterministic"), DType: v.dtype("dtype")}
			if v.text("kv_dtype") != "none" {
				a.KVDType = v.dtype("kv_dtype")
			}
			if a.SeqKV == 0 {
				a.SeqKV = a.SeqQ
			}
			if a.KVHeads == 0 {
				a.KVHeads = a.Heads
			}
			return a
		}},
	{"moe", []sizeKey{{"tokens", required}, {"hidden", required}, {"inter", required}, {"topk", required}, {"experts", required},
		{"tp", "1"}, {"ep", "1"}, {"distribution", "balanced"}, {"ungated", "false"}, {"dtype", "bf16"}},
		func(v *sizes) cost.Kernel {
			return cost.MoE{Tokens: v.int("tokens"), Hidden: v.int("hidden"), Inter: v.int("inter"), TopK: v.int("topk"), Experts: v.int("experts"),
				TP: v.int("tp"), EP: v.int("ep"), Distribution: v.text("distribution"), Ungated: v.bool("ungated"), DType: v.dtype("dtype")}
		}},
	{"memory", []sizeKey{{"op", required}, {"read", required}, {"write", required}},
		func(v *sizes) cost.Kernel {
			return cost.Memory{Op: v.text("op"), Read: v.int("read"), Write: v.int("write")}
		}},
	collectiveSpec(cost.AllReduce), collectiveSpec(cost.AllGather), collectiveSpec(cost.ReduceScatter), collectiveSpec(cost.AllToAll),
	collectiveSpec(cost.Broadcast),
	{"p2p", []sizeKey{{"bytes", required}, {"nic_gbps", "0"}},
		func(v *sizes) cost.Kernel { return cost.P2P{Bytes: v.int("bytes"), NICGBps: v.float("nic_gbps")} }},
	exchangeSpec("dispatch"), exchangeSpec("combine"), exchangeSpec("prepare"), exchangeSpec("combine_low_precision"),
}

func collectiveSpec(kind cost.CollectiveKind) kernelSpec {
	return kernelSpec{string(kind), append([]sizeKey{{"bytes", required}, {"sms", "0"}, {"custom", "none"}, {"integer", "false"}}, groupKeys...),
		func(v *sizes) cost.Kernel {
			c := cost.Collective{Kind: kind, Bytes: v.int("bytes"), Group: v.group(), NICGBps: v.float("nic_gbps"), SMs: v.int("sms"), Integer: v.bool("integer")}
			if v.text("custom") != "none" {
				c.Custom = v.text("custom")
			}
			return c
		}}
}

func exchangeSpec(op string) kernelSpec {
	return kernelSpec{"ep_" + op, append([]sizeKey{{"tokens", required}, {"hidden", required}, {"topk", required}, {"experts", required},
		{"backend", "deepep"}, {"sms", "0"}, {"dtype", "bf16"}}, groupKeys...),
		func(v *sizes) cost.Kernel {
			return cost.ExpertExchange{Op: op, Backend: v.text("backend"), Tokens: v.int("tokens"), Hidden: v.int("hidden"), TopK: v.int("topk"),
				Experts: v.int("experts"), Group: v.group(), NICGBps: v.float("nic_gbps"), SMs: v.int("sms"), DType: v.dtype("dtype")}
		}}
}

// ParseKernel reads a kernel's name and its sizes, texts of the form key=value. The
// error names what is wrong and what is known.
func ParseKernel(name string, pairs []string) (cost.Kernel, error) {
	var names []string
	for _, spec := range kernelSpecs {
		names = append(names, spec.name)
	}
	at := slices.Index(names, name)
	if at < 0 {
		return nil, fmt.Errorf("no kernel is called %q%s; known are %s", name, didYouMean(name, names), strings.Join(names, ", "))
	}
	spec := kernelSpecs[at]
	v := &sizes{kernel: name, values: map[string]string{}}
	var keys, missing []string
	for _, k := range spec.keys {
		keys = append(keys, k.name)
		v.values[k.name] = k.value
	}
	for _, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			return nil, fmt.Errorf("%s: %q is not key=value", name, pair)
		}
		if _, known := v.values[key]; !known {
			return nil, fmt.Errorf("%s: no key %q%s; keys are %s", name, key, didYouMean(key, keys), strings.Join(keys, ", "))
		}
		v.values[key] = value
	}
	for _, k := range keys {
		if v.values[k] == required {
			missing = append(missing, k)
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%s: no value for %s; keys are %s", name, strings.Join(missing, ", "), strings.Join(keys, ", "))
	}
	k := spec.build(v)
	return k, v.err
}

// sizes are the values of a kernel's keys; the first bad one is kept.
type sizes struct {
	kernel string
	values map[string]string
	err    error
}

func (v *sizes) text(key string) string { return v.values[key] }

func (v *sizes) int(key string) int64 {
	n, err := strconv.ParseInt(v.values[key], 10, 64)
	v.check(key, "a whole number", err)
	if n < 0 {
		v.check(key, "0 or more", strconv.ErrRange)
	}
	return n
}

func (v *sizes) float(key string) float64 {
	x, err := strconv.ParseFloat(v.values[key], 64)
	if err == nil && !(x >= 0 && x < 1e18) {
		err = strconv.ErrRange
	}
	v.check(key, "a number, 0 or more", err)
	return x
}

func (v *sizes) bool(key string) bool {
	b, err := strconv.ParseBool(v.values[key])
	v.check(key, "true or false", err)
	return b
}

func (v *sizes) check(key, want string, err error) {
	if err != nil && v.err == nil {
		v.err = fmt.Errorf("%s: %s is %q, must be %s", v.kernel, key, v.values[key], want)
	}
}

var dtypes = []string{"fp32", "tf32", "bf16", "fp16", "fp8", "fp8_block", "mxfp8", "nvfp4"}

func (v *sizes) dtype(key string) unit.DType { return unit.DType(v.oneOf(key, dtypes)) }

func (v *sizes) layout() cost.Layout {
	return cost.Layout(v.oneOf("layout", []string{string(cost.Fwd), string(cost.Dgrad), string(cost.Wgrad)}))
}

func (v *sizes) oneOf(key string, known []string) string {
	s := v.values[key]
	if !slices.Contains(known, s) && v.err == nil {
		v.err = fmt.Errorf("%s: %s is %q%s; known are %s", v.kernel, key, s, didYouMean(s, known), strings.Join(known, ", "))
	}
	return s
}

// group is all in one NVLink domain unless per_domain says otherwise.
func (v *sizes) group() cost.Group {
	g := cost.Group{Ranks: v.int("ranks"), PerDomain: v.int("per_domain")}
	if g.PerDomain == 0 {
		g.PerDomain = g.Ranks
	}
	return g
}

// didYouMean suggests the known name that is nearest.
func didYouMean(name string, known []string) string {
	if near := unit.Nearest(name, known); near != "" {
		return fmt.Sprintf("; did you mean %q?", near)
	}
	return ""
}
