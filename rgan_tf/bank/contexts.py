"""Scene graphs for patches that come without one."""

from __future__ import annotations

import numpy as np

from rgan_tf.bank.graphs import BankGraph
from rgan_tf.bank.patch_bank import PatchBank

_PURPOSE = 71  # keeps these draws apart from others that start from an image id


class Contexts:
    """Lends the graphs of a bank to patches of which only the category is known.

    Candidates are found by the graph around an object. A lone patch has none, so its graph feature
    would lie far from all queries, and those of one category on one point: it would never be
    found, or always the same few. In the graph of a random patch of its category it is found as
    often as that one.

    Args:
      bank: whose graphs are lent, with the vocabulary of the borrower.
    """

    def __init__(self, bank: PatchBank):
        self._bank = bank
        self._rows_of: dict[int, np.ndarray] = {}

    def draw(self, category_id: int, image_id: int) -> tuple[BankGraph, int] | None:
        """A graph with an object of that category, and the object's position in it.

        Args:
          category_id: of the patch.
          image_id: decides which; the same one always draws the same.

        Returns:
          None where the bank has no patch of the category.
        """
        if category_id not in self._rows_of:
            self._rows_of[category_id] = np.flatnonzero(self._bank.category_ids == category_id)
        rows = self._rows_of[category_id]
        if not len(rows):
            return None
        row = rows[np.random.default_rng([_PURPOSE, abs(image_id)]).integers(len(rows))]
        graph = self._bank.graphs[int(self._bank.graph_ids[row])]
        return graph, int(self._bank.graph_positions[row])
