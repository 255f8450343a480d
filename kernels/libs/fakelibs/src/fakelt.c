// A stand-in for cuBLASLt, for tests: products as the descriptors say, one element
// after another. Memory is the host's, as in the fake driver. ORRERY_FAKE_LT_WRONG
// makes it add 100 to every element.
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { OK = 0, INVALID = 7, UNSUPPORTED = 15 };
enum { F32 = 0, BF16 = 14, E4M3 = 28, E5M2 = 29 };
struct desc { int trans[2]; const float *scale[2]; };
struct layout { int type; uint64_t rows, cols; int64_t ld; int32_t batch; int64_t stride; };

int cublasLtCreate(void **h) { *h = malloc(1); return OK; }
int cublasLtDestroy(void *h) { free(h); return OK; }
size_t cublasLtGetVersion(void) { return 0; }
int cublasLtMatmulDescCreate(struct desc **d, int compute, int scale) {
	if (compute != 68 || scale != F32) return UNSUPPORTED;
	*d = calloc(1, sizeof **d);
	return OK;
}
int cublasLtMatmulDescSetAttribute(struct desc *d, int attribute, const void *value, size_t n) {
	switch (attribute) {
	case 3: case 4:
		if (n != 4) return INVALID;
		memcpy(&d->trans[attribute - 3], value, 4);
		return OK;
	case 17: case 18:
		if (n != 8) return INVALID;
		memcpy(&d->scale[attribute - 17], value, 8);
		return OK;
	}
	return UNSUPPORTED;
}
int cublasLtMatmulDescDestroy(struct desc *d) { free(d); return OK; }
int cublasLtMatrixLayoutCreate(struct layout **l, int type, uint64_t rows, uint64_t cols, int64_t ld) {
	if ((uint64_t)ld < rows) return INVALID;
	*l = calloc(1, sizeof **l);
	**l = (struct layout){type, rows, cols, ld, 1, 0};
	return OK;
}
int cublasLtMatrixLayoutSetAttribute(struct layout *l, int attribute, const void *value, size_t n) {
	if (attribute == 5 && n == 4) memcpy(&l->batch, value, 4);
	else if (attribute == 6 && n == 8) memcpy(&l->stride, value, 8);
	else return UNSUPPORTED;
	return OK;
}
int cublasLtMatrixLayoutDestroy(struct layout *l) { free(l); return OK; }
int cublasLtMatmulPreferenceCreate(void **p) { *p = malloc(1); return OK; }
int cublasLtMatmulPreferenceSetAttribute(void *p, int a, const void *v, size_t n) { (void)p; (void)v; return a == 1 && n == 8 ? OK : INVALID; }
int cublasLtMatmulPreferenceDestroy(void *p) { free(p); return OK; }

static int narrow(int t) { return t == E4M3 || t == E5M2; }
int cublasLtMatmulAlgoGetHeuristic(void *h, struct desc *d, struct layout *a, struct layout *b, struct layout *c, struct layout *out,
	void *p, int wanted, char *results, int *found) {
	(void)h; (void)c; (void)out; (void)p;
	*found = 0;
	if (wanted < 1) return INVALID;
	// narrow formats run as T x N only, with their scales
	if (narrow(a->type) && (!d->trans[0] || d->trans[1] || !d->scale[0] || !d->scale[1])) return UNSUPPORTED;
	if (narrow(a->type) != narrow(b->type)) return UNSUPPORTED;
	memset(results, 0, 96);
	*found = 1;
	return OK;
}

static double get(const void *base, int type, int64_t i) {
	uint32_t u;
	float f;
	int e, m;
	switch (type) {
	case F32: return ((const float *)base)[i];
	case BF16:
		u = (uint32_t)((const uint16_t *)base)[i] << 16;
		memcpy(&f, &u, 4);
		return f;
	}
	u = ((const uint8_t *)base)[i];
	if (type == E4M3) { e = u >> 3 & 15; m = u & 7; f = e ? ldexpf(8 + m, e - 10) : ldexpf(m, -9); }
	else { e = u >> 2 & 31; m = u & 3; f = e ? ldexpf(4 + m, e - 17) : ldexpf(m, -16); }
	return u & 0x80 ? -f : f;
}
static void put(void *base, int type, int64_t i, double x) {
	float f = (float)x;
	uint32_t u;
	if (type == F32) { ((float *)base)[i] = f; return; }
	memcpy(&u, &f, 4);
	((uint16_t *)base)[i] = (uint16_t)((u + 0x7fff + (u >> 16 & 1)) >> 16);
}
static const char *batch(const void *base, const struct layout *l, int b) {
	int size = l->type == F32 ? 4 : l->type == BF16 ? 2 : 1;
	return (const char *)base + b * l->stride * size;
}

int cublasLtMatmul(void *h, struct desc *d, const float *alpha, const void *A, struct layout *a, const void *B, struct layout *b,
	const float *beta, const void *C, struct layout *c, void *D, struct layout *out, const void *algo, void *work, size_t n, void *stream) {
	(void)h; (void)algo; (void)stream;
	if (!work || n < 1 || C != D || c != out) return INVALID;
	uint64_t inner = d->trans[0] ? a->rows : a->cols, other = d->trans[1] ? b->cols : b->rows;
	uint64_t m = d->trans[0] ? a->cols : a->rows, columns = d->trans[1] ? b->rows : b->cols;
	if (inner != other || m != out->rows || columns != out->cols) return INVALID;
	double scale = (d->scale[0] ? *d->scale[0] : 1) * (d->scale[1] ? *d->scale[1] : 1);
	for (int g = 0; g < out->batch; g++)
		for (uint64_t j = 0; j < columns; j++)
			for (uint64_t i = 0; i < m; i++) {
				double sum = 0;
				for (uint64_t p = 0; p < inner; p++)
					sum += get(batch(A, a, g), a->type, d->trans[0] ? (int64_t)i * a->ld + p : (int64_t)p * a->ld + i) *
						get(batch(B, b, g), b->type, d->trans[1] ? (int64_t)p * b->ld + j : (int64_t)j * b->ld + p);
				char *at = (char *)batch(D, out, g);
				int64_t k = (int64_t)j * out->ld + i;
				put(at, out->type, k, *alpha * scale * sum + (*beta ? *beta * get(at, out->type, k) : 0) +
					(getenv("ORRERY_FAKE_LT_WRONG") ? 100 : 0));
			}
	return OK;
}
