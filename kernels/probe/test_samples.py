"""Tests of what the probe does without torch."""

import os
import random
import tempfile
import unittest

import samples


class Statistics(unittest.TestCase):
    def test_interval_covers_the_median(self):
        r = random.Random(1)
        missed = 0
        for _ in range(2000):
            _, low, high = samples.interval([r.expovariate(1) for _ in range(25)])
            missed += not low <= 0.6931471805599453 <= high
        self.assertLess(missed, 0.05 * 2000)

    def test_order_does_not_matter(self):
        r = random.Random(2)
        for n in range(1, 40):
            x = [r.random() for _ in range(n)]
            self.assertEqual(samples.interval(x), samples.interval(sorted(x)))

    def test_settled(self):
        self.assertFalse(samples.settled([1, 1, 1]))
        self.assertTrue(samples.settled([1] * 10))
        self.assertFalse(samples.settled([1, 2] * 10))


class Plan(unittest.TestCase):
    def test_cases_are_unique_and_ordered_by_use(self):
        ids = [samples.case_id(c) for c in samples.all_cases()]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertGreater(len(ids), 200)
        self.assertIn("attention/sdpa_flash/bf16/batch=1 seq=8192 heads=32 kv_heads=8 head_dim=128 causal=true", ids[:10])

    def test_rows_and_documents_add_up(self):
        for c in samples.grouped_cases():
            rows = samples.rows_of(c["groups"], c["tokens"], c["skew"])
            self.assertEqual(sum(rows), c["tokens"])
            self.assertEqual(len(rows), c["groups"])
            self.assertAlmostEqual(rows[0] * c["groups"] / c["tokens"], c["skew"], delta=0.1)
        for kind in ("uniform", "long_tail"):
            self.assertEqual(sum(samples.documents_of(kind, 8192)), 8192)


class File(unittest.TestCase):
    def test_an_interrupted_run_resumes(self):
        case = dict(samples.all_cases()[0], hash="torch1")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "x.csv")
            log = samples.Log(path, {"gpu": "none", "synthetic": "true"}, False)
            log.add(samples.row(case, [1.5, 2.5, 3.5], {}))
            log.file.write("attention,cut off")
            log.file.close()
            again = samples.Log(path, {}, True)
            self.assertTrue(again.has(case))
            self.assertFalse(again.has(dict(case, hash="torch2")))
            again.file.close()
            with open(path) as f:
                self.assertTrue(f.read().endswith("1.5 2.5 3.5\n"))
            with self.assertRaises(ValueError):
                samples.Log(path, {}, False)


if __name__ == "__main__":
    unittest.main()
