// A stand-in for libcuda.so.1 that tests load in its place. Device memory is host
// memory, work runs when it is enqueued, and events tell a synthetic clock. What
// a kernel computes comes from a library that ORRERY_EMU names; without one only
// the kernels at the end of this file are there. No number from it is a
// measurement: it exports orrery_fake_marker, which launchers look for.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_INITIALIZED = 3, NO_DEVICE = 100, INVALID_DEVICE = 101,
	INVALID_PTX = 218, INVALID_HANDLE = 400, NOT_FOUND = 500, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALID = 901 };

static const struct { CUresult code; const char *name, *text; } errors[] = {
	{OK, "CUDA_SUCCESS", "no error"},
	{INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
	{OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
	{NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
	{NO_DEVICE, "CUDA_ERROR_NO_DEVICE", "no CUDA-capable device is detected"},
	{INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
	{INVALID_PTX, "CUDA_ERROR_INVALID_PTX", "a PTX JIT compilation failed"},
	{INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
	{NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
	{ILLEGAL_ADDRESS, "CUDA_ERROR_ILLEGAL_ADDRESS", "an illegal memory access was encountered"},
	{CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED", "operation not permitted when stream is capturing"},
	{CAPTURE_INVALID, "CUDA_ERROR_STREAM_CAPTURE_INVALIDATED", "operation failed due to a previous error during capture"},
};

const int orrery_fake_marker = 1;

CUresult cuGetErrorName(CUresult code, const char **out) {
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (errors[i].code == code) { *out = errors[i].name; return OK; }
	return INVALID_VALUE;
}
CUresult cuGetErrorString(CUresult code, const char **out) {
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++)
		if (errors[i].code == code) { *out = errors[i].text; return OK; }
	return INVALID_VALUE;
}

// Devices: ORRERY_FAKE_GPUS of them, one if it is not set.
static int initialised;
static int gpus(void) { const char *n = getenv("ORRERY_FAKE_GPUS"); return n ? atoi(n) : 1; }
static const uint64_t memory = 8ull << 30;

CUresult cuInit(unsigned flags) {
	if (flags) return INVALID_VALUE;
	if (gpus() < 0) return NO_DEVICE;
	initialised = 1;
	return OK;
}
CUresult cuDriverGetVersion(int *v) { *v = 12040; return OK; }
CUresult cuDeviceGetCount(int *n) { if (!initialised) return NOT_INITIALIZED; *n = gpus(); return OK; }
CUresult cuDeviceGet(int *dev, int ordinal) {
	if (!initialised) return NOT_INITIALIZED;
	if (ordinal < 0 || ordinal >= gpus()) return INVALID_DEVICE;
	*dev = ordinal;
	return OK;
}
CUresult cuDeviceGetName(char *name, int len, int dev) { (void)dev; snprintf(name, len, "orrery fake GPU"); return OK; }
CUresult cuDeviceTotalMem_v2(uint64_t *bytes, int dev) { (void)dev; *bytes = memory; return OK; }
CUresult cuDeviceGetAttribute(int *out, int attribute, int dev) {
	(void)dev;
	switch (attribute) {
	case 13: *out = 1980000; break; // clock, kHz
	case 16: *out = 4; break;       // SMs: emulated ones are slow
	case 36: *out = 3201000; break; // memory clock, kHz
	case 38: *out = 1 << 20; break; // L2
	case 75: *out = 9; break;
	case 76: *out = 0; break;
	default: return INVALID_VALUE;
	}
	return OK;
}
static int current;
CUresult cuDevicePrimaryCtxRetain(void **ctx, int dev) { *ctx = (void *)(intptr_t)(dev + 1); return OK; }
CUresult cuDevicePrimaryCtxRelease_v2(int dev) { (void)dev; return OK; }
CUresult cuCtxSetCurrent(void *ctx) { current = (int)(intptr_t)ctx; return OK; }

// Memory: a list of blocks, so that addresses can be checked.
struct block { char *at; uint64_t size; struct block *next; };
static struct block *blocks;
static uint64_t used;

static int inside(uint64_t p, uint64_t n) {
	for (struct block *b = blocks; b; b = b->next)
		if (p >= (uint64_t)(uintptr_t)b->at && p + n <= (uint64_t)(uintptr_t)b->at + b->size) return 1;
	return 0;
}
CUresult cuMemAlloc_v2(uint64_t *out, uint64_t n) {
	if (!current || !n) return INVALID_VALUE;
	if (used + n > memory) return OUT_OF_MEMORY;
	struct block *b = malloc(sizeof *b);
	b->at = aligned_alloc(256, (n + 255) / 256 * 256);
	if (!b->at) { free(b); return OUT_OF_MEMORY; }
	b->size = n;
	b->next = blocks;
	blocks = b;
	used += n;
	*out = (uint64_t)(uintptr_t)b->at;
	return OK;
}
CUresult cuMemFree_v2(uint64_t p) {
	for (struct block **at = &blocks; *at; at = &(*at)->next) {
		struct block *b = *at;
		if ((uint64_t)(uintptr_t)b->at != p) continue;
		*at = b->next;
		used -= b->size;
		free(b->at);
		free(b);
		return OK;
	}
	return INVALID_VALUE;
}
CUresult cuMemcpyHtoD_v2(uint64_t dst, const void *src, uint64_t n) {
	if (!inside(dst, n)) return INVALID_VALUE;
	memcpy((void *)(uintptr_t)dst, src, n);
	return OK;
}
CUresult cuMemcpyDtoH_v2(void *dst, uint64_t src, uint64_t n) {
	if (!inside(src, n)) return INVALID_VALUE;
	memcpy(dst, (void *)(uintptr_t)src, n);
	return OK;
}

// Modules: the PTX text. Functions know the sizes of their parameters.
struct function { char name[128]; int params, size[64]; struct function *next; };
struct module { char *text; struct function *functions; };

CUresult cuModuleLoadDataEx(struct module **out, const void *image, unsigned n, int *names, void **values) {
	if (!strstr(image, ".version")) {
		for (unsigned i = 0; i < n; i++)
			if (names[i] == 5) strcpy(values[i], "ptxas: no .version directive (fake)");
		return INVALID_PTX;
	}
	*out = calloc(1, sizeof **out);
	(*out)->text = strdup(image);
	return OK;
}
CUresult cuModuleLoadData(struct module **out, const void *image) { return cuModuleLoadDataEx(out, image, 0, 0, 0); }
CUresult cuModuleUnload(struct module *m) {
	for (struct function *f = m->functions, *next; f; f = next) { next = f->next; free(f); }
	free(m->text);
	free(m);
	return OK;
}

static int (*emu_has)(const char *);
static int (*emu_launch)(const char *, const unsigned *, const unsigned *, unsigned, void **);
static void find_emulator(void) {
	void *lib = RTLD_DEFAULT;
	const char *path = getenv("ORRERY_EMU");
	if (path && *path) lib = dlopen(path, RTLD_NOW | RTLD_GLOBAL);
	if (!lib && path && *path) { fprintf(stderr, "fake libcuda: %s\n", dlerror()); return; }
	emu_has = (int (*)(const char *))dlsym(lib, "orrery_emu_has");
	emu_launch = (int (*)(const char *, const unsigned *, const unsigned *, unsigned, void **))dlsym(lib, "orrery_emu_launch");
}
static int builtin(const char *name, const unsigned *grid, const unsigned *block, void **args, int run);

CUresult cuModuleGetFunction(struct function **out, struct module *m, const char *name) {
	char entry[160];
	for (char *at = m->text; (at = strstr(at, ".entry ")); at++) {
		if (sscanf(at, ".entry %127[A-Za-z0-9_$]", entry) != 1 || strcmp(entry, name)) continue;
		find_emulator();
		if (!builtin(name, 0, 0, 0, 0) && !(emu_has && emu_has(name))) return NOT_FOUND;
		struct function *f = calloc(1, sizeof *f);
		strcpy(f->name, entry);
		const char *end = strchr(at, '{');
		for (const char *p = at; (p = strstr(p, ".param ")) && p < end && f->params < 64; p++) {
			char type[32];
			int align = 0, skip = 0;
			if (sscanf(p, ".param .align %d %n", &align, &skip) == 1) {
				int bytes = 0;
				sscanf(p + skip, ".b8 %*[^[][%d", &bytes);
				f->size[f->params++] = bytes;
			} else if (sscanf(p, ".param .%31[a-z0-9]", type) == 1) {
				f->size[f->params++] = atoi(type + 1) / 8;
			}
		}
		f->next = m->functions;
		m->functions = f;
		*out = f;
		return OK;
	}
	return NOT_FOUND;
}
CUresult cuFuncSetAttribute(struct function *f, int attribute, int value) {
	(void)f;
	return attribute == 8 && value >= 0 && value <= 227 * 1024 ? OK : INVALID_VALUE;
}

// Streams and the synthetic clock, in microseconds.
struct op { int kind; struct function *f; unsigned grid[3], block[3], shared; char args[64 * 64]; uint64_t dst, src, n; int value; struct op *next; };
struct stream { double now; int capturing; struct op *first, **last; };
struct event { double at; int set; };
static struct stream null_stream;
static uint64_t calls;
static struct { char name[128]; double factor; } slow[32];
static int slows;

// orrery_fake_slow makes a kernel slower by a factor from now on.
void orrery_fake_slow(const char *kernel, double factor) {
	for (int i = 0; i < slows; i++)
		if (!strcmp(slow[i].name, kernel)) { slow[i].factor = factor; return; }
	if (slows < 32) {
		snprintf(slow[slows].name, sizeof slow[slows].name, "%s", kernel);
		slow[slows++].factor = factor;
	}
}
static double jitter(void) { // 1 % either way, the same in every run
	uint64_t z = ++calls * 0x9E3779B97F4A7C15ull;
	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9ull;
	z = (z ^ z >> 27) * 0x94D049BB133111EBull;
	return 1 + 0.01 * (2 * (double)((z ^ z >> 31) >> 11) / 9007199254740992.0 - 1);
}
static double threads(const unsigned *d) { return (double)d[0] * d[1] * d[2]; }
static double cost(const char *name, const unsigned *grid, const unsigned *block) {
	double us = 2 + 1e-3 * threads(grid) * threads(block);
	for (int i = 0; i < slows; i++)
		if (!strcmp(slow[i].name, name)) us *= slow[i].factor;
	return us * jitter();
}

static CUresult run(struct stream *s, struct op *o) {
	switch (o->kind) {
	case 0: {
		void *args[64];
		for (int i = 0; i < o->f->params; i++) args[i] = o->args + 64 * i;
		s->now += cost(o->f->name, o->grid, o->block);
		if (builtin(o->f->name, o->grid, o->block, args, 1)) return OK;
		return emu_launch(o->f->name, o->grid, o->block, o->shared, args) ? ILLEGAL_ADDRESS : OK;
	}
	case 1:
		if (!inside(o->dst, o->n)) return ILLEGAL_ADDRESS;
		memset((void *)(uintptr_t)o->dst, o->value, o->n);
		break;
	default:
		if (!inside(o->dst, o->n) || !inside(o->src, o->n)) return ILLEGAL_ADDRESS;
		memmove((void *)(uintptr_t)o->dst, (void *)(uintptr_t)o->src, o->n);
	}
	s->now += (2 + o->n / 1e6) * jitter();
	return OK;
}
static CUresult enqueue(struct stream *s, struct op *o) {
	if (!s) s = &null_stream;
	if (!s->capturing) return run(s, o);
	struct op *copy = malloc(sizeof *copy);
	*copy = *o;
	copy->next = 0;
	*s->last = copy;
	s->last = &copy->next;
	return OK;
}

CUresult cuLaunchKernel(struct function *f, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
	unsigned shared, struct stream *s, void **params, void **extra) {
	struct op o = {0};
	if (!f || extra) return INVALID_HANDLE;
	if (!gx || !gy || !gz || !bx || !by || !bz || (uint64_t)bx * by * bz > 1024 || shared > 227 * 1024) return INVALID_VALUE;
	o.f = f;
	o.grid[0] = gx; o.grid[1] = gy; o.grid[2] = gz;
	o.block[0] = bx; o.block[1] = by; o.block[2] = bz;
	o.shared = shared;
	for (int i = 0; i < f->params; i++) {
		if (f->size[i] > 64 || !params[i]) return INVALID_VALUE;
		memcpy(o.args + 64 * i, params[i], f->size[i]);
	}
	return enqueue(s, &o);
}
CUresult cuMemsetD8Async(uint64_t dst, unsigned char value, uint64_t n, struct stream *s) {
	struct op o = {.kind = 1, .dst = dst, .n = n, .value = value};
	return enqueue(s, &o);
}
CUresult cuMemcpyDtoDAsync_v2(uint64_t dst, uint64_t src, uint64_t n, struct stream *s) {
	struct op o = {.kind = 2, .dst = dst, .src = src, .n = n};
	return enqueue(s, &o);
}
CUresult cuStreamCreate(struct stream **s, unsigned flags) { (void)flags; *s = calloc(1, sizeof **s); return OK; }
CUresult cuStreamDestroy_v2(struct stream *s) { free(s); return OK; }
CUresult cuStreamSynchronize(struct stream *s) { return s && s->capturing ? CAPTURE_UNSUPPORTED : OK; }
CUresult cuCtxSynchronize(void) { return OK; }
CUresult cuStreamWaitEvent(struct stream *s, struct event *e, unsigned flags) {
	(void)flags;
	if (e->set && e->at > s->now) s->now = e->at;
	return OK;
}
CUresult cuStreamBeginCapture_v2(struct stream *s, int mode) {
	(void)mode;
	if (!s || s->capturing) return CAPTURE_UNSUPPORTED;
	s->capturing = 1;
	s->first = 0;
	s->last = &s->first;
	return OK;
}
struct graph { struct op *first; int users; };
static void drop(struct graph *g) {
	if (--g->users) return;
	for (struct op *o = g->first, *next; o; o = next) { next = o->next; free(o); }
	free(g);
}
CUresult cuStreamEndCapture(struct stream *s, struct graph **g) {
	if (!s->capturing) return CAPTURE_INVALID;
	s->capturing = 0;
	*g = calloc(1, sizeof **g);
	(*g)->first = s->first;
	(*g)->users = 1;
	return OK;
}
CUresult cuGraphInstantiateWithFlags(struct graph **exec, struct graph *g, unsigned long long flags) {
	(void)flags;
	g->users++;
	*exec = g;
	return OK;
}
CUresult cuGraphLaunch(struct graph *g, struct stream *s) {
	for (struct op *o = g->first; o; o = o->next) {
		CUresult r = run(s ? s : &null_stream, o);
		if (r) return r;
	}
	return OK;
}
CUresult cuGraphDestroy(struct graph *g) { drop(g); return OK; }
CUresult cuGraphExecDestroy(struct graph *g) { drop(g); return OK; }
CUresult cuEventCreate(struct event **e, unsigned flags) { (void)flags; *e = calloc(1, sizeof **e); return OK; }
CUresult cuEventDestroy_v2(struct event *e) { free(e); return OK; }
CUresult cuEventRecord(struct event *e, struct stream *s) {
	if (!s) s = &null_stream;
	s->now += 0.5;
	e->at = s->now;
	e->set = 1;
	return OK;
}
CUresult cuEventSynchronize(struct event *e) { return e->set ? OK : INVALID_HANDLE; }
CUresult cuEventElapsedTime(float *ms, struct event *start, struct event *end) {
	if (!start->set || !end->set) return INVALID_HANDLE;
	*ms = (float)((end->at - start->at) * 1e-3);
	return OK;
}

// Kernels of the driver's own tests.
static int builtin(const char *name, const unsigned *grid, const unsigned *block, void **args, int go) {
	if (!strcmp(name, "fake_saxpy")) { // (float *y, const float *x, float a, int n)
		if (go) {
			float *y = *(float **)args[0], *x = *(float **)args[1], a = *(float *)args[2];
			int n = *(int *)args[3];
			for (unsigned i = 0; i < grid[0] * block[0] && (int)i < n; i++) y[i] += a * x[i];
		}
		return 1;
	}
	return !strcmp(name, "fake_nothing");
}
