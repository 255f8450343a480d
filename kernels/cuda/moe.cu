// Routing of a mixture of experts.
#include "types.h"

// router: softmax over the experts' logits, the k largest and their
// probabilities, one warp a token. Ties go to the lower expert.
extern "C" __global__ void router(float *__restrict__ prob, int32_t *__restrict__ expert, const float *__restrict__ logits,
	int32_t tokens, int32_t experts, int32_t k) {
	int32_t token = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
	bool live = token < tokens; // every lane takes part in the shuffles
	const float *x = logits + (int64_t)(live ? token : 0) * experts;
	float m = -1e30f, s = 0;
	for (int32_t e = lane; e < experts; e += 32) m = fmaxf(m, x[e]);
	m = warp_max(m);
	for (int32_t e = lane; e < experts; e += 32) s += __expf(x[e] - m);
	s = warp_sum(s);
	float bound = 1e30f; // what was taken: no more than bound, and at bound no further than last
	int32_t last = -1;
	for (int32_t i = 0; i < k; i++) {
		float best = -1e30f;
		int32_t at = experts;
		for (int32_t e = lane; e < experts; e += 32) {
			float v = x[e];
			if ((v < bound || (v == bound && e > last)) && v > best) {
				best = v;
				at = e;
			}
		}
		for (int d = 16; d > 0; d >>= 1) {
			float v = __shfl_xor_sync(0xffffffff, best, d);
			int32_t e = __shfl_xor_sync(0xffffffff, at, d);
			if (v > best || (v == best && e < at)) {
				best = v;
				at = e;
			}
		}
		bound = best;
		last = at;
		if (live && lane == 0) {
			prob[token * k + i] = __expf(best - m) / s;
			expert[token * k + i] = at;
		}
	}
}

// permute copies token rows to the order of their experts: y[i] = x[from[i]].
extern "C" __global__ void permute(bf16x8 *__restrict__ y, const bf16x8 *__restrict__ x, const int32_t *__restrict__ from, int32_t cols8) {
	int64_t row = blockIdx.x, at = from[row];
	for (int32_t i = threadIdx.x; i < cols8; i += blockDim.x) y[row * cols8 + i] = x[at * cols8 + i];
}

// unpermute sums a token's k rows with its probabilities: y[t] = sum_j prob[t][j] x[row[t][j]].
extern "C" __global__ void unpermute(bf16x8 *__restrict__ y, const bf16x8 *__restrict__ x, const int32_t *__restrict__ row,
	const float *__restrict__ prob, int32_t k, int32_t cols8) {
	int64_t token = blockIdx.x;
	for (int32_t i = threadIdx.x; i < cols8; i += blockDim.x) {
		float sum[8] = {0, 0, 0, 0, 0, 0, 0, 0};
		for (int32_t j = 0; j < k; j++) {
			bf16x8 v = x[(int64_t)row[token * k + j] * cols8 + i];
			float p = prob[token * k + j];
#pragma unroll
			for (int c = 0; c < 8; c++) sum[c] += p * to_float(v.v[c]);
		}
		bf16x8 out;
#pragma unroll
		for (int c = 0; c < 8; c++) out.v[c] = to_bf16(sum[c]);
		y[token * cols8 + i] = out;
	}
}
