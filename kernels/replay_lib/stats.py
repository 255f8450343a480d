"""Medians with intervals that assume no distribution."""


def binomial_interval(n, confidence=0.95):
    """Ranks (from 0) of the order statistics that bound the median of n samples with
    the confidence, as golang.org/x/perf/benchmath has it; (0, n-1) where n is too small."""
    choose, below = 1.0, 0.0
    lower = 0
    for k in range(n // 2):
        below += choose / 2.0**n
        if 2 * below > 1 - confidence:
            break
        lower = k + 1
        choose = choose * (n - k) / (k + 1)
    lower = max(lower - 1, 0)
    return lower, n - 1 - lower


def times(samples_us):
    """n, median, low and high of a list of microseconds, as the result has them."""
    s = sorted(samples_us)
    n = len(s)
    mid = s[n // 2] if n % 2 else (s[n // 2 - 1] + s[n // 2]) / 2
    low, high = binomial_interval(n)
    return {"n": n, "median_us": mid, "low_us": s[low], "high_us": s[high]}
