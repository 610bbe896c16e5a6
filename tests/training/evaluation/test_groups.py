"""Groups of objects and scenes, worked by hand."""

from __future__ import annotations

import numpy as np

from training.evaluation.groups import largest_share, object_groups, scene_groups

# A whole image, a quarter inside it, one beside the quarter that just touches it; and one alone.
BOXES = np.array(
    [
        [[0, 0, 1, 1], [0, 0, 0.5, 0.5], [0, 0.5, 0.5, 1.0], [0, 0, 0, 0]],
        [[0, 0, 0.5, 0.5], [0.25, 0.25, 0.75, 0.75], [0.75, 0.75, 1, 1], [0, 0, 0, 0]],
        [[0, 0, 0.5, 0.5], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
    ],
    np.float32,
)
OBJECTS = np.array([[3, 4, 4, 0], [3, 4, 5, 0], [3, 0, 0, 0]])
TRIPLES = np.array([[[0, 1, 1]], [[-1, -1, -1]], [[-1, -1, -1]]])


def test_shares_are_of_the_smaller_box_and_padding_has_none():
    np.testing.assert_allclose(
        largest_share(BOXES, OBJECTS), [[1, 1, 1, 0], [0.25, 0.25, 0, 0], [0, 0, 0, 0]]
    )


def test_objects_are_in_one_group_of_each_kind():
    groups = object_groups(BOXES, OBJECTS, TRIPLES)
    assert groups["overlap_heavy"].sum() == 3 and groups["overlap_heavy"][0, :3].all()
    assert groups["overlap_some"].tolist()[1] == [True, True, False, False]
    assert np.argwhere(groups["overlap_none"]).tolist() == [[1, 2], [2, 0]]
    assert np.argwhere(groups["isolated"]).tolist() == [[0, 2], [1, 0], [1, 1], [1, 2], [2, 0]]
    present = OBJECTS > 0
    for kind in ("overlap", "objects"):
        parts = [mask for name, mask in groups.items() if name.startswith(kind)]
        np.testing.assert_array_equal(np.sum(parts, axis=0), present)


def test_scenes_by_overlap_and_number():
    groups = scene_groups(BOXES, OBJECTS)
    assert groups["overlap_high"].tolist() == [True, False, False]
    assert groups["overlap_low"].tolist() == [False, True, True]
    assert groups["objects_1_to_3"].all() and not groups["objects_7_or_more"].any()
    many = np.tile(BOXES[2, :1], [1, 7, 1]), np.ones([1, 7], int)
    assert scene_groups(*many)["objects_7_or_more"].all()
