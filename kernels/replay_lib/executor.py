"""Runs the passes of an export in their order and times them."""

import time

import torch

from . import plan, stats
from .backends import Backends, rms_norm, rotate, swiglu
from .layers import LINEARS, NORMS, Layers, sizes

EXPERTS = ("expert fc1", "expert fc2")


class Executor(Layers):
    """One stage on one device."""

    def __init__(self, export, device, compile_pointwise, tiny):
        self.export, self.model, self.settings = export, export["model"], export["settings"]
        self.device, self.tiny = device, tiny
        self.dtype = torch.float32 if device == "cpu" else torch.bfloat16
        self.be = Backends(device, compile_pointwise)
        self.fused_norm, self.fused_act, self.fused_rope = (self.be.fuse(f) for f in (rms_norm, swiglu, rotate))
        torch.manual_seed(0)
        self.runs = self.table()
        plan.check(export, self.runs)
        self.w, self.g, self.made_up = {}, {}, {}
        self._parameters()
        self._inputs()
        self.keeps_input = {c["first_layer"] + i for c in export["chunks"] for i, k in enumerate(c["keeps_input"]) if k}
        self.drop_attention = self.settings["recompute"] == "selective" and "core_attn" in self.settings["recompute_parts"]
        self.shared = None
        self.reset()

    def _random(self, *shape):
        return (torch.randn(*shape, device=self.device) * 0.02).to(self.dtype)

    def _parameters(self):
        """Weights and fp32 gradients of every layer of the stage, by the names of its forward ops."""
        for _, p in plan.passes(self.export):
            if p["kind"] != "F":
                continue
            for op, layer, _ in plan.ops_of(self.export, p):
                name, kernel = op["name"], op["kernel"]
                if (layer, name) in self.w:
                    continue
                if name in NORMS:
                    self.w[layer, name] = torch.ones(self.model["hidden"], device=self.device, dtype=self.dtype)
                elif name in LINEARS + EXPERTS:
                    rows, columns = sizes(self.model, name)
                    if not self.tiny and (rows, columns) != (kernel["n"], kernel["k"]):
                        raise plan.Refused(f"{name}: the export has {kernel['text']}, its model {rows} x {columns}")
                    lead = (self.model["local_experts"],) if name in EXPERTS else ()
                    self.w[layer, name] = self._random(*lead, rows, columns)
                elif name == "embedding":
                    self.w[layer, name] = self._random(self.model["vocab"], self.model["hidden"])
                else:
                    continue
                self.g[layer, name] = torch.zeros(self.w[layer, name].shape, device=self.device)

    def _inputs(self):
        """What stays the same in every pass: tokens, positions, who routes where."""
        s, m = self.settings, self.model
        tokens = s["pass_tokens"]
        self.every = torch.arange(tokens, device=self.device)
        self.ids = torch.randint(0, m["vocab"], (tokens,), device=self.device)
        half = m["head_dim"] // 2
        steps = s["sequence_tokens"]
        angle = torch.arange(steps, device=self.device)[:, None] * 10000.0 ** (-torch.arange(half, device=self.device) / half)
        self.angles = angle.cos().to(self.dtype), angle.sin().to(self.dtype)
        self.expert_rows = m["rows_by_expert"]
        if self.expert_rows:
            rows = sum(self.expert_rows)
            self.routed = torch.arange(rows, device=self.device) % s["between_tokens"]
            self.choice = torch.arange(rows, device=self.device) % (s["between_tokens"] * m["top_k"])
            self.ends = torch.tensor(self.expert_rows, device=self.device).cumsum(0).to(torch.int32)

    def neighbour(self, rows, columns):
        """A random tensor in place of what neighbours would send; made once for each shape."""
        key = rows, columns
        if key not in self.made_up:
            self.made_up[key] = self._random(rows, columns)
        return self.made_up[key]

    def reset(self):
        """Forgets the activations of all passes."""
        self.stash, self.cache, self.dcache = {}, {}, {}
        self.x = self.dx = self.d = self.stream = None

    def arrive(self, p):
        """What a pass is handed, before it starts."""
        stream = self.neighbour(self.settings["between_tokens"], self.model["hidden"])
        if p["kind"] == "F":
            self.stream = stream.clone()
        elif p["kind"] != "W":
            self.d = stream.clone()
            self.dx = self.d

    def run(self, p, around):
        """Runs a pass; around(n, call) calls each op, n counting them."""
        ops = plan.ops_of(self.export, p)
        self.slice = p["slice"]
        block = None
        for n, (op, layer, at) in enumerate(ops):
            if at != block:
                self._leave(p, block)
                block = at
                self._enter(p, layer, op)
            if self.recomputing and not op["recompute"]:
                self._recomputed()
            self.recomputing = op["recompute"]
            around(n, self.runs[op["name"]])
        self._leave(p, block)
        self.x = self.dx = self.stream = self.q = self.k = self.v = self.dq = self.dk = self.dv = None

    def _enter(self, p, layer, op):
        self.layer, self.recomputing = layer, op["recompute"]
        self.key = p["stage"], p["microbatch"], p["slice"], layer
        self.at = p["stage"], p["microbatch"], layer
        if p["kind"] == "F":
            self.saved = self.stash[self.key] = {}
            if layer in self.keeps_input:
                self.saved["input"] = self.stream
            return
        self.saved = self.stash[self.key] if self.key in self.stash else {}
        if "input" in self.saved:
            self.stream = self.saved.pop("input")
        elif self.recomputing and not self.drop_attention:
            raise plan.Refused(f"layer {layer} recomputes {op['name']}, and its input was not kept")

    def _leave(self, p, block):
        if block is None:
            return
        if p["kind"] == "F" and "input" in self.saved:
            kept = self.saved["input"]
            self.saved.clear()
            self.saved["input"] = kept
        elif p["kind"] in ("B", "W"):
            self.stash.pop(self.key, None)

    def _recomputed(self):
        """The forward part of a backward pass is over: only gradients flow from here on."""
        self.x = self.stream = None


class Clock:
    """Times spans on the device: CUDA events, or the host's clock on a CPU."""

    def __init__(self, device):
        self.cuda = device == "cuda"
        self.spans = []

    def mark(self):
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def span(self, key, start, end):
        self.spans.append((key, start, end))

    def microseconds(self):
        """Microseconds by key of all spans since the last call, each a list."""
        if self.cuda:
            torch.cuda.synchronize()
        out = {}
        for key, start, end in self.spans:
            us = start.elapsed_time(end) * 1e3 if self.cuda else (end - start) * 1e6
            out.setdefault(key, []).append(us)
        self.spans = []
        return out


def step(ex, clock, each_op):
    """One step: the passes in order, with events around each op or around each pass."""
    ex.reset()
    begin = clock.mark()
    for i, p in plan.passes(ex.export):
        ex.arrive(p)
        start = clock.mark()
        if each_op:
            def around(n, call, i=i):
                a = clock.mark()
                call()
                clock.span((i, n), a, clock.mark())
        else:
            def around(n, call):
                call()
        ex.run(p, around)
        if not each_op:
            clock.span(i, start, clock.mark())
    if not each_op:
        clock.span("step", begin, clock.mark())


def memory(ex):
    """torch.cuda.memory_allocated before, after each pass, and its maximum; zeros on a CPU."""
    cuda = ex.device == "cuda"
    held = allocated = 0
    ex.reset()
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
    after = []
    for i, p in plan.passes(ex.export):
        ex.arrive(p)
        ex.run(p, lambda n, call: call())
        if cuda:
            allocated = torch.cuda.memory_allocated()
        after.append({"pass": i, "bytes": allocated})
    return {"held_bytes": held, "after": after, "peak_bytes": torch.cuda.max_memory_allocated() if cuda else 0}


@torch.no_grad()
def measure(export, device, tiny, warmup, repeats, compile_pointwise, clock_mhz):
    """The measured part of a result: backends, ops, passes, step, memory. clock_mhz()
    reads the SM clock or gives None."""
    ex = Executor(export, device, compile_pointwise, tiny)
    clock = Clock(device)
    for _ in range(warmup):
        step(ex, clock, False)
    clock.microseconds()
    held = memory(ex)
    by_pass, by_op, clocks = {}, {}, []
    for each_op, into in ((False, by_pass), (True, by_op)):
        for _ in range(repeats):
            step(ex, clock, each_op)
            mhz = clock_mhz()
            if mhz:
                clocks.append(mhz)
            for key, us in clock.microseconds().items():
                into.setdefault(key, []).extend(us)
    ops = []
    for i, p in plan.passes(export):
        for n, (op, layer, _) in enumerate(plan.ops_of(export, p)):
            ops.append({"pass": i, "op": n, "name": op["name"], "layer": layer, "microbatch": p["microbatch"], **stats.times(by_op[i, n])})
    total = stats.times(by_pass.pop("step"))
    return {
        "backends": ex.be.names, "ops": ops, "passes": [{"pass": i, **stats.times(us)} for i, us in by_pass.items()],
        "step": total, "memory": held, "clock_mhz": sorted(clocks)[len(clocks) // 2] if clocks else 0,
    }
