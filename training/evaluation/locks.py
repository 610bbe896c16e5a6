"""Which object of a scene is locked to which candidate, and a choice at random."""

from __future__ import annotations

import numpy as np

_AT_ONCE = 16
"""Scenes whose numbers are drawn together. Of any batches: else these would decide the numbers."""


class Locks:
    """Draws in the order of the scenes, the same for every retriever and any size of batches.

    Args:
      seed: of all draws.
    """

    def __init__(self, seed: int):
        self._generator = np.random.default_rng([seed, 1])
        self._ahead: list[tuple[np.ndarray, ...]] = []  # of each scene [O], [K], [O, K] in [0, 1)

    def draw(self, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Locks one object per scene to one of its candidates, and chooses at random.

        Args:
          valid: [B, O, K] bool, candidates of the objects of the next scenes.

        Returns:
          [B] int, the locked object; [B, O] int32, its slot, -1 where free; [B, O] int, a random
          slot of every object.
        """
        of_objects, of_slots, of_choice = self._numbers(*valid.shape)  # [B, O], [B, K], [B, O, K]
        mask, rows = valid.any(axis=2), np.arange(len(valid))  # [B, O], [B]
        lock_object = np.where(mask, of_objects, -1.0).argmax(axis=1)  # [B]
        slots = np.where(valid[rows, lock_object], of_slots, -1.0).argmax(axis=1)  # [B]
        locked = np.full(mask.shape, -1, np.int32)  # [B, O]
        locked[rows, lock_object] = np.where(mask[rows, lock_object], slots, -1)
        return lock_object, locked, np.where(valid, of_choice, -1.0).argmax(axis=2)

    def _numbers(self, scenes: int, objects: int, candidates: int) -> list[np.ndarray]:
        while len(self._ahead) < scenes:
            shapes = [objects], [candidates], [objects, candidates]
            drawn = [self._generator.random([_AT_ONCE, *shape]) for shape in shapes]
            self._ahead += zip(*drawn, strict=True)
        taken, self._ahead = self._ahead[:scenes], self._ahead[scenes:]
        return [np.stack(numbers) for numbers in zip(*taken, strict=True)]
