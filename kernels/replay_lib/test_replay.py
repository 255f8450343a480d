"""Tests of the replay without a GPU: planning always, numbers where torch is there.

REPLAY_CASES is a directory of `sim export replay --all`; sim/replay's tests make one.
"""

import glob
import json
import os
import unittest

from . import plan, stats

try:
    import torch

    from . import executor
    from .backends import rms_norm, rotate, swiglu
except ImportError:
    torch = None

CASES = sorted(glob.glob(os.path.join(os.environ.get("REPLAY_CASES", ""), "*.json"))) if os.environ.get("REPLAY_CASES") else []


class Planning(unittest.TestCase):
    def setUp(self):
        if not CASES:
            self.skipTest("REPLAY_CASES names no directory of exports")

    def case(self, name):
        return plan.read(next(c for c in CASES if os.path.basename(c) == name + ".json"))

    def test_every_case_is_described(self):
        for path in CASES:
            lines = list(plan.describe(plan.read(path)))
            self.assertEqual(sum(line.startswith("pass ") for line in lines), len(plan.passes(plan.read(path))))

    def test_shrinking_keeps_the_order(self):
        for path in CASES:
            full = plan.read(path)
            tiny = plan.shrink(full)
            self.assertEqual(full["passes"], tiny["passes"])
            self.assertEqual(sum(tiny["model"]["rows_by_expert"]) > 0, sum(full["model"]["rows_by_expert"]) > 0)

    def test_unknown_ops_are_named(self):
        with self.assertRaisesRegex(plan.Refused, "no way to run: .*qkv"):
            plan.check(self.case("llama3-8b-layer"), [])

    def test_what_is_not_replayed_is_refused(self):
        for where, key, value, want in (("model", "mla", True, "latent"), ("model", "window", 128, "sliding"),
                                        ("settings", "dtype", "fp8", "transformer_engine"), ("settings", "fused_kernels", False, "fused_kernels"),
                                        ("settings", "grad_dtype", "bf16", "fp32")):
            export = self.case("llama3-8b-layer")
            export[where][key] = value
            with self.assertRaisesRegex(plan.Refused, want):
                plan.check(export, [])


class Statistics(unittest.TestCase):
    def test_interval_holds_the_median(self):
        for n in range(1, 40):
            t = stats.times([float((7 * i) % n) for i in range(n)])
            self.assertLessEqual(t["low_us"], t["median_us"])
            self.assertLessEqual(t["median_us"], t["high_us"])

    def test_binomial_ranks(self):
        # 95 % interval of the median of 11: the second and the tenth (binomial(11, 1/2), coverage 98.8 %)
        self.assertEqual(stats.binomial_interval(11), (1, 9))
        self.assertEqual(stats.binomial_interval(3), (0, 2))


class Numbers(unittest.TestCase):
    """The gradients by hand are those of autograd over the same layer."""

    def setUp(self):
        if torch is None:
            self.skipTest("torch is not installed")
        if not CASES:
            self.skipTest("REPLAY_CASES names no directory of exports")

    def grads(self, name):
        path = next(c for c in CASES if os.path.basename(c) == name + ".json")
        with torch.no_grad():
            ex = executor.Executor(plan.shrink(plan.read(path)), "cpu", False, True)
            first = [p for _, p in plan.passes(ex.export) if p["microbatch"] == 0]
            for p in first:
                ex.arrive(p)
                ex.run(p, lambda n, call: call())
        return ex

    def reference(self, ex):
        """Gradients of a stage's weights by autograd, all slices as one sequence."""
        m, slices = ex.model, ex.settings["slices"]
        w = {key: t.detach().clone().requires_grad_() for key, t in ex.w.items()}
        sent = ex.neighbour(ex.settings["between_tokens"], m["hidden"]).repeat(slices, 1)
        x = w[-1, "embedding"][ex.ids.repeat(slices)] if (-1, "embedding") in w else sent
        n, hd = x.shape[0], m["head_dim"]
        cos, sin = (t[:n] for t in ex.angles)
        for layer in sorted({layer for layer, _ in w} - {-1}):
            p = {name: t for (of, name), t in w.items() if of == layer}
            heads = (rms_norm(x, p["attention norm"]) @ p["qkv"].t()).view(1, n, -1, hd).transpose(1, 2)
            q, k, v = heads.split((m["heads"], m["kv_heads"], m["kv_heads"]), 1)
            o = ex.be.attention(rotate(q, cos, sin), rotate(k, cos, sin), v).transpose(1, 2).reshape(n, -1)
            x = x + o @ p["proj"].t()
            x = x + swiglu(rms_norm(x, p["mlp norm"]) @ p["fc1"].t()) @ p["fc2"].t()
        if (-1, "output layer") in w:
            logits = rms_norm(x, w[-1, "final norm"]) @ w[-1, "output layer"].t()
            torch.nn.functional.cross_entropy(logits, ex.ids).backward()
        else:
            x.backward(sent)
        return {key: t.grad for key, t in w.items()}

    def test_gradients(self):
        for name in ("llama3-8b-layer", "llama3-8b-layer-recompute", "llama3-8b-1f1b-first", "llama3-8b-1f1b-last", "llama3-8b-sliced-first"):
            ex = self.grads(name)
            want = self.reference(ex)
            for key, got in ex.g.items():
                with self.subTest(name, weight=key):
                    scale = want[key].abs().max()
                    self.assertGreater(scale, 0)
                    self.assertLess((got - want[key]).abs().max() / scale, 1e-3)

    def test_nothing_is_left(self):
        for path in CASES:
            with self.subTest(os.path.basename(path)):
                ex = self.grads(os.path.basename(path)[:-5])
                self.assertFalse(ex.stash or ex.cache or ex.dcache, "activations are left over")

    def test_every_case_is_measured(self):
        for path in CASES:
            with self.subTest(os.path.basename(path)):
                export = plan.shrink(plan.read(path))
                result = executor.measure(export, "cpu", True, 0, 1, False, lambda: None)
                want = sum(len(plan.ops_of(export, p)) for _, p in plan.passes(export))
                self.assertEqual(len(result["ops"]), want)
                json.dumps(result)


if __name__ == "__main__":
    unittest.main()
