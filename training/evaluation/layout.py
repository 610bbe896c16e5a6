"""Layout: how well the predicted boxes match the true ones and the relationships."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from rgan_tf.metrics.boxes import box_metrics, relation_score
from rgan_tf.model.networks import RetrievalNetworks
from rgan_tf.vocabulary import Vocabulary
from training.evaluation.systems import Batch


def layout_metrics(
    networks: RetrievalNetworks, scenes: Iterable[Batch], vocabulary: Vocabulary
) -> dict[str, float]:
    """Box overlap, recall at 0.3 and 0.5, and the share of relationships that hold."""

    @tf.function(reduce_retracing=True)
    def predict(batch: Batch) -> tf.Tensor:
        graph = {"objects": batch["objects"], "triples": batch["triples"]}
        return networks.box_predictor(networks.encoder(graph).object_vectors)  # [B, O, 4]

    parts: dict[str, list[np.ndarray]] = {key: [] for key in ("predicted", "boxes", "triples", "o")}
    for batch in scenes:
        parts["predicted"].append(predict(batch).numpy())
        parts["boxes"].append(batch["boxes"].numpy())
        parts["triples"].append(batch["triples"].numpy())
        parts["o"].append(batch["objects"].numpy())
    predicted, boxes, triples, objects = (np.concatenate(part) for part in parts.values())
    metrics = {
        **box_metrics(predicted, boxes, objects > 0),
        **relation_score(predicted, triples, vocabulary.predicates),
    }
    return {f"layout/{name}": value for name, value in metrics.items()}
