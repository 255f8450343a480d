// A stand-in for NCCL, for tests: the ranks of one process, fp32. What a group
// queues runs when it ends.
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct comm { int rank, size; };
enum { ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, SEND, RECV };
struct call { int kind, peer; struct comm *comm; const float *in; float *out; size_t count; };
static struct call calls[4096];
static int queued;

const char *ncclGetErrorString(int code) { return code == 4 ? "invalid argument" : "unhandled system error"; }
int ncclGetVersion(int *v) { *v = 0; return 0; }
int ncclCommInitAll(struct comm **comms, int n, const int *devices) {
	for (int i = 0; i < n; i++) {
		if (devices[i] != i) return 4;
		comms[i] = malloc(sizeof **comms);
		*comms[i] = (struct comm){i, n};
	}
	return 0;
}
int ncclCommDestroy(struct comm *c) { free(c); return 0; }
int ncclGroupStart(void) { queued = 0; return 0; }
static int add(struct call c, int type) {
	if (type != 7 || queued == 4096) return 4;
	calls[queued++] = c;
	return 0;
}
int ncclAllReduce(const void *in, void *out, size_t n, int t, int op, struct comm *c, void *s) { (void)s; return op ? 4 : add((struct call){ALL_REDUCE, 0, c, in, out, n}, t); }
int ncclAllGather(const void *in, void *out, size_t n, int t, struct comm *c, void *s) { (void)s; return add((struct call){ALL_GATHER, 0, c, in, out, n}, t); }
int ncclReduceScatter(const void *in, void *out, size_t n, int t, int op, struct comm *c, void *s) { (void)s; return op ? 4 : add((struct call){REDUCE_SCATTER, 0, c, in, out, n}, t); }
int ncclSend(const void *in, size_t n, int t, int peer, struct comm *c, void *s) { (void)s; return add((struct call){SEND, peer, c, in, 0, n}, t); }
int ncclRecv(void *out, size_t n, int t, int peer, struct comm *c, void *s) { (void)s; return add((struct call){RECV, peer, c, 0, out, n}, t); }

int ncclGroupEnd(void) {
	for (int i = 0; i < queued; i++) {
		struct call *me = &calls[i];
		if (me->kind == SEND) continue;
		int matched = 0;
		if (me->kind == ALL_REDUCE || me->kind == REDUCE_SCATTER) memset(me->out, 0, me->count * 4);
		for (int j = 0; j < queued; j++) {
			struct call *other = &calls[j];
			if (me->kind == RECV) {
				if (other->kind != SEND || other->comm->rank != me->peer || other->peer != me->comm->rank || other->count != me->count) continue;
				memcpy(me->out, other->in, me->count * 4);
			} else if (other->kind != me->kind || other->count != me->count) {
				continue;
			} else if (me->kind == ALL_GATHER) {
				memcpy(me->out + other->comm->rank * me->count, other->in, me->count * 4);
			} else {
				const float *from = other->in + (me->kind == REDUCE_SCATTER ? me->comm->rank * me->count : 0);
				for (size_t k = 0; k < me->count; k++) me->out[k] += from[k];
			}
			matched++;
		}
		if (matched != (me->kind == RECV ? 1 : me->comm->size)) return 2;
	}
	return 0;
}
