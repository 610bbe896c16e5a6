"""The fixed conditions under which numbers are comparable."""

from __future__ import annotations

import dataclasses

INTERVAL = "/interval_95"
"""Suffix of the name of a metric's 95 % interval [low, high]."""

RESAMPLED = "/resampled"
"""Suffix of the name of a distance's resampled values [R].

Two systems that are judged on one split with one seed have the same scenes drawn, so their values
are pairs (`frechet_resamples`).
"""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a split is judged.

    Attributes:
      split: split of the scene graphs and of the real images.
      seed: of the random retrieval and of the resampling.
      resamples: for standard errors of distances, and 50 times as many for means; 0: no intervals.
      score_splits: of the class score; 3 as in the field's papers.
      neighbours: k of precision and recall.
    """

    split: str
    seed: int = 0
    resamples: int = 20
    score_splits: int = 3
    neighbours: int = 3

    @property
    def mean_resamples(self) -> int:
        """Resamples of a mean, which are cheap."""
        return 50 * self.resamples
