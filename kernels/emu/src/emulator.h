// What CUDA C++ needs to run on a CPU: one fiber a thread of a block, blocks one
// after another. A fiber runs until it waits for its block or its warp.
#pragma once
#include <math.h>
#include <stdint.h>
#include <string.h>

#define __global__
#define __device__
#define __forceinline__ inline
#define __restrict__ __restrict
#define __shared__ static // blocks run one at a time
#define DYNAMIC_SHARED(type, name) type *name = (type *)emu::dynamic_shared

struct uint2 { uint32_t x, y; };
struct alignas(16) uint4 { uint32_t x, y, z, w; };
struct float2 { float x, y; };
struct alignas(16) float4 { float x, y, z, w; };
inline uint2 make_uint2(uint32_t x, uint32_t y) { return {x, y}; }
inline uint4 make_uint4(uint32_t x, uint32_t y, uint32_t z, uint32_t w) { return {x, y, z, w}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
struct uint3 { unsigned x, y, z; };

namespace emu {
extern uint3 thread_index, block_index, block_size, grid_size;
extern void *dynamic_shared;
void wait_block();
void wait_warp();
uint32_t shuffle(uint32_t bits, int from); // from: a lane of the warp
}
#define threadIdx emu::thread_index
#define blockIdx emu::block_index
#define blockDim emu::block_size
#define gridDim emu::grid_size

inline void __syncthreads() { emu::wait_block(); }
template <class T> T __shfl_xor_sync(unsigned, T x, int mask) {
	static_assert(sizeof(T) == 4, "four bytes");
	uint32_t bits;
	memcpy(&bits, &x, 4);
	bits = emu::shuffle(bits, (int)(threadIdx.x % 32) ^ mask);
	memcpy(&x, &bits, 4);
	return x;
}
inline float atomicAdd(float *p, float x) { float was = *p; *p += x; return was; }
inline float rsqrtf(float x) { return 1 / sqrtf(x); }
inline float __expf(float x) { return expf(x); }
inline float __logf(float x) { return logf(x); }
