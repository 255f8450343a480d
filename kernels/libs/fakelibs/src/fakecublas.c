// A stand-in for cuBLAS, for tests: products of groups in bf16, column-major. The
// arrays of pointers are on the GPU, which is host memory here.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int cublasCreate_v2(void **h) { *h = malloc(1); return 0; }
int cublasDestroy_v2(void *h) { free(h); return 0; }
int cublasSetStream_v2(void *h, void *s) { (void)h; return s ? 0 : 7; }

static float get(const uint16_t *x, int64_t i) {
	uint32_t u = (uint32_t)x[i] << 16;
	float f;
	memcpy(&f, &u, 4);
	return f;
}
int cublasGemmGroupedBatchedEx(void *h, const int *ta, const int *tb, const int *m, const int *n, const int *k, const float *alpha,
	const uint16_t *const *A, int typeA, const int *lda, const uint16_t *const *B, int typeB, const int *ldb, const float *beta,
	uint16_t *const *C, int typeC, const int *ldc, int groups, const int *each, int compute) {
	(void)h;
	if (typeA != 14 || typeB != 14 || typeC != 14 || compute != 68) return 15;
	for (int g = 0, at = 0; g < groups; g++)
		for (int e = 0; e < each[g]; e++, at++)
			for (int j = 0; j < n[g]; j++)
				for (int i = 0; i < m[g]; i++) {
					double sum = 0;
					for (int p = 0; p < k[g]; p++)
						sum += (double)get(A[at], ta[g] ? (int64_t)i * lda[g] + p : (int64_t)p * lda[g] + i) *
							get(B[at], tb[g] ? (int64_t)p * ldb[g] + j : (int64_t)j * ldb[g] + p);
					if (beta[g] != 0) return 15;
					float f = (float)(alpha[g] * sum);
					uint32_t u;
					memcpy(&u, &f, 4);
					C[at][(int64_t)j * ldc[g] + i] = (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
				}
	return 0;
}
