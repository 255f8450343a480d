// The end of a step: gradient norm, Adam, and casts to fp8.
#include "types.h"

// grad_norm: one partial sum of squares a block.
extern "C" __global__ void grad_norm(float *__restrict__ part, const float4 *__restrict__ g, int64_t n4) {
	float sum = 0;
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n4; i += (int64_t)gridDim.x * blockDim.x) {
		float4 v = g[i];
		sum += v.x * v.x + v.y * v.y + v.z * v.z + v.w * v.w;
	}
	sum = block_sum(sum);
	if (threadIdx.x == 0) part[blockIdx.x] = sum;
}

// grad_norm_final: the root of the sum of the partial sums, one block.
extern "C" __global__ void grad_norm_final(float *__restrict__ norm, const float *__restrict__ part, int32_t n) {
	float sum = 0;
	for (int32_t i = threadIdx.x; i < n; i += blockDim.x) sum += part[i];
	sum = block_sum(sum);
	if (threadIdx.x == 0) *norm = sqrtf(sum);
}

// A chunk of a tensor that adam updates.
struct chunk {
	bf16 *param;
	float *master, *m, *v;
	const float *grad;
	int64_t n; // elements, a multiple of 4
};

// adam updates many tensors in one launch (Kingma and Ba, arXiv:1412.6980, with
// decoupled weight decay, arXiv:1711.05101): one block a chunk. correct1 and
// correct2 are 1 - beta^t.
extern "C" __global__ void adam(const chunk *__restrict__ chunks, float lr, float beta1, float beta2, float eps, float decay,
	float correct1, float correct2) {
	chunk c = chunks[blockIdx.x];
	for (int64_t i = threadIdx.x; i < c.n / 4; i += blockDim.x) {
		float4 g = ((const float4 *)c.grad)[i], m = ((float4 *)c.m)[i], v = ((float4 *)c.v)[i], p = ((float4 *)c.master)[i];
		float gs[4] = {g.x, g.y, g.z, g.w}, ms[4] = {m.x, m.y, m.z, m.w}, vs[4] = {v.x, v.y, v.z, v.w}, ps[4] = {p.x, p.y, p.z, p.w};
		uint32_t half[2];
#pragma unroll
		for (int k = 0; k < 4; k++) {
			ms[k] = beta1 * ms[k] + (1 - beta1) * gs[k];
			vs[k] = beta2 * vs[k] + (1 - beta2) * gs[k] * gs[k];
			ps[k] -= lr * (ms[k] / correct1 / (sqrtf(vs[k] / correct2) + eps) + decay * ps[k]);
		}
		half[0] = to_bf16(ps[0]).bits | (uint32_t)to_bf16(ps[1]).bits << 16;
		half[1] = to_bf16(ps[2]).bits | (uint32_t)to_bf16(ps[3]).bits << 16;
		((float4 *)c.m)[i] = make_float4(ms[0], ms[1], ms[2], ms[3]);
		((float4 *)c.v)[i] = make_float4(vs[0], vs[1], vs[2], vs[3]);
		((float4 *)c.master)[i] = make_float4(ps[0], ps[1], ps[2], ps[3]);
		((uint2 *)c.param)[i] = make_uint2(half[0], half[1]);
	}
}

// cast_fp8 scales by a tensor's factor and rounds to E4M3.
extern "C" __global__ void cast_fp8(uint2 *__restrict__ y, const bf16x8 *__restrict__ x, const float *__restrict__ scale, int64_t n8) {
	float s = *scale;
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n8; i += (int64_t)gridDim.x * blockDim.x) {
		bf16x8 v = x[i];
		uint32_t out[2];
#pragma unroll
		for (int h = 0; h < 2; h++)
			out[h] = to_e4m3x2(s * to_float(v.v[4 * h]), s * to_float(v.v[4 * h + 1])) |
				(uint32_t)to_e4m3x2(s * to_float(v.v[4 * h + 2]), s * to_float(v.v[4 * h + 3])) << 16;
		y[i] = make_uint2(out[0], out[1]);
	}
}

// cast_fp8_block scales each 128 values of a row by 448 over their largest, which
// it writes as the factor to multiply by again (DeepSeek-V3, arXiv:2412.19437,
// section 3.3.2): 16 threads a group of 128.
extern "C" __global__ void cast_fp8_block(uint2 *__restrict__ y, float *__restrict__ scale, const bf16x8 *__restrict__ x, int64_t n8) {
	int64_t total = (n8 + 31) / 32 * 32; // whole warps take part in the shuffles
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < total; i += (int64_t)gridDim.x * blockDim.x) {
		bf16x8 v = {};
		if (i < n8) v = x[i];
		float top = 0;
#pragma unroll
		for (int k = 0; k < 8; k++) top = fmaxf(top, fabsf(to_float(v.v[k])));
		for (int d = 8; d > 0; d >>= 1) top = fmaxf(top, __shfl_xor_sync(0xffffffff, top, d));
		if (i >= n8) continue;
		float back = top > 0 ? top / 448 : 1, s = 1 / back;
		if (i % 16 == 0) scale[i / 16] = back;
		uint32_t out[2];
#pragma unroll
		for (int h = 0; h < 2; h++)
			out[h] = to_e4m3x2(s * to_float(v.v[4 * h]), s * to_float(v.v[4 * h + 1])) |
				(uint32_t)to_e4m3x2(s * to_float(v.v[4 * h + 2]), s * to_float(v.v[4 * h + 3])) << 16;
		y[i] = make_uint2(out[0], out[1]);
	}
}
