#!/usr/bin/env python3
"""Runs an export of `sim export replay` on one GPU with PyTorch, and writes what it
measured for `sim verify --replay`.

    sim export replay --all --out cases
    python3 kernels/replay.py cases/llama3-8b-layer.json --out result.json
    sim verify --replay result.json --export cases/llama3-8b-layer.json

Exit codes: 0 measured; 1 the run failed; 2 bad input, or torch or a GPU is missing.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from replay_lib import plan  # noqa: E402


def smi(query):
    """One value of nvidia-smi, "" where it cannot be had."""
    try:
        out = subprocess.run(["nvidia-smi", "--id=0", f"--query-gpu={query}", "--format=csv,noheader,nounits"],
                             capture_output=True, text=True, timeout=10, check=True)
        return out.stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def clock_mhz():
    """The SM clock in MHz, or None."""
    try:
        return float(smi("clocks.sm"))
    except ValueError:
        return None


def write(path, value):
    """Writes JSON under a temporary name and renames it."""
    handle, tmp = tempfile.mkstemp(dir=os.path.dirname(os.path.abspath(path)), suffix=".tmp")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as f:
            json.dump(value, f, indent=1)
            f.write("\n")
        os.chmod(tmp, 0o644)
        os.replace(tmp, path)
    except BaseException:
        os.unlink(tmp)
        raise


def arguments(argv):
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument("export", help="file of `sim export replay`")
    a.add_argument("--out", help="result to write; without it, standard output")
    a.add_argument("--dry-run", action="store_true", help="print what would run; needs no torch")
    a.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu tests the path and measures nothing")
    a.add_argument("--tiny", action="store_true", help="scale all sizes down; the result is refused by sim verify")
    a.add_argument("--eager", action="store_true", help="norms, RoPE and SwiGLU without torch.compile")
    a.add_argument("--warmup", type=int, default=3, help="steps before the first that counts")
    a.add_argument("--repeats", type=int, default=11, help="steps that count, once with events around passes and once around ops")
    args = a.parse_args(argv)
    if args.repeats < 1 or args.warmup < 0:
        a.error(f"--repeats {args.repeats} --warmup {args.warmup}: want at least 1 and 0")
    if args.device == "cpu" and not args.tiny:
        a.error("--device cpu needs --tiny")
    return args


def replay(args):
    """The result of an export."""
    export = plan.read(args.export)
    try:
        import torch
    except ImportError as err:
        raise plan.Refused(f"torch is not installed ({err}); --dry-run needs none") from err
    if args.device == "cuda" and not torch.cuda.is_available():
        raise plan.Refused("torch sees no GPU; --dry-run needs none")
    from replay_lib import executor
    used = plan.shrink(export) if args.tiny else export
    fuse = args.device == "cuda" and not args.eager
    measured = executor.measure(used, args.device, args.tiny, args.warmup, args.repeats, fuse, clock_mhz if args.device == "cuda" else lambda: None)
    return {
        "format": "orrery-replay-result", "version": 1, "export_digest": export["digest"], "name": export["name"],
        "device": args.device, "tiny": args.tiny,
        "gpu": torch.cuda.get_device_name() if args.device == "cuda" else "", "driver": smi("driver_version") if args.device == "cuda" else "",
        "torch": torch.__version__, "cuda": torch.version.cuda or "",
        "date": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"), **measured,
    }


def main(argv):
    args = arguments(argv)
    try:
        if args.dry_run:
            for line in plan.describe(plan.read(args.export)):
                print(line)
            return 0
        result = replay(args)
    except plan.Refused as err:
        print(f"replay: {err}", file=sys.stderr)
        return 2
    if args.out:
        write(args.out, result)
    else:
        json.dump(result, sys.stdout, indent=1)
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
