package calibrate

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"orrery/kernels/sample"
)

// kinetoTrace is written after what torch.profiler of PyTorch 2.x exports with
// record_shapes: the keys are its own, the times are made up.
const kinetoTrace = `{
 "schemaVersion": 1,
 "deviceProperties": [{"id": 0, "name": "NVIDIA H200", "totalGlobalMem": 150000000000, "computeMajor": 9, "numSms": 132}],
 "cuda_runtime_version": 13000, "cuda_driver_version": 13000,
 "baseTimeNanoseconds": 1767348245000000000,
 "traceEvents": [
 {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "pid": 1, "tid": 1, "ts": 1.0, "dur": 50, "args": {"External id": 1, "Input Dims": [[8192, 4096], [4096, 1024]], "Input Strides": [[4096, 1], [1, 4096]], "Input type": ["c10::BFloat16", "c10::BFloat16"], "Concrete Inputs": ["", ""]}},
 {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernelExC", "ts": 2, "dur": 5, "args": {"External id": 1, "correlation": 11}},
 {"ph": "X", "cat": "kernel", "name": "nvjet_tst_128x256_64x4_2x1_v_bz_TNT", "ts": 30.5, "dur": 110.0, "args": {"External id": 1, "device": 0, "correlation": 11, "grid": [132, 1, 1], "block": [384, 1, 1]}},
 {"ph": "X", "cat": "cpu_op", "name": "aten::mm", "ts": 100, "dur": 50, "args": {"External id": 2, "Input Dims": [[8192, 4096], [4096, 1024]], "Input Strides": [[4096, 1], [1, 4096]], "Input type": ["c10::BFloat16", "c10::BFloat16"]}},
 {"ph": "X", "cat": "cuda_runtime", "name": "cudaLaunchKernel", "ts": 101, "dur": 5, "args": {"External id": 2, "correlation": 12}},
 {"ph": "X", "cat": "kernel", "name": "nvjet_tst_128x256_64x4_2x1_v_bz_splitK_TNT", "ts": 130, "dur": 100, "args": {"device": 0, "correlation": 12, "grid": [132, 1, 1], "block": [384, 1, 1]}},
 {"ph": "X", "cat": "kernel", "name": "splitKreduce_kernel", "ts": 231, "dur": 8, "args": {"device": 0, "correlation": 12, "grid": [132, 1, 1], "block": [384, 1, 1]}},
 {"ph": "X", "cat": "cpu_op", "name": "aten::_scaled_dot_product_flash_attention", "ts": 300, "dur": 9, "args": {"External id": 3, "Input Dims": [[2, 32, 4096, 128], [2, 8, 4096, 128], [2, 8, 4096, 128], [], [], []], "Input type": ["c10::BFloat16", "c10::BFloat16", "c10::BFloat16", "Scalar", "Scalar", "Scalar"], "Concrete Inputs": ["", "", "", "0.", "True", "False"]}},
 {"ph": "X", "cat": "kernel", "name": "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<128, 128, 64, 4> >(pytorch_flash::Flash_fwd_params)", "ts": 310, "dur": 700, "args": {"External id": 3, "device": 0, "correlation": 13}},
 {"ph": "X", "cat": "cpu_op", "name": "aten::_scaled_dot_product_cudnn_attention", "ts": 305, "dur": 9, "args": {"External id": 8, "Input Dims": [[2, 32, 4096, 128], [2, 8, 4096, 128], [2, 8, 4096, 128]], "Input type": ["c10::BFloat16", "c10::BFloat16", "c10::BFloat16"]}},
 {"ph": "X", "cat": "kernel", "name": "cudnn_generated_fort_native_sdpa_sm90", "ts": 1200, "dur": 500, "args": {"External id": 8, "device": 0, "correlation": 18}},
 {"ph": "X", "cat": "cpu_op", "name": "aten::add", "ts": 400, "dur": 9, "args": {"External id": 4, "Input Dims": [[8192, 4096], [8192, 4096], []], "Input type": ["c10::BFloat16", "c10::BFloat16", "Scalar"]}},
 {"ph": "X", "cat": "kernel", "name": "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<c10::BFloat16>, std::array<char*, 3ul> >(int)", "ts": 1800, "dur": 60, "args": {"External id": 4, "device": 0, "correlation": 14, "grid": [65536, 1, 1], "block": [128, 1, 1]}},
 {"ph": "X", "cat": "kernel", "name": "ncclDevKernel_AllReduce_Sum_bf16_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "ts": 1900, "dur": 80, "args": {"device": 0, "correlation": 15, "Collective name": "allreduce", "In msg nelems": 1048576, "Out msg nelems": 1048576, "Group size": 8, "dtype": "BFloat16"}},
 {"ph": "X", "cat": "kernel", "name": "ncclDevKernel_AllGather_RING_LL(ncclDevKernelArgsStorage<4096ul>)", "ts": 2000, "dur": 90, "args": {"device": 0, "correlation": 16, "Collective name": "_allgather_base", "In msg nelems": 1024, "Out msg nelems": 65536, "Group size": 64, "dtype": "BFloat16"}},
 {"ph": "X", "cat": "kernel", "name": "mystery", "ts": 2100, "dur": 0, "args": {"device": 0}},
 {"ph": "X", "cat": "gpu_memcpy", "name": "Memcpy HtoD", "ts": 2200, "dur": 5, "args": {}},
 {"ph": "i", "name": "Iteration Start", "ts": 1}
 ],
 "traceName": "trace.json"
}`

func writeTrace(t *testing.T, text string) string {
	path := filepath.Join(t.TempDir(), "trace.json")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

func TestImportKineto(t *testing.T) {
	path := writeTrace(t, kinetoTrace)
	h, rows, done, err := ImportKineto(path)
	require.NoError(t, err)
	assert.Equal(t, sample.Header{GPU: "NVIDIA H200", CUDA: "13.0", SMs: 132, Date: "2026-01-02T10:04:05Z", Launcher: "torch", Host: "PyTorch profiler trace trace.json"}, h)
	assert.Equal(t, 9, done.Kernels)
	byID := map[string]sample.Row{}
	total := 0.0
	for _, r := range rows {
		byID[r.ID()] = r
		for _, x := range r.Samples {
			total += x
		}
	}
	assert.InDelta(t, 110+108+700+500+60+80+90, total, 1e-9, "no time is lost")
	// two calls of one product, the second with a kernel that adds its parts
	mm := byID["gemm/aten::mm/bf16/m=8192 n=1024 k=4096"]
	assert.Equal(t, []float64{110, 108}, mm.Samples)
	attention := byID["attention/aten::_scaled_dot_product_flash_attention/bf16/batch=2 seq=4096 heads=32 kv_heads=8"]
	assert.Equal(t, []float64{700}, attention.Samples)
	assert.Equal(t, []float64{80}, byID["collective/nccl_all_reduce//bytes=2097152"].Samples)
	add := "kernel/void_at::native::vectorized_elementwise_kernel<4,_at::native::CUDAFunctor_add<c10::BFloat16>,_std::array<char*,_3ul>_>(int)/bf16/op=aten::add in=8192x4096;8192x4096 grid=65536x1x1 block=128x1x1"
	assert.Contains(t, byID, add)
	assert.Equal(t, map[string]int{"gemm": 1, "attention": 1, "collective": 1, "kernel": 3}, done.Families)
	assert.Equal(t, Rejected{"NCCL over more than 8 ranks: where they sit is not in a trace": 1, "no time": 1,
		"aten::_scaled_dot_product_cudnn_attention: whether it is causal is not recorded (Concrete Inputs)": 1}, done.Left)
	require.Len(t, done.Unknown, 3)
	assert.Equal(t, UnknownKernel{"cudnn_generated_fort_native_sdpa_sm90", 1, 500}, done.Unknown[0])

	// what was written can be read, and a trace in gzip is the same
	var b, packed bytes.Buffer
	require.NoError(t, sample.Write(&b, h, rows))
	_, err = sample.Read(b.Bytes(), "x")
	require.NoError(t, err)
	z := gzip.NewWriter(&packed)
	_, err = z.Write([]byte(kinetoTrace))
	require.NoError(t, err)
	require.NoError(t, z.Close())
	_, again, _, err := ImportKineto(writeTrace(t, packed.String()))
	require.NoError(t, err)
	assert.Equal(t, rows, again)
}

func TestKinetoLayouts(t *testing.T) {
	for strides, want := range map[string]string{
		"[[4096, 1], [1, 4096]]": "", "[[4096, 1], [1024, 1]]": " layout=dgrad", "[[1, 8192], [1024, 1]]": " layout=wgrad",
	} {
		_, rows, _, err := ImportKineto(writeTrace(t, strings.ReplaceAll(kinetoTrace, "[[4096, 1], [1, 4096]]", strides)))
		require.NoError(t, err)
		var ids []string
		for _, r := range rows {
			ids = append(ids, r.ID())
		}
		assert.Contains(t, ids, "gemm/aten::mm/bf16/m=8192 n=1024 k=4096"+want)
	}
	_, rows, _, err := ImportKineto(writeTrace(t, strings.ReplaceAll(strings.ReplaceAll(kinetoTrace, "Input Strides", "x"), "_TNT", "_NTT")))
	require.NoError(t, err)
	var ids []string
	for _, r := range rows {
		ids = append(ids, r.ID())
	}
	assert.Contains(t, ids, "gemm/aten::mm/bf16/m=8192 n=1024 k=4096 layout=wgrad", "by the kernel's name")
}

func TestImportKinetoRefuses(t *testing.T) {
	for text, want := range map[string]string{
		"":                                    "the file is cut off",
		"[]":                                  "not a trace of torch.profiler",
		"{}":                                  "no traceEvents",
		`{"traceEvents": []}`:                 "no event of category",
		kinetoTrace[:len(kinetoTrace)/2]:      "the file is cut off",
		`{"traceEvents": [{"ph": 3}]}`:        "byte ",
		"\x1f\x8bnot gzip":                    "gzip",
		`{"deviceProperties": "x"}`:           "byte ",
		`{"traceEvents": {"a": 1}, "b": [1]}`: "must be [",
	} {
		_, _, _, err := ImportKineto(writeTrace(t, text))
		assert.ErrorContains(t, err, want, text)
	}
	_, _, _, err := ImportKineto("nowhere.json")
	assert.ErrorContains(t, err, "nowhere.json")
}

// Whatever a trace holds, rows that come of it can be written, and no time is lost.
func FuzzImportKineto(f *testing.F) {
	f.Add([]byte(kinetoTrace))
	f.Add([]byte(`{"traceEvents": [{"ph":"X","cat":"kernel","name":"","ts":"x","dur":1,"args":{"External id":-1,"grid":["a"]}}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		tr, err := readTrace(bytes.NewReader(data))
		if err != nil || len(tr.kernels) == 0 {
			return
		}
		rows, _ := tr.rows()
		for _, r := range rows {
			for _, x := range r.Samples {
				if x > 1e300 { // sums of such times overflow
					return
				}
			}
		}
		require.NoError(t, sample.Write(&bytes.Buffer{}, sample.Header{}, rows))
	})
}
