// The scheduler of emulator.h, and the table of kernels.
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

#include "emulator.h"
#include "kernels.inc" // all .cu files

namespace emu {
uint3 thread_index, block_index, block_size, grid_size;
void *dynamic_shared;

enum State { ready, at_block, at_warp, over };
struct Fiber {
	ucontext_t context;
	State state;
	uint32_t given[2]; // to shuffles, by turn: a fiber is one shuffle ahead at most
	int turn;
	char *stack;
};
static const size_t stack_bytes = 64 << 10;
static Fiber fibers[1024];
static ucontext_t scheduler;
static int now, threads;
static void (*body)(void **);
static void **arguments;

static void leave(State s) {
	fibers[now].state = s;
	swapcontext(&fibers[now].context, &scheduler);
}
void wait_block() { leave(at_block); }
void wait_warp() { leave(at_warp); }
uint32_t shuffle(uint32_t bits, int from) {
	Fiber &f = fibers[now];
	int turn = f.turn;
	f.given[turn] = bits;
	f.turn = !turn;
	leave(at_warp);
	return fibers[now / 32 * 32 + from].given[turn];
}
static void enter() {
	body(arguments);
	fibers[now].state = over;
	swapcontext(&fibers[now].context, &scheduler);
}

// release lets fibers go on that all wait for the same; it tells whether any did.
static bool release(int first, int last, State at) {
	for (int i = first; i < last; i++)
		if (fibers[i].state != at && fibers[i].state != over) return false;
	bool any = false;
	for (int i = first; i < last; i++)
		if (fibers[i].state == at) {
			fibers[i].state = ready;
			any = true;
		}
	return any;
}

static int run_block() {
	threads = block_size.x;
	for (int i = 0; i < threads; i++) {
		Fiber &f = fibers[i];
		if (!f.stack) f.stack = (char *)malloc(stack_bytes);
		getcontext(&f.context);
		f.context.uc_stack.ss_sp = f.stack;
		f.context.uc_stack.ss_size = stack_bytes;
		f.context.uc_link = &scheduler;
		f.turn = 0;
		f.state = ready;
		makecontext(&f.context, enter, 0);
	}
	for (;;) {
		bool ran = false, left = false;
		for (int i = 0; i < threads; i++) {
			if (fibers[i].state == over) continue;
			left = true;
			if (fibers[i].state != ready) continue;
			now = i;
			thread_index = {(unsigned)i, 0, 0};
			swapcontext(&scheduler, &fibers[i].context);
			ran = true;
		}
		if (!left) return 0;
		for (int i = 0; i < threads; i += 32) ran |= release(i, i + 32 < threads ? i + 32 : threads, at_warp);
		ran |= release(0, threads, at_block);
		if (!ran) return 1; // some wait for what others never reach
	}
}

// call passes the arguments of a kernel, which stand in memory one by one.
template <size_t... I> struct indices {};
template <size_t N, size_t... I> struct make : make<N - 1, N - 1, I...> {};
template <size_t... I> struct make<0, I...> { typedef indices<I...> type; };
template <class... A, size_t... I> void apply(void (*f)(A...), void **args, indices<I...>) { f(*(A *)args[I]...); }
template <class... A> void call(void (*f)(A...), void **args) { (void)args; apply(f, args, typename make<sizeof...(A)>::type()); }

struct Kernel { const char *name; void (*run)(void **); };
static const Kernel kernels[] = {
#define KERNEL(name) {#name, [](void **args) { call(name, args); }},
#include "table.inc"
};
static const Kernel *find(const char *name) {
	for (const Kernel &k : kernels)
		if (!strcmp(k.name, name)) return &k;
	return nullptr;
}
}

extern "C" __attribute__((visibility("default"))) int orrery_emu_has(const char *name) { return emu::find(name) != nullptr; }

extern "C" __attribute__((visibility("default"))) int orrery_emu_launch(const char *name, const unsigned grid[3],
	const unsigned block[3], unsigned shared, void **args) {
	const emu::Kernel *k = emu::find(name);
	if (!k || block[1] != 1 || block[2] != 1 || grid[1] != 1 || grid[2] != 1 || block[0] > 1024) return 1;
	emu::body = k->run;
	emu::arguments = args;
	emu::grid_size = {grid[0], 1, 1};
	emu::block_size = {block[0], 1, 1};
	emu::dynamic_shared = calloc(1, shared + 16);
	int failed = 0;
	for (unsigned b = 0; b < grid[0] && !failed; b++) {
		emu::block_index = {b, 0, 0};
		failed = emu::run_block();
	}
	free(emu::dynamic_shared);
	if (failed) fprintf(stderr, "emulator: threads of %s wait for each other\n", name);
	return failed;
}
