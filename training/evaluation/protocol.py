"""What is held fixed, so that numbers of one protocol compare."""

from __future__ import annotations

import dataclasses

INTERVAL = "/interval_95"
"""Ending of the name under which a metric's 95 % interval [low, high] stands."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a split is judged.

    Attributes:
      split: whose scene graphs are drawn and whose images are compared with.
      seed: of the random retrieval and of the resampling.
      resamples: of the distances' standard errors, and 50 times as many of means; 0: no intervals.
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
