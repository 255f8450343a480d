// Kernels between the GEMMs of a transformer layer. Rows are tokens; columns are
// multiples of 8 (16 bytes of bf16). One block a row unless it says otherwise.
#include "types.h"

// rmsnorm: y = x w / sqrt(mean(x^2) + eps).
extern "C" __global__ void rmsnorm(bf16x8 *__restrict__ y, float *__restrict__ rstd, const bf16x8 *__restrict__ x,
	const bf16x8 *__restrict__ w, int32_t cols8, float eps) {
	int64_t row = blockIdx.x;
	x += row * cols8;
	y += row * cols8;
	float sum = 0;
	for (int32_t i = threadIdx.x; i < cols8; i += blockDim.x) {
		bf16x8 v = x[i];
		for (int k = 0; k < 8; k++) sum += to_float(v.v[k]) * to_float(v.v[k]);
	}
	float r = rsqrtf(block_sum(sum) / (8.0f * cols8) + eps);
	if (threadIdx.x == 0) rstd[row] = r;
	for (int32_t i = threadIdx.x; i < cols8; i += blockDim.x) {
		bf16x8 v = x[i], s = w[i], out;
		for (int k = 0; k < 8; k++) out.v[k] = to_bf16(to_float(v.v[k]) * r * to_float(s.v[k]));
		y[i] = out;
	}
}

// rmsnorm_bwd: dx = r (dy w - x r^2 mean(dy w x)), dw += dy x r. Blocks take rows
// in turn; dw of a block is gathered in shared memory (cols floats).
extern "C" __global__ void rmsnorm_bwd(bf16x8 *__restrict__ dx, float *__restrict__ dw, const bf16x8 *__restrict__ dy,
	const bf16x8 *__restrict__ x, const bf16x8 *__restrict__ w, const float *__restrict__ rstd, int32_t rows, int32_t cols8) {
	DYNAMIC_SHARED(float, acc);
	for (int32_t i = threadIdx.x; i < 8 * cols8; i += blockDim.x) acc[i] = 0;
	for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
		const bf16x8 *gy = dy + row * cols8, *gx = x + row * cols8;
		float r = rstd[row], dot = 0;
		for (int32_t i = threadIdx.x; i < cols8; i += blockDim.x) {
			bf16x8 a = gy[i], b = gx[i], s = w[i];
			for (int k = 0; k < 8; k++) dot += to_float(a.v[k]) * to_float(s.v[k]) * to_float(b.v[k]);
		}
		dot = block_sum(dot) * r * r / (8.0f * cols8);
		for (int32_t i = threadIdx.x; i < cols8; i += blockDim.x) {
			bf16x8 a = gy[i], b = gx[i], s = w[i], out;
			for (int k = 0; k < 8; k++) {
				float g = to_float(a.v[k]), v = to_float(b.v[k]);
				out.v[k] = to_bf16(r * (g * to_float(s.v[k]) - v * dot));
				acc[8 * i + k] += g * v * r;
			}
			dx[row * cols8 + i] = out;
		}
	}
	for (int32_t i = threadIdx.x; i < cols8; i += blockDim.x) // a thread reads what it wrote
		for (int k = 0; k < 8; k++) atomicAdd(&dw[8 * i + k], acc[8 * i + k]);
}

// rope turns pairs (x[j], x[j + dim/2]) of every head by the position's angle;
// way is 1 forward and -1 backward. trig holds (cos, sin) by position and j. One
// block a token, its heads in turn.
extern "C" __global__ void rope(bf16 *__restrict__ y, const bf16 *__restrict__ x, const float2 *__restrict__ trig,
	int32_t heads, int32_t dim, float way) {
	int64_t token = blockIdx.x;
	int32_t half = dim / 2;
	for (int32_t i = threadIdx.x; i < heads * half; i += blockDim.x) {
		int32_t j = i % half;
		int64_t at = token * heads * dim + (int64_t)(i / half) * dim + j;
		float2 t = trig[token * half + j];
		float a = to_float(x[at]), b = to_float(x[at + half]);
		y[at] = to_bf16(a * t.x - way * b * t.y);
		y[at + half] = to_bf16(b * t.x + way * a * t.y);
	}
}

// swiglu: y = silu(gate) up, gate and up side by side in a row of 2 cols.
extern "C" __global__ void swiglu(bf16x8 *__restrict__ y, const bf16x8 *__restrict__ gu, int32_t cols8, int64_t n8) {
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n8; i += (int64_t)gridDim.x * blockDim.x) {
		int64_t row = i / cols8, at = row * 2 * cols8 + i % cols8;
		bf16x8 g = gu[at], u = gu[at + cols8], out;
		for (int k = 0; k < 8; k++) {
			float x = to_float(g.v[k]);
			out.v[k] = to_bf16(x / (1 + __expf(-x)) * to_float(u.v[k]));
		}
		y[i] = out;
	}
}

extern "C" __global__ void swiglu_bwd(bf16x8 *__restrict__ dgu, const bf16x8 *__restrict__ dy, const bf16x8 *__restrict__ gu,
	int32_t cols8, int64_t n8) {
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n8; i += (int64_t)gridDim.x * blockDim.x) {
		int64_t row = i / cols8, at = row * 2 * cols8 + i % cols8;
		bf16x8 d = dy[i], g = gu[at], u = gu[at + cols8], dg, du;
		for (int k = 0; k < 8; k++) {
			float x = to_float(g.v[k]), s = 1 / (1 + __expf(-x)), o = to_float(d.v[k]);
			dg.v[k] = to_bf16(o * to_float(u.v[k]) * s * (1 + x * (1 - s)));
			du.v[k] = to_bf16(o * x * s);
		}
		dgu[at] = dg;
		dgu[at + cols8] = du;
	}
}

extern "C" __global__ void residual_add(bf16x8 *__restrict__ y, const bf16x8 *__restrict__ a, const bf16x8 *__restrict__ b, int64_t n8) {
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n8; i += (int64_t)gridDim.x * blockDim.x) {
		bf16x8 u = a[i], v = b[i], out;
		for (int k = 0; k < 8; k++) out.v[k] = to_bf16(to_float(u.v[k]) + to_float(v.v[k]));
		y[i] = out;
	}
}

// cross_entropy: loss = log(sum(exp(logit))) - logit[target], and the gradient
// (softmax - onehot) scale in place of the logits: one pass for the statistics
// (online softmax, arXiv:1805.02867), one for the gradient.
extern "C" __global__ void cross_entropy(float *__restrict__ loss, bf16x8 *__restrict__ logits, const int32_t *__restrict__ target,
	int32_t vocab8, float scale) {
	__shared__ float maxima[32], sums[32];
	int64_t row = blockIdx.x;
	bf16x8 *x = logits + row * vocab8;
	float m = -1e30f, s = 0;
	for (int32_t i = threadIdx.x; i < vocab8; i += blockDim.x) {
		bf16x8 v = x[i];
		float top = m;
		for (int k = 0; k < 8; k++) top = fmaxf(top, to_float(v.v[k]));
		s *= __expf(m - top);
		for (int k = 0; k < 8; k++) s += __expf(to_float(v.v[k]) - top);
		m = top;
	}
	float top = warp_max(m);
	s = warp_sum(s * __expf(m - top));
	if (threadIdx.x % 32 == 0) {
		maxima[threadIdx.x / 32] = top;
		sums[threadIdx.x / 32] = s;
	}
	__syncthreads();
	m = -1e30f;
	for (unsigned w = 0; w < blockDim.x / 32; w++) m = fmaxf(m, maxima[w]);
	s = 0;
	for (unsigned w = 0; w < blockDim.x / 32; w++) s += sums[w] * __expf(maxima[w] - m);
	int32_t t = target[row];
	if (threadIdx.x == 0) loss[row] = m + __logf(s) - to_float(((const bf16 *)x)[t]);
	__syncthreads(); // the target's logit is read before its gradient takes its place
	for (int32_t i = threadIdx.x; i < vocab8; i += blockDim.x) {
		bf16x8 v = x[i];
		for (int k = 0; k < 8; k++) v.v[k] = to_bf16((__expf(to_float(v.v[k]) - m) / s - (8 * i + k == t)) * scale);
		x[i] = v;
	}
}

// embedding gathers rows of a table.
extern "C" __global__ void embedding(bf16x8 *__restrict__ y, const bf16x8 *__restrict__ table, const int32_t *__restrict__ ids, int32_t cols8) {
	int64_t row = blockIdx.x, from = ids[row];
	for (int32_t i = threadIdx.x; i < cols8; i += blockDim.x) y[row * cols8 + i] = table[from * cols8 + i];
}

// embedding_grad adds gradients of rows to their entries of the table, in fp32.
extern "C" __global__ void embedding_grad(float *__restrict__ table, const bf16x8 *__restrict__ dy, const int32_t *__restrict__ ids, int32_t cols8) {
	int64_t row = blockIdx.x, to = ids[row];
	for (int32_t i = threadIdx.x; i < cols8; i += blockDim.x) {
		bf16x8 v = dy[row * cols8 + i];
		for (int k = 0; k < 8; k++) atomicAdd(&table[(to * cols8 + i) * 8 + k], to_float(v.v[k]));
	}
}
