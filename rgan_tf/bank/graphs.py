"""The scene graphs of a bank's patches, from which their graph features are computed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rgan_tf.annotations.annotation import AnnotatedImage
from rgan_tf.vocabulary import Vocabulary


class BankGraph(NamedTuple):
    """One scene, or a part of one.

    Attributes:
      objects: [n] int32 category ids.
      triples: [t, 3] int32, subject position, predicate id, object position.
    """

    objects: np.ndarray
    triples: np.ndarray


def graph_of(image: AnnotatedImage, vocabulary: Vocabulary) -> BankGraph:
    """The graph of an annotated image with the ids of its names.

    Raises:
      BadInput: if a name is not in the vocabulary.
    """
    triples = [
        (subject, vocabulary.predicate_id(predicate), target)
        for subject, predicate, target in image.relationships
    ]
    return BankGraph(
        np.array([vocabulary.object_id(item.category) for item in image.objects], np.int32),
        np.array(triples, np.int32).reshape(-1, 3),
    )


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
