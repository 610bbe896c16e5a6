from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.annotations.relations import geometric_relations
from rgan_tf.metrics.boxes import (
    box_area_ratio,
    box_collision,
    box_iou,
    box_metrics,
    isolated_box_metrics,
    isolated_mask,
    relation_score,
)
from rgan_tf.vocabulary import GEOMETRIC_PREDICATES

PREDICATES = ("__in_image__", *GEOMETRIC_PREDICATES, "riding")


@pytest.mark.parametrize(
    ("second", "expected"),
    [
        ((0.0, 0.0, 0.5, 0.5), 1.0),
        ((0.0, 0.25, 0.5, 0.75), 1 / 3),
        ((0.5, 0.5, 1.0, 1.0), 0.0),  # touches in a corner
        ((0.0, 0.0, 1.0, 1.0), 0.25),
        ((0.2, 0.2, 0.2, 0.2), 0.0),  # empty
        ((0.5, 0.5, 0.0, 0.0), 0.0),  # inverted
    ],
)
def test_iou_by_hand(second, expected):
    assert box_iou((0.0, 0.0, 0.5, 0.5), second) == pytest.approx(expected)
    assert box_iou(second, (0.0, 0.0, 0.5, 0.5)) == pytest.approx(expected)


def test_two_empty_boxes_do_not_divide_by_zero():
    assert box_iou(np.zeros(4), np.zeros(4)) == 0.0


def test_recall_by_hand_and_padding_left_out():
    target = np.tile([0.0, 0.0, 1.0, 1.0], [2, 3, 1])
    predicted = target.copy()
    predicted[0, 1] = [0.0, 0.0, 1.0, 0.5]  # overlap 0.5: counts at 0.5
    predicted[0, 2] = [0.0, 0.0, 1.0, 0.4]  # overlap 0.4: counts at 0.3 only
    predicted[1, 0] = [0.0, 0.0, 0.1, 0.1]  # overlap 0.01
    predicted[1, 1:] = np.nan
    mask = np.array([[True, True, True], [True, False, False]])
    assert box_metrics(predicted, target, mask) == {
        "box_iou": pytest.approx((1 + 0.5 + 0.4 + 0.01) / 4),
        "box_recall_30": 0.75,
        "box_recall_50": 0.5,
        "box_count": 4,
    }
    with pytest.raises(ValueError, match="at least one object"):
        box_metrics(predicted, target, np.zeros([2, 3], bool))


def test_isolated_objects_by_hand():
    objects = np.array([[7, 7, 5, 4, 0], [3, 3, 0, 0, 0]])
    nothing = [-1, -1, -1]
    triples = np.array([[[0, 1, 3], nothing], [nothing] * 2])
    expected = [[False, True, True, False, False], [True, True, False, False, False]]
    np.testing.assert_array_equal(isolated_mask(objects, triples), expected)
    np.testing.assert_array_equal(isolated_mask(objects, triples[:, :0]), objects > 0)


def test_isolated_overlap_by_hand():
    target = np.tile([0.0, 0.0, 1.0, 1.0], [1, 3, 1])
    predicted = target.copy()
    predicted[0, 1] = [0.0, 0.0, 1.0, 0.5]
    predicted[0, 2] = np.nan
    isolated = np.array([[True, True, False]])
    assert isolated_box_metrics(predicted, target, isolated) == {
        "box_iou_isolated": 0.75,
        "box_count_isolated": 2,
    }
    nothing = isolated_box_metrics(predicted, target, np.zeros([1, 3], bool))
    assert nothing == {"box_iou_isolated": None, "box_count_isolated": 0}


LEFT, RIGHT = (0.0, 0.0, 1.0, 0.5), (0.0, 0.5, 1.0, 1.0)
NEARLY_LEFT = (0.0, 0.0, 1.0, 0.46)  # overlap 0.92


@pytest.mark.parametrize(
    ("objects", "predicted", "target", "collision", "pairs"),
    [
        ((7, 7), (LEFT, LEFT), (LEFT, RIGHT), 1.0, 1),
        ((7, 7), (LEFT, NEARLY_LEFT), (LEFT, RIGHT), 1.0, 1),
        ((7, 7), (LEFT, RIGHT), (LEFT, RIGHT), 0.0, 1),
        ((7, 7), (LEFT, (0.0, 0.0, 1.0, 0.4)), (LEFT, RIGHT), 0.0, 1),  # overlap 0.8
        ((7, 7), (LEFT, LEFT), (LEFT, NEARLY_LEFT), 0.0, 1),  # so they are in truth
        ((7, 8), (LEFT, LEFT), (LEFT, RIGHT), None, 0),  # not alike
        ((0, 0), (LEFT, LEFT), (LEFT, RIGHT), None, 0),  # padding
        ((7, 7, 7), (LEFT, LEFT, RIGHT), (LEFT, RIGHT, LEFT), 1 / 3, 3),
    ],
)
def test_collision_by_hand(objects, predicted, target, collision, pairs):
    result = box_collision(np.array([predicted]), np.array([target]), np.array([objects]))
    assert result == {"box_collision": collision, "box_pair_count": pairs}


def test_objects_of_two_images_never_collide():
    boxes = np.array([[LEFT], [LEFT]])
    assert box_collision(boxes, boxes[:, :, ::-1], np.array([[7], [7]]))["box_pair_count"] == 0


def _score(subject, predicate, target):
    boxes = np.array([[subject, target]])
    triples = np.array([[[0, PREDICATES.index(predicate), 1], [-1, -1, -1]]])
    result = relation_score(boxes, triples, PREDICATES)
    assert result["relation_count"] == 1
    return result["relation_score"]


@pytest.mark.parametrize(
    ("subject", "holds"),
    [
        ((0.4, 0.0, 0.6, 0.2), "left of"),
        ((0.4, 0.8, 0.6, 1.0), "right of"),
        ((0.0, 0.4, 0.2, 0.6), "above"),
        ((0.8, 0.4, 1.0, 0.6), "below"),
        ((0.45, 0.45, 0.55, 0.55), "inside"),
        ((0.3, 0.3, 0.7, 0.7), "surrounding"),
    ],
)
def test_each_relation_holds_where_it_should_and_nowhere_else(subject, holds):
    target = (0.4, 0.4, 0.6, 0.6)
    for predicate in GEOMETRIC_PREDICATES:
        assert _score(subject, predicate, target) == (predicate == holds)


def test_other_relations_are_not_counted():
    boxes = np.array([[[0.4, 0.0, 0.6, 0.2], [0.4, 0.8, 0.6, 1.0]]])
    left, riding, in_image = (PREDICATES.index(p) for p in ("left of", "riding", "__in_image__"))
    triples = np.array([[[0, left, 1], [1, left, 0], [0, riding, 1], [0, in_image, 1]]])
    assert relation_score(boxes, triples, PREDICATES) == {
        "relation_score": 0.5,
        "relation_count": 2,
    }
    nothing = relation_score(boxes, np.full([1, 4, 3], -1), PREDICATES)
    assert nothing == {"relation_score": None, "relation_count": 0}


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(2, 8))
def test_true_boxes_satisfy_the_relations_made_from_their_centres(seed, count):
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(size=[count, 2, 2]), axis=1)
    boxes = corners.reshape([count, 4])
    centres = (boxes[:, :2] + boxes[:, 2:]) / 2
    triples = [
        (subject, PREDICATES.index(predicate), target)
        for subject, predicate, target in geometric_relations(boxes, centres, rng)
    ]
    assert relation_score(boxes[None], np.array([triples]), PREDICATES)["relation_score"] == 1.0


def test_areas_by_hand():
    true = np.array([[[0.0, 0.0, 1.0, 0.5], [0.0, 0.0, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0]]])
    predicted = np.array([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 0.9, 0.7], [0.0, 0.0, 1.0, 1.0]]])
    mask = np.array([[True, True, False]])
    ratios = box_area_ratio(predicted, true, mask)
    assert ratios["box_area_ratio"] == pytest.approx((0.25 + 0.08) / (0.5 + 0.04))
    assert ratios["box_area_ratio_small"] == pytest.approx(2.0)
    large = box_area_ratio(predicted, true, mask & [[True, False, False]])
    assert large == {"box_area_ratio": 0.5, "box_area_ratio_small": None}
