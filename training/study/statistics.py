"""Statistics of choices between two options, in plain Python and numpy."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

Z_95 = 1.959963984540054  # of the normal distribution, two-sided
_RESAMPLES = 10_000


def wilson_interval(successes: int, trials: int) -> tuple[float, float] | None:
    """Score interval of a share, with about 95 % coverage.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal
    of the American Statistical Association 22, 1927.

    Args:
      successes: at least 0, at most `trials`.
      trials: number of independent trials.

    Returns:
      Both ends in [0, 1]; None without a trial.
    """
    if not trials:
        return None
    share, weight = successes / trials, Z_95**2 / trials
    centre = share + weight / 2
    half = math.sqrt(weight * (share * (1 - share) + weight / 4))
    # The formula gives 0 and 1 at the extremes only up to rounding.
    low = 0.0 if successes == 0 else (centre - half) / (1 + weight)
    high = 1.0 if successes == trials else (centre + half) / (1 + weight)
    return low, high


def binomial_p_value(successes: int, trials: int) -> float | None:
    """Probability that a fair coin is at least as uneven: the exact two-sided test of 1/2.

    Returns:
      In (0, 1]; None without a trial.
    """
    if not trials:
        return None
    fewer = min(successes, trials - successes)
    tail, term = 0, 1  # integers: exact for any number of trials
    for i in range(fewer + 1):
        tail += term
        term = term * (trials - i) // (i + 1)
    return min(1.0, 2 * tail / 2**trials)


def cluster_interval(successes: Sequence[int], trials: Sequence[int]) -> tuple[float, float] | None:
    """Percentile bootstrap of a share over clusters: resamples participants with their answers.

    It allows for differences between people, whereas the score interval takes every answer as
    independent. With few clusters it is too narrow.

    Args:
      successes, trials: [N] of every cluster, trials at least 1.

    Returns:
      Percentiles 2.5 and 97.5 of the share over all answers of a draw; None for one cluster.
    """
    if len(trials) < 2:
        return None
    counts = np.stack([successes, trials], axis=1)  # [N, 2]
    generator = np.random.default_rng([0, 1])
    draws = generator.multinomial(len(trials), np.full(len(trials), 1 / len(trials)), _RESAMPLES)
    hits, total = (draws @ counts).T  # [R] each
    low, high = np.percentile(hits / total, [2.5, 97.5])
    return float(low), float(high)
