#!/usr/bin/env python3
"""Measures what only frameworks ship: attention of PyTorch's backends, forward and
backward, and grouped products of expert layers. Writes files of samples as
`sim calibrate` does.

  python3 kernels/probe/probe.py --out samples.csv [--budget 480] [--only 'attention/*']
"""

import argparse
import fnmatch
import sys
import time

import samples

AT_LEAST = 200.0  # microseconds of work in a sample
FEWEST, MOST = 10, 200


def fail(message):
    print("probe: " + message, file=sys.stderr)
    sys.exit(2)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="file of samples to write")
    parser.add_argument("--budget", type=float, default=0, help="seconds to spend; 0 does not bound them")
    parser.add_argument("--only", default="*", help="pattern of case IDs: family/kernel/dtype/shape")
    parser.add_argument("--resume", action="store_true", help="add to a file that is there")
    parser.add_argument("--list", action="store_true", help="print the cases and stop")
    parser.add_argument("--dry-run", action="store_true", help="print what would be measured, in order")
    args = parser.parse_args()
    cases = [c for c in samples.all_cases() if fnmatch.fnmatch(samples.case_id(c), args.only)]
    if not cases:
        fail("no case matches %r; --list shows all" % args.only)
    if args.list or args.dry_run:
        for c in cases:
            print(samples.case_id(c))
        return
    if not args.out:
        fail("--out FILE is missing")
    try:
        import torch
    except ImportError:
        fail("PyTorch is not installed: pip install torch")
    if not torch.cuda.is_available():
        fail("PyTorch sees no GPU; nothing was measured")
    run(torch, cases, args)


def run(torch, cases, args):
    import cases as kernels

    telemetry = Telemetry()
    properties = torch.cuda.get_device_properties(0)
    header = {"gpu": properties.name, "driver": telemetry.driver, "cuda": torch.version.cuda, "sms": properties.multi_processor_count,
              "clock_mhz": telemetry.max_clock, "mem_mhz": telemetry.max_mem, "power_cap_w": samples.shortest(telemetry.cap),
              "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "launcher": "torch",
              "host": "torch %s cudnn %s" % (torch.__version__, torch.backends.cudnn.version()), "synthetic": "false"}
    version = "torch" + torch.__version__
    for c in cases:
        c["hash"] = version
    try:
        log = samples.Log(args.out, header, args.resume)
    except ValueError as e:
        fail(str(e))
    begin, measured, skipped = time.time(), 0, 0
    for c in cases:
        if log.has(c):
            continue
        if args.budget and time.time() - begin > args.budget:
            print("the budget is spent: %d measured, --resume goes on" % measured)
            break
        try:
            call = kernels.prepare(torch, c)
            taken, state = timed(torch, call, telemetry)
        except (RuntimeError, NotImplementedError, AttributeError) as e:  # a backend that does not take the shape
            skipped += 1
            print("%s: not measured: %s" % (samples.case_id(c), str(e).strip().split("\n")[0]))
            continue
        finally:
            call = None
            torch.cuda.empty_cache()
        log.add(samples.row(c, taken, state))
        measured += 1
        print("%s: %.1f us of %d" % (samples.case_id(c), samples.interval(taken)[0], len(taken)))
    print("%d measured, %d not to be had, in %s" % (measured, skipped, args.out))


def timed(torch, call, telemetry):
    """Samples of a call in microseconds; short ones are means of several."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def once(n):
        start.record()
        for _ in range(n):
            call()
        end.record()
        end.synchronize()
        return start.elapsed_time(end) * 1e3 / n

    for _ in range(3):
        once(1)
    n = max(1, min(512, int(AT_LEAST / max(once(1), 0.1)) + 1))
    graph = None
    if n > 1:  # without launches of the host in between, where the call can be captured
        try:
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                for _ in range(n):
                    call()
        except RuntimeError:
            graph = None
            torch.cuda.synchronize()
    out, states = [], []
    while len(out) < MOST and not (len(out) >= FEWEST and samples.settled(out)):
        if graph is not None:
            start.record()
            graph.replay()
            end.record()
            end.synchronize()
            out.append(start.elapsed_time(end) * 1e3 / n)
        else:
            out.append(once(n))
        if len(out) % 8 == 1:
            states.append(telemetry.state())
    return out, telemetry.sum(states)


class Telemetry:
    """Clocks, power and temperature by NVML, where the package pynvml is."""

    def __init__(self):
        self.nvml, self.driver, self.max_clock, self.max_mem, self.cap = None, "", 0, 0, 0.0
        try:
            import pynvml
            pynvml.nvmlInit()
            self.nvml, self.handle = pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
        except Exception:  # any failure means that there is no telemetry
            return
        driver = pynvml.nvmlSystemGetDriverVersion()
        self.driver = driver.decode() if isinstance(driver, bytes) else driver
        self.max_clock = pynvml.nvmlDeviceGetMaxClockInfo(self.handle, pynvml.NVML_CLOCK_SM)
        self.max_mem = pynvml.nvmlDeviceGetMaxClockInfo(self.handle, pynvml.NVML_CLOCK_MEM)
        self.cap = pynvml.nvmlDeviceGetEnforcedPowerLimit(self.handle) / 1e3

    def state(self):
        if self.nvml is None:
            return {}
        n = self.nvml
        names = {0x2: "applications_clocks", 0x4: "power_cap", 0x8: "hw_slowdown", 0x10: "sync_boost", 0x20: "sw_thermal",
                 0x40: "hw_thermal", 0x80: "power_brake", 0x100: "display_clocks"}
        bits = n.nvmlDeviceGetCurrentClocksThrottleReasons(self.handle)
        return {"clock_mhz": n.nvmlDeviceGetClockInfo(self.handle, n.NVML_CLOCK_SM), "mem_mhz": n.nvmlDeviceGetClockInfo(self.handle, n.NVML_CLOCK_MEM),
                "power_w": n.nvmlDeviceGetPowerUsage(self.handle) / 1e3, "temp_c": n.nvmlDeviceGetTemperature(self.handle, n.NVML_TEMPERATURE_GPU),
                "throttle": [name for bit, name in sorted(names.items()) if bits & bit]}

    @staticmethod
    def sum(states):
        states = [s for s in states if s]
        if not states:
            return {}
        middle = lambda key: sorted(s[key] for s in states)[len(states) // 2]
        reasons = sorted({r for s in states for r in s["throttle"]})
        return {"clock_mhz": middle("clock_mhz"), "mem_mhz": middle("mem_mhz"), "power_w": sum(s["power_w"] for s in states) / len(states),
                "temp_c": max(s["temp_c"] for s in states), "throttle": "+".join(reasons) or "none"}


if __name__ == "__main__":
    main()
