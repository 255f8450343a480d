"""One function for each op of an export, by its name: forward, and backward by hand
where the simulator prices dgrad and wgrad apart."""

import torch

from .backends import grads, local, rms_norm, rotate, swiglu

NORMS = ("attention norm", "mlp norm", "final norm")
LINEARS = ("qkv", "proj", "fc1", "fc2", "shared fc1", "shared fc2", "router", "output layer")


def sizes(model, name):
    """Rows and columns of a linear layer's weight on this tensor-parallel rank."""
    h, q = model["hidden"], model["heads"] * model["head_dim"]
    return {
        "qkv": (q + 2 * model["kv_heads"] * model["head_dim"], h), "proj": (h, q),
        "fc1": (2 * model["ffn"], h), "fc2": (h, model["ffn"]),
        "shared fc1": (2 * model["shared_ffn"], h), "shared fc2": (h, model["shared_ffn"]),
        "router": (model["experts"], h), "output layer": (model["vocab"], h),
        "expert fc1": (2 * model["moe_ffn"], h), "expert fc2": (h, model["moe_ffn"]),
    }[name]


class Layers:
    """The ops. Subclassed by the executor, which has: model, settings, be (Backends),
    w and g (weights and fp32 gradients by (layer, name)), x and stream and d (branch,
    residual stream, gradient of the stream), saved (of the layer in this pass), at
    (key of keys and values), slice, and neighbour(rows, columns)."""

    def table(self):
        """Every op that can run, by name."""
        t = {}
        for name in NORMS:
            t[name], t["d " + name] = self._bind(self.norm, name), self._bind(self.d_norm, name)
        for name in LINEARS:
            t[name] = self._bind(self.linear, name)
            t["dgrad " + name], t["wgrad " + name] = self._bind(self.dgrad, name), self._bind(self.wgrad, name)
        for name in ("expert fc1", "expert fc2"):
            t[name] = self._bind(self.expert, name)
            t["dgrad " + name], t["wgrad " + name] = self._bind(self.d_expert, name), self._bind(self.w_expert, name)
        for name in ("activation", "expert activation", "shared activation"):
            t[name], t["d " + name] = self._bind(self.act, name), self._bind(self.d_act, name)
        for name in ("attention residual", "mlp residual"):
            t[name], t[name + " grad"] = self.residual, self.residual_grad
        for name in ("rope", "attention", "embedding", "permute", "unpermute", "router scores", "router top-k", "router probs",
                     "routing map", "tokens per expert", "d router probs", "d router scores", "d router cast",
                     "logits to fp32", "logits max", "logits minus max", "exp", "sum", "softmax", "loss grad", "grad to bf16",
                     "cross entropy", "cross entropy grad", "scale loss grad", "d rope", "d attention", "d embedding",
                     "d permute", "d unpermute"):
            t[name] = getattr(self, name.replace(" ", "_").replace("-", "_"))
        return t

    @staticmethod
    def _bind(method, name):
        return lambda: method(name)

    def fit(self, t, rows):
        """t, or what neighbours would have made of it where rows were gathered or scattered."""
        return t if t.shape[0] == rows else self.neighbour(rows, t.shape[1])

    def between(self, t):
        return self.fit(t, self.settings["between_tokens"])

    def rows(self, name):
        """Tokens that a linear layer sees."""
        return self.settings["between_tokens" if name == "router" else "pass_tokens"]

    # norms, residuals, activations

    def norm(self, name):
        source = self.stream
        self.x, self.saved[name] = local(self.fused_norm, source, self.w[self.layer, name])

    def d_norm(self, name):
        dx, dw = grads(self.saved.pop(name), self.between(self.dx))
        self.g[self.layer, name].add_(dw)
        if name == "final norm":
            self.d = dx
        else:
            self.dx = dx

    def residual(self):
        self.stream = self.stream + self.between(self.x)

    def residual_grad(self):
        self.d = self.d + self.between(self.dx)
        self.dx = self.d

    def act(self, name):
        self.x, self.saved[name] = local(self.fused_act, self.x)

    def d_act(self, name):
        (self.dx,) = grads(self.saved.pop(name), self.dx)

    # linear layers

    def linear(self, name):
        source = self.saved["router in"] if name.startswith("shared") and "fc1" in name else self.x
        if name == "router":
            self.saved["router in"] = source
        self.saved["in " + name] = source
        y = self.fit(source, self.rows(name)) @ self.w[self.layer, name].t()
        if name == "router":
            self.logits = y
        elif name == "shared fc2":
            self.shared = y
        else:
            self.x = y

    def dgrad(self, name):
        if name in ("proj", "fc2", "shared fc2"):  # the gradient comes from the stream
            self.dx = self.fit(self.d, self.rows(name))
        dy = self.dlogits if name == "router" else self.dx
        self.saved["dy " + name] = dy
        dx = dy @ self.w[self.layer, name]
        if name == "shared fc1":
            self.dmoe = self.dmoe + self.between(dx)
        self.dx = self.dmoe + dx if name == "router" else dx

    def wgrad(self, name):
        dy = self.saved.pop("dy " + name)
        self.be.accumulate(self.g[self.layer, name], dy, self.fit(self.saved.pop("in " + name), dy.shape[0]))

    # attention; [batch, heads, tokens, dim]

    def rope(self):
        m, b = self.model, self.settings["micro_batch"]
        hd, n = m["head_dim"], self.x.shape[0] // b
        heads = self.x.view(b, n, -1, hd).transpose(1, 2)
        q, k, v = heads.split((m["heads"], m["kv_heads"], m["kv_heads"]), 1)
        cos, sin = (t[self.slice * n:(self.slice + 1) * n] for t in self.angles)
        (self.q, self.k), self.saved["rope"] = local(lambda a, c: (self.fused_rope(a, cos, sin), self.fused_rope(c, cos, sin)), q, k)
        self.v = v

    def d_rope(self):
        dq, dk = grads(self.saved.pop("rope"), self.dq, self.dk)
        self.dx = torch.cat((dq, dk, self.dv), 1).transpose(1, 2).reshape(dq.shape[0] * dq.shape[2], -1)

    def keys(self):
        """Keys and values up to this slice, in one buffer for all slices."""
        if self.settings["slices"] == 1:
            return self.k, self.v
        n = self.k.shape[2]
        if self.at not in self.cache:
            shape = (*self.k.shape[:2], n * self.settings["slices"], self.k.shape[3])
            self.cache[self.at] = [torch.empty(shape, dtype=self.k.dtype, device=self.k.device) for _ in range(2)]
        out = []
        for buffer, t in zip(self.cache[self.at], (self.k, self.v)):
            buffer.data[:, :, self.slice * n:(self.slice + 1) * n].copy_(t)
            out.append(buffer.data[:, :, :(self.slice + 1) * n])  # .data: later slices do not touch what this one reads
        return out

    def attention(self):
        if self.recomputing and "attention in" in self.saved:
            q, k, v = self.saved.pop("attention in")
        else:
            q, (k, v) = self.q, self.keys()
        if self.drop_attention and not self.recomputing:
            self.saved["attention in"] = (q, k, v)
            out = self.be.attention(q, k, v)
        else:
            out, self.saved["attention"] = local(self.be.attention, q, k, v)
        if not (self.drop_attention and self.recomputing):
            self.x = out.transpose(1, 2).reshape(-1, q.shape[1] * q.shape[3])

    def d_attention(self):
        kept = self.saved.pop("attention")
        out = kept[0][0]
        b, heads, n, hd = out.shape
        self.dq, dk, dv = grads(kept, self.dx.view(b, n, heads, hd).transpose(1, 2))
        if self.settings["slices"] == 1:
            self.dk, self.dv = dk, dv
            return
        first = self.at not in self.dcache
        if first:  # the last slice sees all keys: its gradients start the sums
            self.dcache[self.at] = [dk, dv]
        else:
            for total, part in zip(self.dcache[self.at], (dk, dv)):
                total[:, :, :part.shape[2]].add_(part)
        lo = self.slice * n
        self.dk, self.dv = (t[:, :, lo:lo + n] for t in self.dcache[self.at])
        if self.slice == 0:
            self.cache.pop(self.at), self.dcache.pop(self.at)

    # embedding and loss

    def embedding(self):
        table = self.w[-1, "embedding"]
        self.stream = self.between(table[self.ids])

    def d_embedding(self):
        self.g[-1, "embedding"].index_add_(0, self.ids, self.fit(self.d, len(self.ids)).float())

    def logits_to_fp32(self):
        self.f = self.x.float()

    def logits_max(self):
        self.m = self.f.max(-1, keepdim=True)[0]

    def logits_minus_max(self):
        self.f.sub_(self.m)

    def exp(self):
        self.f.exp_()

    def sum(self):
        self.m = self.f.sum(-1, keepdim=True)

    def softmax(self):
        self.saved["softmax"] = self.f.div_(self.m)
        self.f = self.x = None

    def loss_grad(self):
        self.f = self.saved.pop("softmax")
        self.f[self.every, self.ids] -= 1
        self.f.mul_(1 / len(self.ids))

    def grad_to_bf16(self):
        self.dx, self.f = self.f.to(self.dtype), None

    def cross_entropy(self):
        self.m = torch.logsumexp(self.x, -1, keepdim=True)

    def cross_entropy_grad(self):
        self.x.sub_(self.m).exp_()
        self.x[self.every, self.ids] -= 1
        self.saved["loss grad"], self.x = self.x, None

    def scale_loss_grad(self):
        self.dx = self.saved.pop("loss grad")

    # experts: tokens go where rows_by_expert says, not where the router would send them

    def router_scores(self):
        self.scores = self.logits.float().softmax(-1)

    def router_top_k(self):
        self.top = self.scores.topk(self.model["top_k"], -1)

    def router_probs(self):
        p = self.top.values
        self.saved["probs"] = self.scores
        self.probs = (p / p.sum(-1, keepdim=True)).to(self.dtype)

    def routing_map(self):
        self.map = torch.zeros_like(self.scores, dtype=torch.bool).scatter_(1, self.top.indices, True)

    def tokens_per_expert(self):
        self.counts = self.map.sum(0)
        self.map = self.top = None

    def permute(self):
        source = self.saved["router in"]
        self.x = source.index_select(0, self.routed)

    def unpermute(self):
        out = torch.zeros(self.settings["between_tokens"], self.x.shape[1], dtype=self.dtype, device=self.x.device)
        weight = self.probs.reshape(-1, 1)[self.choice]
        self.saved["unpermute"] = weight
        out.index_add_(0, self.routed, self.x * weight)
        shared, self.shared = self.shared, None
        self.x = out if shared is None else out + self.between(shared)

    def d_unpermute(self):
        self.dx = self.d.index_select(0, self.routed) * self.saved.pop("unpermute")

    def expert(self, name):
        self.saved["in " + name] = self.x
        self.x = self.be.grouped_mm(self.x, self.w[self.layer, name].transpose(1, 2), self.expert_rows, self.ends)

    def d_expert(self, name):
        self.saved["dy " + name] = self.dx
        self.dx = self.be.grouped_mm(self.dx, self.w[self.layer, name], self.expert_rows, self.ends)

    def w_expert(self, name):
        dy, x = self.saved.pop("dy " + name), self.saved.pop("in " + name)
        for main, d, t in zip(self.g[self.layer, name], dy.split(self.expert_rows), x.split(self.expert_rows)):
            self.be.accumulate(main, d, t)

    def d_permute(self):
        self.dmoe = torch.zeros_like(self.d).index_add_(0, self.routed, self.dx)

    def d_router_probs(self):
        self.df = self.saved.pop("probs")

    def d_router_scores(self):
        s = self.df
        self.df = s * (s - (s * s).sum(-1, keepdim=True))

    def d_router_cast(self):
        self.dlogits, self.df = self.df.to(self.dtype), None
