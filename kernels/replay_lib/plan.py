"""Reads an export and lists what runs. Needs neither torch nor a GPU."""

import json

FORMAT, VERSION = "orrery-replay", 1
RECOMPUTED_PARTS = {"core_attn"}  # of selective recomputation, what executor.py drops and runs again
OPTIMIZER = -1  # microbatch of what follows the passes


class Refused(Exception):
    """The export asks for what this program does not do; the text says what."""


def read(path):
    """The export at path, checked as far as this program depends on it."""
    try:
        with open(path, encoding="utf-8") as f:
            export = json.load(f)
    except (OSError, ValueError) as err:
        raise Refused(f"{path}: {err}") from err
    found = (export.get("format"), export.get("version")) if isinstance(export, dict) else (None, None)
    if found != (FORMAT, VERSION):
        raise Refused(f"{path}: format {found[0]!r} version {found[1]!r}, want {FORMAT!r} version {VERSION}")
    return export


def passes(export):
    """The passes that run, each (index, pass); what follows the last backward does not."""
    return [(i, p) for i, p in enumerate(export["passes"]) if p["microbatch"] != OPTIMIZER]


def ops_of(export, one):
    """The ops of a pass on the compute lane, each (op, layer, number of its block in the pass)."""
    out = []
    for n, use in enumerate(one["blocks"]):
        for op in export["blocks"][use["block"]]["ops"]:
            if op["lane"] == "compute":
                out.append((op, use["layer"], n))
    return out


def check(export, known):
    """Refuses what this program would run as something else. known: names of ops."""
    settings, model = export["settings"], export["model"]
    if model["mla"]:
        raise Refused("multi-head latent attention (model.kv_lora) is not replayed yet")
    if model["window"]:
        raise Refused(f"sliding-window attention (model.window = {model['window']}) is not replayed yet")
    if model["norm"] != "rms" or not model["gated"]:
        raise Refused(f"norm {model['norm']!r}, gated {model['gated']}: only RMSNorm and SwiGLU are replayed")
    if settings["dtype"] != "bf16":
        raise Refused(f"training.precision {settings['dtype']!r} needs transformer_engine and is not replayed yet; want bf16")
    if settings["grad_dtype"] != "fp32":
        raise Refused(f"framework.grad_dtype {settings['grad_dtype']!r}; gradients are accumulated in fp32 only")
    if not settings["fused_kernels"]:
        raise Refused("framework.fused_kernels is false; only fused kernels are replayed")
    if settings["recompute"] == "selective":
        other = sorted(set(settings["recompute_parts"]) - RECOMPUTED_PARTS)
        if other:
            raise Refused(f"selective recomputation of {', '.join(other)}; replayed are {', '.join(sorted(RECOMPUTED_PARTS))}, full and none")
    unknown = sorted({op["name"] for _, p in passes(export) for op, _, _ in ops_of(export, p)} - set(known))
    if unknown:
        raise Refused("no way to run: " + ", ".join(unknown))


def shrink(export):
    """The export with all sizes scaled down, to test the path on a CPU. Only shapes
    of kernels and the model change; predictions stay and mean nothing."""
    tiny = json.loads(json.dumps(export))
    model, settings = tiny["model"], tiny["settings"]
    model.update(hidden=32, heads=min(model["heads"], 4), head_dim=8, vocab=64)
    model["kv_heads"] = max(min(model["kv_heads"], 2), 1)
    for key in ("ffn", "moe_ffn", "shared_ffn"):
        model[key] = 48 if model[key] else 0
    between = max(16 * settings["between_tokens"] // settings["pass_tokens"], 1)
    settings["pass_tokens"], settings["between_tokens"] = 16, between
    settings["sequence_tokens"] = 16 * settings["slices"] // settings["micro_batch"]
    if model["rows_by_expert"]:
        want, total = settings["between_tokens"] * model["top_k"], sum(model["rows_by_expert"])
        rows = [r * want // total for r in model["rows_by_expert"]]
        rows[0] += want - sum(rows)
        model["rows_by_expert"] = rows
    return tiny


def describe(export):
    """Lines that say what would run."""
    s = export["settings"]
    yield f"{export['name']}: {export['model']['name']} on {export['gpu']}, schedule {export['schedule']}, recompute {s['recompute']}"
    for i, p in passes(export):
        ops = ops_of(export, p)
        again = sum(op["recompute"] for op, _, _ in ops)
        yield (f"pass {i}: {p['kind']} stage {p['stage']} microbatch {p['microbatch']} slice {p['slice']}: {len(ops)} ops"
               f" ({again} again), {p['replay_ps'] / 1e6:.1f} us predicted, {p['after_bytes'] / 2**20:.1f} MiB of activations after it")
    skipped = sum(len(m["kernels"]) for m in export["messages"])
    skipped += sum(op["lane"] == "comm" for _, p in passes(export) for u in p["blocks"] for op in export["blocks"][u["block"]]["ops"])
    yield f"replaced by nothing: {skipped} messages"
    yield f"predicted: {export['replay_ps'] / 1e9:.3f} ms, peak {export['memory']['replay_peak_bytes'] / 2**30:.3f} GiB"
