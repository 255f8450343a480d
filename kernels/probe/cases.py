"""The kernels of the probe: each is checked against float32 before it is timed."""

import contextlib

import samples

# Tensors rotate so that a call does not find its inputs in the L2 cache.
ROTATE_BYTES = 256 << 20


def prepare(torch, case):
    """A function that runs the kernel once."""
    torch.manual_seed(1)
    if case["family"] == "grouped_gemm":
        return grouped(torch, case)
    if case["backend"] == "varlen":
        return varlen(torch, case)
    return attention(torch, case)


def rotating(make, each):
    sets = [make() for _ in range(1 + min(7, ROTATE_BYTES // max(each, 1)))]
    at = [0]

    def pick():
        at[0] += 1
        return sets[at[0] % len(sets)]
    return pick


def backend(torch, name):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    return sdpa_kernel({"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION}[name])


def attention(torch, c):
    grouped_heads = c["kv_heads"] != c["heads"]
    options = {"is_causal": c["causal"]}
    if grouped_heads:
        options["enable_gqa"] = True

    def make(seq=c["seq"], seq_kv=c["seq_kv"]):
        tensor = lambda heads, n, dim: torch.randn(1, heads, n, dim, device="cuda", dtype=torch.bfloat16, requires_grad=c["backward"])
        return (tensor(c["heads"], seq, c["head_dim"]), tensor(c["kv_heads"], seq_kv, c["head_dim"]), tensor(c["kv_heads"], seq_kv, c["v_dim"]))

    def forward(q, k, v):
        with backend(torch, c["backend"]):
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, **options)

    check_attention(torch, c, make, forward)
    bytes_each = 2 * (c["heads"] * c["seq"] + c["kv_heads"] * c["seq_kv"]) * (c["head_dim"] + c["v_dim"])
    pick = rotating(make, bytes_each)
    if not c["backward"]:
        return lambda: forward(*pick())
    ready = []
    for _ in range(1 + min(3, ROTATE_BYTES // bytes_each)):
        qkv = make()
        out = forward(*qkv)
        ready.append((out, qkv, torch.randn_like(out)))
    at = [0]

    def backward():
        at[0] += 1
        out, qkv, grad = ready[at[0] % len(ready)]
        torch.autograd.grad(out, qkv, grad, retain_graph=True)
    return backward


def check_attention(torch, c, make, forward):
    """A small call against float32 arithmetic on the definition."""
    small = 256
    q, k, v = make(small, small)
    out = forward(q, k, v)
    repeat = c["heads"] // c["kv_heads"]

    def reference(q, k, v):
        q, k, v = q.float(), k.float().repeat_interleave(repeat, 1), v.float().repeat_interleave(repeat, 1)
        scores = q @ k.transpose(-1, -2) / c["head_dim"] ** 0.5
        if c["causal"]:
            scores = scores.masked_fill(torch.ones(small, small, device="cuda", dtype=torch.bool).triu(1), float("-inf"))
        return scores.softmax(-1) @ v
    near(torch, out, reference(q, k, v), "output")
    if c["backward"]:
        grad = torch.randn_like(out)
        have = torch.autograd.grad(out, (q, k, v), grad)
        exact = [x.detach().float().requires_grad_() for x in (q, k, v)]
        want = torch.autograd.grad(reference(*exact), exact, grad.float())
        for name, a, b in zip(("dq", "dk", "dv"), have, want):
            near(torch, a, b, name)


def near(torch, have, want, what):
    worst = (have.float() - want).abs().max().item()
    allowed = 0.02 * want.abs().max().item() + 0.01
    if not worst <= allowed:
        raise RuntimeError("%s is off by %g, allowed are %g" % (what, worst, allowed))


def varlen(torch, c):
    """Packed documents: flash_attn if it is there, else nested tensors."""
    lengths = samples.documents_of(c["documents"], c["seq"])
    offsets = torch.tensor([0] + lengths, device="cuda", dtype=torch.int32).cumsum(0, dtype=torch.int32)
    tensor = lambda heads, dim: torch.randn(c["seq"], heads, dim, device="cuda", dtype=torch.bfloat16, requires_grad=c["backward"])
    q, k, v = tensor(c["heads"], c["head_dim"]), tensor(c["kv_heads"], c["head_dim"]), tensor(c["kv_heads"], c["v_dim"])
    with contextlib.suppress(ImportError):
        from flash_attn import flash_attn_varlen_func

        def forward():
            return flash_attn_varlen_func(q, k, v, offsets, offsets, max(lengths), max(lengths), causal=True)
        return varlen_call(torch, c, forward, (q, k, v))

    def forward():
        nested = [torch.nested.nested_tensor_from_jagged(x, offsets.long()).transpose(1, 2) for x in (q, k, v)]
        return torch.nn.functional.scaled_dot_product_attention(*nested, is_causal=True, enable_gqa=True).transpose(1, 2).values()
    return varlen_call(torch, c, forward, (q, k, v))


def varlen_call(torch, c, forward, qkv):
    if not c["backward"]:
        return forward
    out = forward()
    grad = torch.randn_like(out)
    return lambda: torch.autograd.grad(out, qkv, grad, retain_graph=True)


def grouped(torch, c):
    rows = samples.rows_of(c["groups"], c["tokens"], c["skew"])
    ends = torch.tensor(rows, device="cuda", dtype=torch.int32).cumsum(0, dtype=torch.int32)
    random = lambda *shape: torch.randn(*shape, device="cuda", dtype=torch.bfloat16)

    def make():
        x, w = random(c["tokens"], c["k"]), random(c["groups"], c["n"], c["k"])
        if c["layout"] == "fwd":
            return x, w.transpose(-1, -2)
        if c["layout"] == "dgrad":
            return x, random(c["groups"], c["k"], c["n"])
        return random(c["tokens"], c["n"]).t(), x

    def call(a, b):
        return torch._grouped_mm(a, b, offs=ends)

    a, b = make()
    out = call(a, b)
    last = rows[0] - 1  # a row of the first expert, all of its columns
    if c["layout"] == "wgrad":
        near(torch, out[0, 0], a[0, :rows[0]].float() @ b[:rows[0]].float(), "weight gradient")
    else:
        near(torch, out[last], a[last].float() @ b[0].float(), "product")
    pick = rotating(make, 2 * (c["tokens"] * c["k"] + c["groups"] * c["n"] * c["k"]))
    return lambda: call(*pick())
