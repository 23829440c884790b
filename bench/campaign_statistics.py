"""The statistics of a campaign: intervals, sample sizes and extrapolation. Pure functions of counts.

Sources: E. B. Wilson, Probable inference, the law of succession, and statistical inference, J. Am. Stat. Assoc. 22
(1927). R. Leveugle et al., Statistical fault injection: quantified error and confidence, DATE 2009. H. Schirmeier et
al., Avoiding pitfalls in fault-injection based comparison of program susceptibility to soft errors, DSN 2015. G. Y. Zou
and A. Donner, Construction of confidence limits about effect measures: a general approach, Stat. Med. 27 (2008).
"""
import math

# Normal quantile of a two-sided interval of 95 %.
Z95 = 1.959963984540054


def wilson(hits, count, z=Z95):
    """Wilson's score interval of hits / count; (0, 1) where nothing was counted."""
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    middle = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    below = 1 + z * z / count
    # At the ends the formula gives 0 and 1 but for rounding.
    low = 0.0 if hits == 0 else max(0.0, (middle - spread) / below)
    high = 1.0 if hits == count else min(1.0, (middle + spread) / below)
    return low, high


def sample_size(population, margin, z=Z95, share=0.5):
    """Leveugle's rule: injections needed for an error of at most `margin` when a share of such a population is
    estimated. 0.5 is the share that needs most; a population of None is without end."""
    unlimited = z * z * share * (1 - share) / (margin * margin)
    if population is None:
        return math.ceil(unlimited)
    return math.ceil(population / (1 + (population - 1) / unlimited))


def margin_of_error(count, population=None, z=Z95, share=0.5):
    """The same rule turned round: the margin that so many injections reach; 1 where there are none."""
    if count == 0:
        return 1.0
    margin = z * math.sqrt(share * (1 - share) / count)
    if population is not None:
        if count >= population:
            return 0.0
        margin *= math.sqrt((population - count) / (population - 1))
    return margin


def extrapolate(strata):
    """Failures in a whole fault space that was sampled stratum by stratum: (estimate, low, high).

    strata: (hits, count, size of the stratum's fault space). Each stratum is estimated on its own (Schirmeier: absolute
    numbers of failures, not shares), and the limits of the sum follow from their Wilson limits (Zou and Donner's
    MOVER): its distance from the estimate is the root of the sum of the squared distances. A stratum that was not
    sampled may hold nothing but failures, so the upper limit has all of it.
    """
    estimate = below = above = unknown = 0.0
    for hits, count, size in strata:
        if count == 0:
            unknown += size
            continue
        low, high = wilson(hits, count)
        share = hits / count
        estimate += share * size
        below += ((share - low) * size) ** 2
        above += ((high - share) * size) ** 2
    return estimate, max(0.0, estimate - math.sqrt(below)), estimate + math.sqrt(above) + unknown


def quantile(values, part):
    """The smallest of `values` that at least such a part of them does not exceed; None where there are none."""
    if not values:
        return None
    ordered = sorted(values)
    return ordered[max(0, math.ceil(part * len(ordered)) - 1)]
