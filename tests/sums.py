"""How many terms the sums of a traced function have."""

from __future__ import annotations

import tensorflow as tf


def widest_sum(function: tf.types.experimental.ConcreteFunction) -> int:
    """The most terms that an `AddN` of the function has, or of a function within it; 0 if none."""
    graph = function.graph.as_graph_def()
    parts = [graph.node, *(inner.node_def for inner in graph.library.function)]
    return max(
        (node.attr["N"].i for nodes in parts for node in nodes if node.op == "AddN"), default=0
    )
