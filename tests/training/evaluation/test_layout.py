"""Layout figures of predictors that are perfect or wrong on purpose."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.graph.box_predictor import BoxPredictor
from rgan_tf.model.networks import GraphNetworks
from rgan_tf.vocabulary import Vocabulary
from training.evaluation.layout import layout_metrics
from training.evaluation.protocol import Protocol

VOCABULARY = Vocabulary.from_categories(("sky", "tree"))
NO_INTERVALS = Protocol("val", resamples=0)
LEFT, BOX = VOCABULARY.predicate_id("left of"), np.zeros([4], np.float32)


def networks(boxes):
    """Predicts the given boxes, looked up by the first object's category."""
    table = tf.constant(boxes, tf.float32)
    return SimpleNamespace(
        encoder=lambda graph: SimpleNamespace(object_vectors=tf.cast(graph["objects"], tf.float32)),
        predict_boxes=lambda graph, _: tf.gather(table, graph["objects"][:, 0] - 2),
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


def scores(metrics):
    """The figures that are better the higher they are; without counts and what is not there."""
    return {
        name: value
        for name, value in metrics.items()
        if not any(part in name for part in ("count", "collision", "area")) and value is not None
    }


def test_perfect_boxes_hold_every_relationship():
    metrics = layout_metrics(
        networks([[*TRUE, BOX], [*TRUE, BOX]]),
        [batch(2, TRUE), batch(3, TRUE)],
        VOCABULARY,
        NO_INTERVALS,
    )
    assert all(name.startswith("layout/") for name in metrics)
    assert set(scores(metrics).values()) == {1.0}
    assert metrics["layout/relation_count"] == 2
    assert metrics["layout/box_iou_isolated"] is None  # both objects are related
    assert metrics["layout/box_collision"] == 0.0 and metrics["layout/box_pair_count"] == 1


def test_half_of_the_scenes_mirrored_is_half_of_everything():
    metrics = layout_metrics(
        networks([[*TRUE, BOX], [*SWAPPED, BOX]]),
        [batch(2, TRUE), batch(3, TRUE)],
        VOCABULARY,
        NO_INTERVALS,
    )
    values = scores(metrics)
    assert all(value == pytest.approx(0.5) for value in values.values()), values


def isolated(first, second, boxes):
    """One scene of two objects without relationships."""
    return {**batch(first, boxes), "objects": tf.constant([[first, second, 0]])} | {
        "triples": tf.fill([1, 2, 3], -1)
    }


def test_isolated_look_alikes_are_compared_from_left_to_right():
    scene = isolated(2, 2, TRUE)
    for predicted in (TRUE, SWAPPED):
        metrics = layout_metrics(networks([[*predicted, BOX]]), [scene], VOCABULARY, NO_INTERVALS)
        assert metrics["layout/box_iou"] == metrics["layout/box_iou_isolated"] == 1.0
        assert metrics["layout/box_count_isolated"] == 2
        assert metrics["layout/box_collision"] == 0.0


def test_objects_that_differ_are_compared_one_to_one():
    metrics = layout_metrics(
        networks([[*SWAPPED, BOX]]), [isolated(2, 3, TRUE)], VOCABULARY, NO_INTERVALS
    )
    assert metrics["layout/box_iou_isolated"] == 0.0


def test_look_alikes_on_top_of_each_other_collide():
    predicted = [TRUE[0], TRUE[0], BOX]
    metrics = layout_metrics(
        networks([predicted]), [isolated(2, 2, TRUE)], VOCABULARY, NO_INTERVALS
    )
    assert metrics["layout/box_collision"] == 1.0
    assert metrics["layout/box_iou"] == 0.5


@pytest.mark.parametrize("instance_codes", [True, False])
def test_a_real_box_predictor_gets_what_it_needs(instance_codes):
    predictor = BoxPredictor(hidden=4, instance_codes=instance_codes)
    predictor(tf.zeros([1, 3, 2]), tf.ones([1, 3, 2], tf.int32))
    rng = np.random.default_rng(0)
    predictor.set_weights([rng.normal(size=weight.shape) for weight in predictor.get_weights()])
    system = SimpleNamespace(
        encoder=lambda graph: SimpleNamespace(
            object_vectors=tf.one_hot(graph["objects"], 4, dtype=tf.float32)[..., 2:]
        ),
        box_predictor=predictor,
    )
    system.predict_boxes = partial(GraphNetworks.predict_boxes, system)
    metrics = layout_metrics(system, [isolated(2, 2, TRUE)], VOCABULARY, NO_INTERVALS)
    assert metrics["layout/box_collision"] == (0.0 if instance_codes else 1.0)


def test_intervals_are_over_scenes_and_hold_the_value():
    scenes = [batch(2, TRUE), batch(3, TRUE)] * 10
    metrics = layout_metrics(
        networks([[*TRUE, BOX], [*SWAPPED, BOX]]), scenes, VOCABULARY, Protocol("val", resamples=4)
    )
    for name in ("box_iou", "relation_score"):
        low, high = metrics[f"layout/{name}/interval_95"]
        assert metrics[f"layout/{name}"] == pytest.approx(0.5)
        assert 0.2 < low < 0.5 < high < 0.8
    sure = layout_metrics(
        networks([[*TRUE, BOX], [*TRUE, BOX]]), scenes, VOCABULARY, Protocol("val", resamples=4)
    )
    assert sure["layout/box_iou/interval_95"] == [1.0, 1.0]
