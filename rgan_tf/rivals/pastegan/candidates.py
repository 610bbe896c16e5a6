"""PasteGAN's candidates: the nearest patches of an object's own category, and no others."""

from __future__ import annotations

import numpy as np

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.retrieval.candidates import CandidateSource


class NearestPatches:
    """The first candidates of another source, nearest first; a `CandidateSource`.

    The pre-filter gives an object of a category that the bank does not have patches of others;
    here it has none.

    Args:
      source: the pre-filtered candidates, as RetrieveGAN gets them.
      own: the patches of the split's objects.
      bank: the retrievable patches.
      count: candidates per object; fewer if the source has fewer.
    """

    def __init__(self, source: CandidateSource, own: PatchBank, bank: PatchBank, *, count: int):
        self._source = source
        self._own, self._bank = (np.asarray(each.category_ids) for each in (own, bank))
        self.rows = source.rows
        self.k = min(count, source.k)
        self.cooccurrence = source.cooccurrence

    def ids_of(self, patch_rows: np.ndarray) -> np.ndarray:
        """See `CandidateSource.ids_of`; -1 where there are fewer."""
        ids = self._source.ids_of(patch_rows)[..., : self.k]  # [..., k]
        if not len(self._bank) or not len(self._own):
            return np.full_like(ids, -1)
        wanted = self._own[np.maximum(patch_rows, 0)][..., np.newaxis]  # [..., 1]
        fits = (ids >= 0) & (self._bank[np.maximum(ids, 0)] == wanted)  # [..., k]
        return np.where(fits, ids, -1)
