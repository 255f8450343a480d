"""What a torch build offers, tried once on small tensors, with what is used instead."""

import torch
import torch.nn.functional as F


class Backends:
    """Implementations of the ops of which torch has several. names says which were taken."""

    def __init__(self, device, compile_pointwise):
        self.device, self.names = device, {}
        self.addmm = self._works("wgrad", "addmm into fp32", self._addmm_fp32, "mm, then add", device)
        self.grouped = self._works("grouped_gemm", "torch._grouped_mm", self._grouped_mm, "a GEMM for each expert", device)
        self.flash = device == "cuda"
        self.names["attention"] = "aten flash attention" if self.flash else "matrix products and softmax"
        self.names["pointwise"] = "torch.compile" if compile_pointwise else "eager"
        self.fuse = torch.compile if compile_pointwise else (lambda f: f)

    def _works(self, kind, name, attempt, otherwise, device):
        ok = False
        if device == "cuda":
            try:
                ok = attempt()
            except (RuntimeError, TypeError, AttributeError, NotImplementedError):
                ok = False
        self.names[kind] = name if ok else otherwise
        return ok

    def _addmm_fp32(self):
        main = torch.ones(64, 64, device="cuda")
        a = torch.ones(64, 32, device="cuda", dtype=torch.bfloat16)
        torch.addmm(main, a, a.t().contiguous(), out_dtype=torch.float32, out=main)
        return bool((main == 33).all())

    def _grouped_mm(self):
        a = torch.ones(64, 32, device="cuda", dtype=torch.bfloat16)
        w = torch.ones(2, 48, 32, device="cuda", dtype=torch.bfloat16)
        ends = torch.tensor([16, 64], device="cuda", dtype=torch.int32)
        return bool((torch._grouped_mm(a, w.transpose(1, 2), ends) == 32).all())

    def accumulate(self, main, dy, x):
        """main += dy^T x, in fp32."""
        if self.addmm:
            torch.addmm(main, dy.t(), x, out_dtype=torch.float32, out=main)
        else:
            main.add_(dy.t() @ x)

    def grouped_mm(self, x, weight, rows, ends):
        """x [rows, k] by weight [groups, k, n], the rows of each group by its own."""
        if self.grouped:
            return torch._grouped_mm(x, weight, ends)
        return torch.cat([part @ w for part, w in zip(x.split(rows), weight)])

    def attention(self, q, k, v):
        """Causal attention of [batch, heads, tokens, dim]; the last query sees all keys."""
        if self.flash:  # FlashAttention-2 aligns a causal mask to the last key, and takes fewer heads of k and v
            return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v, 0.0, True)[0]
        groups = q.shape[1] // k.shape[1]
        k, v = (t.repeat_interleave(groups, 1) for t in (k, v))
        scores = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        hidden = torch.ones(q.shape[2], k.shape[2], dtype=torch.bool).triu(1 + k.shape[2] - q.shape[2])
        return F.softmax(scores.masked_fill(hidden, float("-inf")), -1) @ v


def rms_norm(x, weight):
    """RMSNorm with epsilon 1e-5, the mean in fp32."""
    f = x.float()
    return (f * torch.rsqrt(f.pow(2).mean(-1, keepdim=True) + 1e-5)).to(x.dtype) * weight


def swiglu(x):
    """silu of the first half by the second."""
    a, b = x.chunk(2, -1)
    return F.silu(a) * b


def rotate(x, cos, sin):
    """Rotary position embedding of [..., tokens, dim], half by half."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def local(fn, *inputs):
    """fn's output, and what grads needs for the gradients of the inputs."""
    ins = [t.detach().requires_grad_() for t in inputs]
    with torch.enable_grad():
        out = fn(*ins)
    outs = out if isinstance(out, tuple) else (out,)
    detached = tuple(t.detach() for t in outs)
    return (detached if isinstance(out, tuple) else detached[0]), (outs, ins)


def grads(kept, *d_out):
    """The gradients of local's inputs."""
    outs, ins = kept
    return torch.autograd.grad(outs, ins, d_out)
