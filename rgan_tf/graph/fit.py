"""Cuts a scene graph to the sizes of a batch."""

from __future__ import annotations

import numpy as np


def fit_graph(
    num_objects: int,
    triples: np.ndarray,
    *,
    max_objects: int,
    max_triples: int,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Cuts a graph to the sizes of a batch, as sg2im does for Visual Genome.

    Objects in relationships come first, in the order of the relationships; others are drawn at
    random. A graph that fits is returned unchanged.

    Args:
      num_objects: objects of the graph.
      triples: [n, 3] int, subject, predicate id, object.
      max_objects, max_triples: sizes to fit into.
      rng: chooses among objects without relationships.

    Returns:
      The positions of the kept objects, ascending, and the kept triples renumbered to them.
    """
    kept = list(range(num_objects))
    if num_objects > max_objects:
        related = list(dict.fromkeys(int(end) for triple in triples for end in triple[[0, 2]]))
        others = [index for index in kept if index not in set(related)]
        order = related + [others[index] for index in rng.permutation(len(others))]
        kept = sorted(order[:max_objects])
    renumbered = {old: new for new, old in enumerate(kept)}
    inside = [
        (renumbered[int(subject)], int(predicate), renumbered[int(target)])
        for subject, predicate, target in triples
        if int(subject) in renumbered and int(target) in renumbered
    ]
    return (
        np.array(kept, np.int64),
        np.array(inside[:max_triples], np.int32).reshape(-1, 3),
    )
