"""How much of everything COCO and Visual Genome hold, and draws that keep to it."""

from __future__ import annotations

import dataclasses

import numpy as np

_FULL_VOCABULARY_AT = 0.01  # smaller scales have fewer categories, so that each stays frequent


@dataclasses.dataclass(frozen=True)
class SplitSize:
    """What one split holds.

    Attributes:
      images: all of them.
      scenes: images that the published filter keeps.
      patches: objects that it keeps in those.
    """

    images: int
    scenes: int
    patches: int

    def times(self, scale: float) -> SplitSize:
        """The same proportions; at least 6 scenes, so that each split can be divided."""
        scenes = max(6, round(self.scenes * scale))
        return SplitSize(
            images=max(scenes, round(self.images * scale)),
            scenes=scenes,
            patches=round(self.patches * scenes / self.scenes),
        )


COCO = {
    "train2017": SplitSize(118_287, 74_121, 411_682),
    "val2017": SplitSize(5_000, 3_072, 17_062),
}
"""Table 3 of the paper for training; of val2017 the 1,024 + 2,048 scenes that are
used, with as many patches each."""

GENOME = {
    "train": SplitSize(86_463, 62_565, 606_319),
    "val": SplitSize(10_807, 5_506, 53_358),
    "test": SplitSize(10_807, 5_088, 49_307),
}
"""Images of the published split, 108,077 in all; training scenes and patches of Table 3 of the
paper; scenes of the others by sg2im, with as many patches each."""


def names(word: str, count: int, scale: float) -> list[str]:
    """A vocabulary: all `count` names from a hundredth of the full size on, else a share."""
    kept = min(count, max(4, round(count * scale / _FULL_VOCABULARY_AT)))
    return [f"{word} {number}" for number in range(1, kept + 1)]


def kept_objects(rng: np.random.Generator, size: SplitSize, least: int, most: int) -> np.ndarray:
    """[images] int64: how many objects of each image the filter keeps, `least` in a scene."""
    scenes = counts_with_sum(rng, size.scenes, size.patches, least, most)
    others = rng.integers(0, least, size.images - size.scenes)
    return rng.permutation(np.concatenate([scenes, others]))


def counts_with_sum(
    rng: np.random.Generator, size: int, total: int, least: int, most: int
) -> np.ndarray:
    """Random counts of a given sum.

    Args:
      rng: the only source of randomness.
      size: how many.
      total: their sum, in [size * least, size * most].
      least, most: of each.

    Returns:
      [size] int64; most of them near the mean, a few far above.
    """
    if not size * least <= total <= size * most:
        raise ValueError(f"{size} counts in [{least}, {most}] cannot have the sum {total}")
    counts = np.clip(rng.poisson(rng.gamma(4.0, total / size / 4.0, size)), least, most)
    while missing := total - int(counts.sum()):
        step = 1 if missing > 0 else -1
        movable = np.flatnonzero(counts < most if step > 0 else counts > least)
        chosen = rng.permutation(movable)[: abs(missing)]
        counts[chosen] += step
    return counts
