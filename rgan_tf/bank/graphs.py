"""The scene graphs that the patches of a bank come from: what their graph features are made of."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class BankGraph(NamedTuple):
    """One scene, or a part of one.

    Attributes:
      objects: [n] int32 category ids.
      triples: [t, 3] int32, subject position, predicate id, object position.
    """

    objects: np.ndarray
    triples: np.ndarray


class GraphTable:
    """Graphs of different sizes, end to end in three arrays.

    Args:
      objects: [sum n] int32.
      triples: [sum t, 3] int32.
      ends: [G, 2] int64, where in `objects` and `triples` each graph ends.
    """

    def __init__(self, objects: np.ndarray, triples: np.ndarray, ends: np.ndarray):
        self.objects = objects
        self.triples = triples
        self.ends = ends

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, index: int) -> BankGraph:
        """The graph of that number; IndexError if there is none."""
        if not 0 <= index < len(self):
            raise IndexError(f"no graph {index} among {len(self)}")
        first_object, first_triple = self.ends[index - 1] if index else (0, 0)
        last_object, last_triple = self.ends[index]
        return BankGraph(
            np.asarray(self.objects[first_object:last_object]),
            np.asarray(self.triples[first_triple:last_triple]),
        )

    def __iter__(self) -> Iterator[BankGraph]:
        return (self[index] for index in range(len(self)))
