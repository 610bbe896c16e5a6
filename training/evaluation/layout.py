"""Layout: how well the predicted boxes match the true ones and the relationships."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.graph.interchangeable import match_interchangeable
from rgan_tf.metrics.bootstrap import ratio_interval
from rgan_tf.metrics.boxes import (
    box_area_ratio,
    box_collision,
    box_iou,
    box_metrics,
    isolated_box_metrics,
    isolated_mask,
    relation_score,
)
from rgan_tf.model.networks import RetrievalNetworks
from rgan_tf.progress import followed
from rgan_tf.vocabulary import Vocabulary
from training.evaluation.protocol import INTERVAL, Protocol
from training.evaluation.systems import Batch


def layout_metrics(
    networks: RetrievalNetworks,
    scenes: Iterable[Batch],
    vocabulary: Vocabulary,
    protocol: Protocol,
) -> dict[str, Any]:
    """Box overlap, recall at 0.3 and 0.5, collisions, and the share of relationships that hold.

    The graph does not say which of several interchangeable objects is which, so predicted and true
    boxes are compared from left to right within each group (`match_interchangeable`). If a
    predictor gives the whole group one box, this makes no difference. Intervals are over scenes.
    """

    @tf.function(reduce_retracing=True, autograph=False)
    def predict(batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        objects, triples = batch["objects"], batch["triples"]
        graph = {"objects": objects, "triples": triples}
        predicted = networks.predict_boxes(graph, networks.encoder(graph))  # [B, O, 4]
        return tuple(
            match_interchangeable(boxes, objects, triples) for boxes in (predicted, batch["boxes"])
        )  # [B, O, 4] each

    parts: dict[str, list[np.ndarray]] = {key: [] for key in ("predicted", "boxes", "triples", "o")}
    for batch in followed(scenes, "boxes"):
        predicted, boxes = predict(batch)
        parts["predicted"].append(predicted.numpy())
        parts["boxes"].append(boxes.numpy())
        parts["triples"].append(batch["triples"].numpy())
        parts["o"].append(batch["objects"].numpy())
    predicted, boxes, triples, objects = (np.concatenate(part) for part in parts.values())
    metrics = {
        **box_metrics(predicted, boxes, objects > 0),
        **box_area_ratio(predicted, boxes, objects > 0),
        **isolated_box_metrics(predicted, boxes, isolated_mask(objects, triples)),
        **box_collision(predicted, boxes, objects),
        **relation_score(predicted, triples, vocabulary.predicates),
    }
    if protocol.resamples:
        metrics |= _intervals(predicted, boxes, objects > 0, triples, vocabulary, protocol)
    return {f"layout/{name}": value for name, value in metrics.items()}


def _intervals(
    predicted: np.ndarray,
    boxes: np.ndarray,
    mask: np.ndarray,
    triples: np.ndarray,
    vocabulary: Vocabulary,
    protocol: Protocol,
) -> dict[str, list[float]]:
    """Intervals [low, high] of overlap and relation score."""
    overlap = np.where(mask, box_iou(predicted, boxes), 0.0).sum(axis=1)  # [G]
    scores = [
        relation_score(predicted[[row]], triples[[row]], vocabulary.predicates)
        for row in range(len(predicted))
    ]
    counted = np.array([score["relation_count"] for score in scores])  # [G]
    satisfied = np.array([(s["relation_score"] or 0.0) * s["relation_count"] for s in scores])
    intervals = {}
    for name, parts, wholes in (
        ("box_iou", overlap, mask.sum(axis=1)),
        ("relation_score", satisfied, counted),
    ):
        if np.count_nonzero(wholes) > 1:
            interval = ratio_interval(parts, wholes, protocol.seed, protocol.mean_resamples)
            intervals[name + INTERVAL] = list(interval)
    return intervals
