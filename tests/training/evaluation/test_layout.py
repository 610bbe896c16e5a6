"""Layout figures of predictors that are perfect or wrong on purpose."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.vocabulary import Vocabulary
from training.evaluation.layout import layout_metrics

VOCABULARY = Vocabulary.from_categories(("sky", "tree"))
LEFT, BOX = VOCABULARY.predicate_id("left of"), np.zeros([4], np.float32)


def networks(boxes):
    """Predicts the given boxes, looked up by the first object's category."""
    table = tf.constant(boxes, tf.float32)
    return SimpleNamespace(
        encoder=lambda graph: SimpleNamespace(object_vectors=tf.cast(graph["objects"], tf.float32)),
        box_predictor=lambda vectors: tf.gather(table, tf.cast(vectors[:, 0], tf.int32) - 2),
    )


def batch(first, boxes):
    """One scene whose first object stands left of its second; a third place is empty."""
    return {
        "objects": tf.constant([[first, 3, 0]]),
        "boxes": tf.constant([[*boxes, BOX]], tf.float32),
        "triples": tf.constant([[[0, LEFT, 1], [-1, -1, -1]]]),
    }


TRUE = ([0.0, 0.0, 1.0, 0.5], [0.0, 0.5, 1.0, 1.0])
SWAPPED = (TRUE[1], TRUE[0])


def test_perfect_boxes_hold_every_relationship():
    metrics = layout_metrics(
        networks([[*TRUE, BOX], [*TRUE, BOX]]), [batch(2, TRUE), batch(3, TRUE)], VOCABULARY
    )
    assert all(name.startswith("layout/") for name in metrics)
    values = {name: value for name, value in metrics.items() if "count" not in name}
    assert set(values.values()) == {1.0}
    assert metrics["layout/relation_count"] == 2


def test_half_of_the_scenes_mirrored_is_half_of_everything():
    metrics = layout_metrics(
        networks([[*TRUE, BOX], [*SWAPPED, BOX]]), [batch(2, TRUE), batch(3, TRUE)], VOCABULARY
    )
    values = {name: value for name, value in metrics.items() if "count" not in name}
    assert all(value == pytest.approx(0.5) for value in values.values()), values
