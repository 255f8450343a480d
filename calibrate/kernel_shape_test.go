package calibrate

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"orrery/kernels/sample"
	"orrery/sim/cost"
	"orrery/sim/unit"
)

func drawKernel(t *rapid.T) cost.Kernel {
	n := func(label string) int64 { return rapid.Int64Range(1, 1<<20).Draw(t, label) }
	yes := func(label string) bool { return rapid.Bool().Draw(t, label) }
	dtype := unit.DType(rapid.SampledFrom(dtypes).Draw(t, "dtype"))
	layout := rapid.SampledFrom([]cost.Layout{cost.Fwd, cost.Dgrad, cost.Wgrad}).Draw(t, "layout")
	group := cost.Group{Ranks: n("ranks"), PerDomain: n("per domain")}
	switch rapid.IntRange(0, 7).Draw(t, "kind") {
	case 0:
		return cost.GEMM{M: n("m"), N: n("n"), K: n("k"), DType: dtype, Layout: layout, Batch: rapid.SampledFrom([]int64{0, 2, 64}).Draw(t, "batch"), Fastest: yes("fastest")}
	case 1:
		return cost.GroupedGEMM{Groups: n("g"), Tokens: n("t"), N: n("n"), K: n("k"), DType: dtype, Layout: layout, MaxOverMean: rapid.Float64Range(1, 9).Draw(t, "skew")}
	case 2:
		a := cost.Attention{Batch: n("b"), SeqQ: n("q"), SeqKV: n("kv"), Heads: n("h"), KVHeads: n("kvh"), HeadDim: n("d"), VDim: n("v"), Window: n("w") - 1,
			Causal: yes("causal"), Backward: yes("backward"), Decode: yes("decode"), FA2: yes("fa2"), CuDNN: yes("cudnn"), Deterministic: yes("det"), DType: dtype}
		if yes("cache") {
			a.KVDType = unit.FP8
		}
		return a
	case 3:
		return cost.MoE{Tokens: n("t"), Hidden: n("h"), Inter: n("i"), TopK: n("k"), Experts: n("e"), TP: n("tp"), EP: n("ep"), Distribution: "power_law_1.2",
			DType: dtype, Ungated: yes("ungated")}
	case 4:
		return cost.Memory{Op: rapid.SampledFrom(cost.MemoryOps()).Draw(t, "op"), Read: n("read"), Write: n("write")}
	case 5:
		kind := rapid.SampledFrom([]cost.CollectiveKind{cost.AllReduce, cost.AllGather, cost.ReduceScatter, cost.AllToAll, cost.Broadcast}).Draw(t, "collective")
		return cost.Collective{Kind: kind, Bytes: n("bytes"), Group: group, NICGBps: rapid.Float64Range(0, 100).Draw(t, "nic"), SMs: n("sms") - 1,
			Custom: rapid.SampledFrom([]string{"", "vllm_graph"}).Draw(t, "custom"), Integer: yes("integer")}
	case 6:
		return cost.P2P{Bytes: n("bytes"), NICGBps: rapid.SampledFrom([]float64{0, 50}).Draw(t, "nic")}
	}
	return cost.ExpertExchange{Op: rapid.SampledFrom([]string{"dispatch", "combine", "prepare", "combine_low_precision"}).Draw(t, "op"), Backend: "deepep_ll",
		Tokens: n("t"), Hidden: n("h"), TopK: n("k"), Experts: n("e"), Group: group, SMs: n("sms"), DType: dtype}
}

// A kernel's text gives the kernel again, by `sim price` and as the shape of a row.
func TestKernelTextRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		k := drawKernel(t)
		name, shape, ok := KernelText(k)
		require.True(t, ok)
		again, err := ParseKernel(name, shape.Pairs())
		require.NoError(t, err)
		require.Equal(t, k, again)

		short, dtype := splitDType(k, shape)
		kernel := "x_" + name
		if m, ok := k.(cost.Memory); ok {
			kernel = m.Op
		}
		again, err = RowKernel(sample.Row{Family: string(k.Family()), Kernel: kernel, Shape: short, DType: dtype})
		require.NoError(t, err)
		require.Equal(t, k, again)
	})
}

func TestRowKernel(t *testing.T) {
	for _, c := range []struct {
		family, kernel, dtype, shape string
		want                         cost.Kernel
	}{
		{"gemm", "cublaslt_gemm", "bf16", "m=8 n=4 k=2 layout=wgrad role=qkv", cost.GEMM{M: 8, N: 4, K: 2, DType: unit.BF16, Layout: cost.Wgrad}},
		{"gemm", "cublaslt_gemm", "fp8_e4m3", "m=8 n=4 k=2", cost.GEMM{M: 8, N: 4, K: 2, DType: unit.FP8, Layout: cost.Fwd}},
		{"attention", "sdpa_flash_bwd", "bf16", "seq=64 heads=2", cost.Attention{Batch: 1, SeqQ: 64, SeqKV: 64, Heads: 2, KVHeads: 2, HeadDim: 128, Causal: true, Backward: true, DType: unit.BF16}},
		{"collective", "nccl_allreduce", "bf16", "bytes=1024 ranks=4", cost.Collective{Kind: cost.AllReduce, Bytes: 1024, Group: cost.Group{Ranks: 4, PerDomain: 4}}},
		{"memory_bound", "rmsnorm", "bf16", "tokens=3 read=10 write=20", nil},
		{"memory_bound", "swiglu", "bf16", "read=10 write=20", cost.Memory{Op: "swiglu", Read: 10, Write: 20}},
		{"launch", "empty", "", "", nil},
		{"memory_bound", "l2_read", "", "bytes=1", nil},
		{"collective", "nccl_send", "bf16", "bytes=1024 ranks=4", nil},
	} {
		k, err := RowKernel(sample.Row{Family: c.family, Kernel: c.kernel, DType: c.dtype, Shape: sample.Shape(c.shape)})
		require.NoError(t, err, "%s %s", c.kernel, c.shape)
		if c.kernel == "rmsnorm" { // keys beside read and write are labels of the size
			c.want = cost.Memory{Op: "rmsnorm", Read: 10, Write: 20}
		}
		assert.Equal(t, c.want, k, c.kernel)
	}
	for shape, want := range map[string]string{"m=8 n=4": "no value for k", "m=8 n=4 k=2 kk=3": `no key "kk"`, "m=x n=4 k=2": `m is "x"`} {
		_, err := RowKernel(sample.Row{Family: "gemm", Shape: sample.Shape(shape)})
		assert.ErrorContains(t, err, want)
	}
	_, err := RowKernel(sample.Row{Family: "memory_bound", Kernel: "swiglu", Shape: "tokens=1"})
	assert.ErrorContains(t, err, "no read and write")
}

func TestGPUOf(t *testing.T) {
	for driver, want := range map[string]string{"NVIDIA H200": "h200", "NVIDIA H100 80GB HBM3": "h100", "NVIDIA A100-SXM4-80GB": "a100", "NVIDIA A100-SXM4-40GB": "a100-40gb",
		"h200": "h200", "NVIDIA B200": "b200", "orrery fake GPU": "", "": ""} {
		assert.Equal(t, want, gpuOf(driver), driver)
	}
}

// A format that a driver's name does not tell of stays what it is.
func ExampleKernelText() {
	name, shape, _ := KernelText(cost.GEMM{M: 8192, N: 4096, K: 1024, DType: unit.FP8, Layout: cost.Dgrad})
	fmt.Println(name, shape)
	// Output: gemm m=8192 n=4096 k=1024 dtype=fp8 layout=dgrad
}
