// Bandwidth: what copies, reads, writes and triads of device memory reach, and
// reads of a buffer that stays in the L2 cache. n counts elements of 16 bytes.
#include "types.h"

extern "C" __global__ void hbm_copy(uint4 *__restrict__ dst, const uint4 *__restrict__ src, int64_t n) {
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) dst[i] = src[i];
}

// hbm_read folds all bits into one word a thread, so that no load can be left out.
extern "C" __global__ void hbm_read(uint32_t *__restrict__ out, const uint4 *__restrict__ src, int64_t n, int32_t times) {
	uint32_t x = 0;
	int64_t at = blockIdx.x * (int64_t)blockDim.x + threadIdx.x;
	for (int32_t t = 0; t < times; t++)
		for (int64_t i = at; i < n; i += (int64_t)gridDim.x * blockDim.x) {
			uint4 v = src[i];
			x = x * 31 + (v.x ^ v.y ^ v.z ^ v.w);
		}
	out[at] = x;
}

extern "C" __global__ void hbm_write(uint4 *dst, int64_t n, uint32_t value) {
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x)
		dst[i] = make_uint4(value, value + 1, value + 2, value + 3);
}

// hbm_triad is a = b + s c (McCalpin's STREAM).
extern "C" __global__ void hbm_triad(float4 *__restrict__ a, const float4 *__restrict__ b, const float4 *__restrict__ c, float s, int64_t n) {
	for (int64_t i = blockIdx.x * (int64_t)blockDim.x + threadIdx.x; i < n; i += (int64_t)gridDim.x * blockDim.x) {
		float4 x = b[i], y = c[i];
		a[i] = make_float4(x.x + s * y.x, x.y + s * y.y, x.z + s * y.z, x.w + s * y.w);
	}
}
