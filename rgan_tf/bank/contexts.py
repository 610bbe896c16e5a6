"""Scene graphs for patches that come without one."""

from __future__ import annotations

import numpy as np

from rgan_tf.bank.graphs import BankGraph
from rgan_tf.bank.patch_bank import PatchBank

_PURPOSE = 71  # keeps these draws apart from other draws seeded with an image id


class Contexts:
    """Lends the graphs of a bank to patches that only have a category.

    Retrieval finds a patch by the graph around its object. A lone patch has no graph: its graph
    feature would lie far from every query and coincide with those of its category, so that it would
    never be found, or always the same few. With the graph of a random patch of its category it is
    found as often as that patch.

    Args:
      bank: lends its graphs; has the borrower's vocabulary.
    """

    def __init__(self, bank: PatchBank):
        self._bank = bank
        self._rows_of: dict[int, np.ndarray] = {}

    def draw(self, category_id: int, image_id: int) -> tuple[BankGraph, int] | None:
        """A graph with an object of that category, and the object's position in it.

        Args:
          category_id: of the patch.
          image_id: seed of the draw; the same id always draws the same graph.

        Returns:
          None if the bank has no patch of the category that is with others in a graph.
        """
        if category_id not in self._rows_of:
            rows = np.flatnonzero(self._bank.category_ids == category_id)
            graphs = self._bank.graph_ids[rows]
            ends = self._bank.graphs.ends[:, 0]
            sizes = ends[graphs] - np.where(graphs > 0, ends[graphs - 1], 0)
            self._rows_of[category_id] = rows[sizes > 1]  # what is alone has nothing to lend
        rows = self._rows_of[category_id]
        if not len(rows):
            return None
        row = rows[np.random.default_rng([_PURPOSE, abs(image_id)]).integers(len(rows))]
        graph = self._bank.graphs[int(self._bank.graph_ids[row])]
        return graph, int(self._bank.graph_positions[row])
