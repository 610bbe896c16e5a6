"""Random patches that must not be selected: more negatives than the candidates are."""

from __future__ import annotations

import numpy as np

from rgan_tf.bank.patch_bank import PatchBank


class RandomNegatives:
    """Draws patches of an object's own category, from other images, for the selection loss.

    An object has the same candidates in every epoch; these are drawn anew for every step, so that
    the embedding cannot learn them by heart.

    Args:
      bank: the retrievable patches.
      count: N, per object.
    """

    def __init__(self, bank: PatchBank, count: int):
        categories = np.asarray(bank.category_ids)
        self.count = count
        self._image_ids = np.asarray(bank.image_ids)
        self._rows = np.argsort(categories, kind="stable").astype(np.int32)
        self._categories = categories[self._rows]  # sorted, to find where each one begins

    def rows_at(
        self, uniform: np.ndarray, objects: np.ndarray, image_ids: np.ndarray
    ) -> np.ndarray:
        """Patches of the objects' categories; one may be met twice.

        Args:
          uniform: [B, O, N] in [0, 1), random: the place among the patches of a category.
          objects: [B, O] int, category ids, 0 for none.
          image_ids: [B] int64, the scenes' images, whose patches are not drawn.

        Returns:
          [B, O, N] int32 rows of the bank; -1 where a patch of the same image was met, for padding,
          and for categories that the bank does not have.
        """
        first = np.searchsorted(self._categories, objects, side="left")[..., None]  # [B, O, 1]
        last = np.searchsorted(self._categories, objects, side="right")[..., None]  # [B, O, 1]
        exists = (last > first) & (objects > 0)[..., None]  # [B, O, 1]
        places = (first + uniform * (last - first)).astype(np.int64)  # [B, O, N]
        rows = self._rows[np.where(exists, places, 0)]  # [B, O, N]
        is_other = self._image_ids[rows] != image_ids[:, None, None]  # [B, O, N]
        return np.where(exists & is_other, rows, -1)
