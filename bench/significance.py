"""Whether two samples differ: the rank sum test of Mann and Whitney, two-sided. Pure functions of numbers.

Sources: H. B. Mann and D. R. Whitney, On a test of whether one of two random variables is stochastically larger than
the other, Ann. Math. Stat. 18 (1947): the statistic, its recursion and its normal limit. E. L. Lehmann,
Nonparametrics: Statistical Methods Based on Ranks (1975), section 1.4: the correction of the variance for ties.
"""
import functools
import math

# Up to so many values a side, and without ties, all arrangements are counted.
EXACT_MAX = 25


def ranks(values):
    """The rank of each value, from 1; equal values share the mean of theirs. And the sizes of the groups of ties."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    result, ties, at = [0.0] * len(values), [], 0
    while at < len(order):
        end = at
        while end < len(order) and values[order[end]] == values[order[at]]:
            end += 1
        for i in order[at:end]:
            result[i] = (at + 1 + end) / 2
        if end - at > 1:
            ties.append(end - at)
        at = end
    return result, ties


@functools.lru_cache(maxsize=None)
def arrangements(u, m, n):
    """In how many orders of m and n values the first ones exceed just u of all pairs: Mann and Whitney's recursion."""
    if u < 0:
        return 0
    if m == 0 or n == 0:
        return 1 if u == 0 else 0
    return arrangements(u - n, m - 1, n) + arrangements(u, m, n - 1)


def mann_whitney(first, second):
    """(U of the first sample, p): U counts the pairs in which the first sample's value is larger, ties as halves; p is
    the probability of a U that is as far from its mean if both are samples of the same thing."""
    m, n = len(first), len(second)
    if m == 0 or n == 0:
        raise ValueError("a sample is empty")
    ranked, ties = ranks(list(first) + list(second))
    u = sum(ranked[:m]) - m * (m + 1) / 2
    if not ties and max(m, n) <= EXACT_MAX:
        least = int(min(u, m * n - u))
        below = sum(arrangements(i, m, n) for i in range(least + 1))
        return u, min(1.0, 2 * below / math.comb(m + n, m))
    total = m + n
    spread = m * n / 12 * (total + 1 - sum(t ** 3 - t for t in ties) / (total * (total - 1)))
    if spread == 0:
        return u, 1.0
    # The half is the correction for continuity.
    z = max(0.0, abs(u - m * n / 2) - 0.5) / math.sqrt(spread)
    return u, math.erfc(z / math.sqrt(2))
