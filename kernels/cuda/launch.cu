// Launches: nothing to do, and something to do for as long as is asked.
#include "types.h"

extern "C" __global__ void nothing() {}

// fma keeps the arithmetic units busy: 2 x 8 x iterations FLOPs a thread.
extern "C" __global__ void fma_loop(float *out, int32_t iterations, float a, float b) {
	float x[8];
	for (int k = 0; k < 8; k++) x[k] = a + k + threadIdx.x;
	for (int32_t i = 0; i < iterations; i++)
#pragma unroll
		for (int k = 0; k < 8; k++) x[k] = x[k] * a + b;
	float sum = 0;
	for (int k = 0; k < 8; k++) sum += x[k];
	out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
}

// tile_stream copies tiles with as many blocks as are launched, one a
// multiprocessor: the transfer pattern of expert replication, which takes that
// many multiprocessors from the kernels beside it. A tile has size16 elements of
// 16 bytes; tiles go to blocks in turn.
extern "C" __global__ void tile_stream(uint4 *__restrict__ dst, const uint4 *__restrict__ src, int32_t tiles, int32_t size16) {
	for (int32_t t = blockIdx.x; t < tiles; t += gridDim.x) {
		const uint4 *from = src + (int64_t)t * size16;
		uint4 *to = dst + (int64_t)t * size16;
		int32_t i = threadIdx.x;
		for (; i + 3 * (int32_t)blockDim.x < size16; i += 4 * blockDim.x) { // four loads in flight
			uint4 a = from[i], b = from[i + blockDim.x], c = from[i + 2 * blockDim.x], d = from[i + 3 * blockDim.x];
			to[i] = a;
			to[i + blockDim.x] = b;
			to[i + 2 * blockDim.x] = c;
			to[i + 3 * blockDim.x] = d;
		}
		for (; i < size16; i += blockDim.x) to[i] = from[i];
	}
}
