"""The format of samples (kernels/sample), its statistics, and the plan of a probe.

Nothing here needs torch, so that it is tested everywhere.
"""

import csv
import io
import math
import os

MAGIC = "# orrery samples v1"
KEYS = ["gpu", "driver", "cuda", "sms", "clock_mhz", "mem_mhz", "power_cap_w", "date", "launcher", "host", "synthetic"]
COLUMNS = ["family", "kernel", "hash", "shape", "dtype", "unit", "n", "median", "low", "high", "within",
           "clock_mhz", "mem_mhz", "power_w", "temp_c", "throttle", "samples"]
CLOSE_ENOUGH = 0.02  # half width of the interval, relative to the median


def interval_rank(n):
    """The k whose k-th smallest and largest of n samples bound the median with 95 %
    confidence (Conover, Practical Nonparametric Statistics, 3.2); 0 if there is none."""
    below = 0.0
    for k in range(1, n // 2 + 2):
        below += math.exp(math.lgamma(n + 1) - math.lgamma(k) - math.lgamma(n - k + 2) - n * math.log(2))
        if below > 0.025 or k > n // 2:
            return k - 1
    return 0


def interval(samples):
    """Median and distribution-free 95 % interval of the median, as sample.Interval."""
    x = sorted(samples)
    n = len(x)
    median = x[(n - 1) // 2]
    if n % 2 == 0:
        median += (x[n // 2] - median) / 2
    k = max(interval_rank(n), 1)
    return median, x[k - 1], x[n - k]


def settled(samples):
    """Whether the interval is within 2 % of the median."""
    if len(samples) < 6:
        return False
    median, low, high = interval(samples)
    return max(high - median, median - low) <= CLOSE_ENOUGH * median


def shortest(x):
    """A float as Go writes it: the fewest digits that give it back."""
    if x == int(x) and abs(x) < 1e15:
        return str(int(x))
    return repr(float(x))


def row(case, samples, state):
    """One line of a file, as a list of texts."""
    median, low, high = interval(samples)
    return [case["family"], case["kernel"], case["hash"], case["shape"], case["dtype"], "us", str(len(samples)),
            shortest(median), shortest(low), shortest(high), "true" if settled(samples) else "false",
            str(state.get("clock_mhz", 0)), str(state.get("mem_mhz", 0)), shortest(state.get("power_w", 0.0)),
            str(state.get("temp_c", 0)), state.get("throttle", ""), " ".join(shortest(x) for x in samples)]


def text_of(fields):
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(fields)
    return out.getvalue()


def head(values):
    """The header block and the names of the columns."""
    lines = [MAGIC] + [("# %s: %s" % (k, values.get(k, ""))).rstrip() for k in KEYS]
    return "\n".join(lines) + "\n" + ",".join(COLUMNS) + "\n"


def case_id(case):
    return "%s/%s/%s/%s" % (case["family"], case["kernel"], case["dtype"], case["shape"])


class Log:
    """A file of samples that rows are added to, each at once and whole. A last line
    that was cut off is dropped; what is there already is known by its ID."""

    def __init__(self, path, header, resume):
        self.done = set()
        if os.path.exists(path) and resume:
            with open(path, newline="") as f:
                text = f.read()
            if not text.startswith(MAGIC + "\n"):
                raise ValueError("%s is no file of samples: its first line must be %r" % (path, MAGIC))
            whole = text[:text.rfind("\n") + 1]
            lines = whole.split("\n")
            names = ",".join(COLUMNS)
            if names not in lines:
                raise ValueError("%s has no columns: delete it and begin again" % path)
            for fields in csv.reader(lines[lines.index(names) + 1:]):
                if fields:
                    self.done.add((case_id(dict(zip(COLUMNS, fields))), fields[2]))
            if whole != text:
                os.truncate(path, len(whole.encode()))
        elif os.path.exists(path):
            raise ValueError("%s is there already: --resume adds to it" % path)
        else:
            with open(path + ".tmp", "w", newline="") as f:
                f.write(head(header))
            os.replace(path + ".tmp", path)
        self.file = open(path, "a", newline="")

    def has(self, case):
        return (case_id(case), case["hash"]) in self.done

    def add(self, fields):
        self.file.write(text_of(fields))
        self.file.flush()
        os.fsync(self.file.fileno())


# --- what is measured ---------------------------------------------------------

def attention_cases():
    """Attention as frameworks ship it, the most informative first: (family, sizes,
    backend). Keys are those of `sim price attention`."""
    out = []
    heads = [(32, 8, 128, 128), (8, 1, 128, 128), (64, 8, 128, 128), (16, 16, 64, 64), (128, 128, 192, 128), (16, 16, 192, 128)]
    for backend in ("flash", "cudnn", "efficient"):
        for h, kv, dim, vdim in heads:
            if dim != vdim and backend == "flash":
                continue  # FlashAttention-2 has one head size for all
            for seq in (8192, 4096, 32768, 2048, 16384, 1024, 65536, 131072):
                for causal in (True, False):
                    for backward in (False, True):
                        if h * seq * seq > 64 * 65536 ** 2:
                            continue
                        weight = {"flash": 1.0, "cudnn": 0.9, "efficient": 0.2}[backend]
                        weight *= 1.0 if causal else 0.3
                        weight *= 2 ** -abs(math.log2(seq / 8192))
                        weight *= 1.0 if (h, kv, dim) == (32, 8, 128) else 0.6
                        out.append(attention(h, kv, dim, vdim, seq, seq, causal, backward, backend, weight))
            for seq, long in ((2048, 16384), (4096, 65536), (8192, 131072)):  # a slice and the keys before it
                for backward in (False, True):
                    out.append(attention(h, kv, dim, vdim, seq, long, False, backward, backend, 0.15))
    for lengths in ("uniform", "long_tail"):  # packed documents of 8,192 tokens together
        for backward in (False, True):
            case = attention(32, 8, 128, 128, 8192, 8192, True, backward, "varlen", 0.5)
            case["shape"] += " documents=" + lengths
            case["documents"] = lengths
            out.append(case)
    return sorted(out, key=lambda c: (-c["weight"], case_id(c)))


def attention(heads, kv_heads, head_dim, v_dim, seq, seq_kv, causal, backward, backend, weight):
    shape = "batch=1 seq=%d" % seq
    if seq_kv != seq:
        shape += " seq_kv=%d" % seq_kv
    shape += " heads=%d kv_heads=%d head_dim=%d" % (heads, kv_heads, head_dim)
    if v_dim != head_dim:
        shape += " v_dim=%d" % v_dim
    shape += " causal=%s" % ("true" if causal else "false")
    if backward:
        shape += " backward=true"
    family = "mla" if v_dim != head_dim else "attention" if causal else "encoder_attention"
    return {"family": family, "kernel": "sdpa_" + backend, "shape": shape, "dtype": "bf16", "weight": weight, "backend": backend,
            "heads": heads, "kv_heads": kv_heads, "head_dim": head_dim, "v_dim": v_dim, "seq": seq, "seq_kv": seq_kv,
            "causal": causal, "backward": backward}


def grouped_cases():
    """Expert layers by torch._grouped_mm: even and skewed, three products."""
    out = []
    for groups, hidden, ffn, tokens in ((8, 4096, 14336, 16384), (16, 7168, 2048, 32768), (32, 7168, 2048, 32768), (16, 4096, 1536, 32768), (4, 4096, 1536, 16384)):
        for layout in ("fwd", "dgrad", "wgrad"):
            for n, k in ((2 * ffn, hidden), (hidden, ffn)):
                for skew in (1, 2):
                    shape = "groups=%d tokens=%d n=%d k=%d layout=%s" % (groups, tokens, n, k, layout)
                    if skew > 1:
                        shape += " max_over_mean=%d" % skew
                    out.append({"family": "grouped_gemm", "kernel": "torch_grouped_mm", "shape": shape, "dtype": "bf16",
                                "weight": 0.8 / skew, "groups": groups, "tokens": tokens, "n": n, "k": k, "layout": layout, "skew": skew})
    return sorted(out, key=lambda c: (-c["weight"], case_id(c)))


def rows_of(groups, tokens, skew):
    """Rows of each expert, as shapes.Experts.Rows: multiples of 8 for the kernel."""
    first = min(int(skew * tokens / groups), tokens) // 8 * 8
    out, left = [first], tokens - first
    for i in range(1, groups):
        n = left // (groups - i) // 8 * 8 if i < groups - 1 else left
        out.append(n)
        left -= n
    return out


def documents_of(kind, total):
    """Lengths of the documents of a pack."""
    if kind == "uniform":
        return [total // 8] * 8
    out, n = [], total // 2
    while n >= 128:
        out.append(n)
        n //= 2
    return out + [total - sum(out)]


def all_cases():
    a, g = attention_cases(), grouped_cases()
    out = []
    while a or g:  # in turn, so that a short budget has both
        out += a[:4] + g[:1]
        a, g = a[4:], g[1:]
    return out
