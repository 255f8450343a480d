// Number formats and vectors that the kernels share. The device path uses the
// GPU's conversions; the host path, for the emulator, computes the same bits.
#pragma once
#include <stdint.h>

#ifdef __CUDACC__
#define DYNAMIC_SHARED(type, name) extern __shared__ type name[] // as many bytes as the launch says
#endif

struct alignas(2) bf16 {
	uint16_t bits;
};

// Eight bf16 values: 16 bytes, the widest access of a thread.
struct alignas(16) bf16x8 {
	bf16 v[8];
};

__device__ __forceinline__ float bits_to_float(uint32_t u) {
#ifdef __CUDA_ARCH__
	return __uint_as_float(u);
#else
	float f;
	memcpy(&f, &u, 4);
	return f;
#endif
}

__device__ __forceinline__ uint32_t float_to_bits(float f) {
#ifdef __CUDA_ARCH__
	return __float_as_uint(f);
#else
	uint32_t u;
	memcpy(&u, &f, 4);
	return u;
#endif
}

__device__ __forceinline__ float to_float(bf16 x) { return bits_to_float((uint32_t)x.bits << 16); }

// to_bf16 rounds to the nearest, ties to even.
__device__ __forceinline__ bf16 to_bf16(float f) {
	bf16 x;
#ifdef __CUDA_ARCH__
	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(x.bits) : "f"(f));
#else
	uint32_t u = float_to_bits(f);
	x.bits = (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
#endif
	return x;
}

// to_e4m3x2 rounds two values to fp8 (OCP E4M3: bias 7, no infinity, saturating
// at 448), a in the low byte.
__device__ __forceinline__ uint16_t to_e4m3x2(float a, float b) {
	uint16_t r;
#ifdef __CUDA_ARCH__
	asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(r) : "f"(b), "f"(a));
#else
	auto one = [](float f) -> uint16_t {
		uint16_t sign = f < 0 ? 0x80 : 0;
		float m = f < 0 ? -f : f;
		if (!(m < 448)) return m != m ? 0x7f : sign | 0x7e;
		if (m < 0x1p-10f) return sign;
		int e;
		frexpf(m, &e); // m in [2^(e-1), 2^e)
		e = e - 1 < -6 ? -6 : e - 1;
		float step = ldexpf(1, e - 3);
		float q = nearbyintf(m / step);
		if (q == 16) { q = 8; e++; }
		uint16_t bits = q < 8 ? (uint16_t)q : (uint16_t)((e + 7) << 3 | ((int)q - 8));
		return sign | (bits > 0x7e ? 0x7e : bits);
	};
	r = one(a) | one(b) << 8;
#endif
	return r;
}

// warp_sum adds a value over the 32 threads of a warp; all get the sum.
__device__ __forceinline__ float warp_sum(float x) {
	for (int d = 16; d > 0; d >>= 1) x += __shfl_xor_sync(0xffffffff, x, d);
	return x;
}

__device__ __forceinline__ float warp_max(float x) {
	for (int d = 16; d > 0; d >>= 1) x = fmaxf(x, __shfl_xor_sync(0xffffffff, x, d));
	return x;
}

// block_sum adds a value over a block of whole warps, at most 32; all get the sum.
__device__ __forceinline__ float block_sum(float x) {
	__shared__ float part[32];
	x = warp_sum(x);
	__syncthreads(); // the last call's readers are done
	if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = x;
	__syncthreads();
	float sum = 0;
	for (unsigned w = 0; w < blockDim.x / 32; w++) sum += part[w];
	return sum;
}
