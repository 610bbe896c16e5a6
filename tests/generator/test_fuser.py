"""Equations (8) and (9) against a plain loop over pixels and objects."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.generator.fuser import ObjectImageFuser, object_weights
from rgan_tf.generator.layout import warp_to_boxes

_SIZE, _CHANNELS, _DEPTH, _WIDTH = 8, 5, 3, 4
# Object 1 lies inside object 0, object 2 overlaps both, object 3 is padding over everything.
_BOXES = np.array(
    [[[0.0, 0.0, 0.75, 0.8], [0.2, 0.1, 0.6, 0.5], [0.5, 0.3, 1.0, 0.7], [0, 0, 1, 1]]], np.float32
)
_MASK = np.array([[True, True, True, False]])


def _inputs(seed: int = 0) -> dict[str, tf.Tensor]:
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return tf.constant(rng.normal(size=shape), tf.float32)

    return {
        "maps": normal(1, 5, 4, 4, _DEPTH),
        "object_vectors": normal(1, 4, _WIDTH),
        "image_vector": normal(1, _WIDTH),
        "relation_vectors": normal(1, 4, _WIDTH),
        "boxes": tf.constant(_BOXES),
        "object_mask": tf.constant(_MASK),
    }


def _fuser(**arguments) -> ObjectImageFuser:
    tf.keras.utils.set_random_seed(3)
    layer = ObjectImageFuser(channels=_CHANNELS, **arguments)
    layer(**_inputs(), size=_SIZE)
    rng = np.random.default_rng(9)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    return layer


def _whole(maps, vectors):
    """x: maps and repeated vectors concatenated, as [B, O, h, w, D + W]."""
    repeated = tf.broadcast_to(
        vectors[:, :, tf.newaxis, tf.newaxis], [*maps.shape[:-1], vectors.shape[-1]]
    )
    return tf.concat([maps, repeated], axis=-1)


def test_canvas_equals_equations_8_and_9_pixel_by_pixel():
    inputs = _inputs()
    layer = _fuser(attention_weight=0.7)

    canvas = layer(**inputs, size=_SIZE).canvas.numpy()

    both = np.concatenate([layer.map_features.kernel[0, 0], layer.vector_features.kernel])
    f, l_map = both[:, :_CHANNELS], both[:, _CHANNELS:]
    q = layer.query.kernel.numpy()
    own = np.concatenate([layer.image_map.kernel[0, 0], layer.image_vector.kernel])
    maps = inputs["maps"]
    x = warp_to_boxes(_whole(maps[:, :-1], inputs["object_vectors"]), _BOXES, _SIZE, _SIZE)
    relations = tf.broadcast_to(
        inputs["relation_vectors"][:, :, tf.newaxis, tf.newaxis], [1, 4, 2, 2, _WIDTH]
    )
    x_relation = warp_to_boxes(relations, _BOXES, _SIZE, _SIZE).numpy()[0]
    whole_image = np.array([[[0, 0, 1, 1]]], np.float32)
    x_image = warp_to_boxes(
        _whole(maps[:, -1:], inputs["image_vector"][:, tf.newaxis]), whole_image, _SIZE, _SIZE
    ).numpy()[0, 0]
    x = x.numpy()[0]
    shared = 0
    for row in range(_SIZE):
        for column in range(_SIZE):
            y_c, x_c = (row + 0.5) / _SIZE, (column + 0.5) / _SIZE
            covering = [
                index
                for index, (y0, x0, y1, x1) in enumerate(_BOXES[0])
                if _MASK[0, index] and y0 <= y_c < y1 and x0 <= x_c < x1
            ]
            shared += len(covering) > 1
            scores = [
                (x[i, row, column] @ f) @ (x_relation[i, row, column] @ q) / np.sqrt(_CHANNELS)
                for i in covering
            ]
            weights = np.exp(scores) / np.sum(np.exp(scores))
            attended = sum(
                (w * (x[i, row, column] @ l_map) for w, i in zip(weights, covering, strict=True)),
                np.zeros(_CHANNELS),
            )
            expected = 0.7 * attended + x_image[row, column] @ own + layer.image_map.bias.numpy()
            np.testing.assert_allclose(canvas[0, row, column], expected, rtol=1e-3, atol=1e-3)
    assert shared > 5  # the softmax had something to decide


def test_pixel_weights_sum_to_one_exactly_where_a_box_covers():
    inputs = _inputs()
    scores = _fuser()(**inputs, size=_SIZE).scores
    weights = object_weights(scores, inputs["boxes"], inputs["object_mask"], _SIZE)
    centres = (np.arange(_SIZE) + 0.5) / _SIZE
    covered = np.zeros([_SIZE, _SIZE], bool)
    for y0, x0, y1, x1 in _BOXES[0, :3]:
        rows, columns = (centres >= y0) & (centres < y1), (centres >= x0) & (centres < x1)
        covered |= np.outer(rows, columns)
    assert covered.any() and not covered.all()
    np.testing.assert_allclose(tf.reduce_sum(weights, axis=1)[0], covered, atol=1e-6)
    assert not np.any(weights[0, 3])  # padding


def test_moving_one_box_changes_only_pixels_in_its_old_or_new_place():
    inputs, layer = _inputs(), _fuser()
    moved = _BOXES.copy()
    moved[0, 1] = [0.6, 0.6, 0.9, 0.95]

    before = layer(**inputs, size=_SIZE).canvas.numpy()[0]
    after = layer(**{**inputs, "boxes": tf.constant(moved)}, size=_SIZE).canvas.numpy()[0]

    touched = np.zeros([_SIZE, _SIZE], bool)
    centres = (np.arange(_SIZE) + 0.5) / _SIZE
    for y0, x0, y1, x1 in (_BOXES[0, 1], moved[0, 1]):
        rows, columns = (centres >= y0) & (centres < y1), (centres >= x0) & (centres < x1)
        touched |= np.outer(rows, columns)
    changed = np.abs(after - before).max(axis=-1) > 1e-6
    assert changed.any()
    assert not np.any(changed & ~touched)


def test_without_objects_only_the_image_feature_remains():
    inputs, layer = _inputs(), _fuser()
    empty = {**inputs, "object_mask": tf.zeros([1, 4], tf.bool)}
    off = _fuser(attention_weight=0.0)
    np.testing.assert_allclose(
        layer(**empty, size=_SIZE).canvas, off(**inputs, size=_SIZE).canvas, atol=1e-5
    )


def test_masks_that_are_all_alike_change_nothing_and_an_empty_one_yields_its_pixels():
    inputs, layer = _inputs(), _fuser()
    plain = layer(**inputs, size=_SIZE)
    even = layer(**inputs, size=_SIZE, masks=tf.zeros([1, 4, _SIZE, _SIZE]))
    np.testing.assert_allclose(even.canvas, plain.canvas, atol=1e-5)

    where = (inputs["boxes"], inputs["object_mask"], _SIZE)
    emptied = tf.tile(tf.constant([0.0, -40.0, 0.0, 0.0])[None, :, None, None], [1, 1, 8, 8])
    before = object_weights(plain.scores, *where)[0].numpy()
    after = object_weights(plain.scores, *where, emptied)[0].numpy()
    shared = (before[1] > 0) & (before[1] < 1)
    assert shared.any()
    assert after[1][shared].max() < 1e-6
    # Those that remain share what it leaves, in the ratio that they had.
    np.testing.assert_allclose(
        after[0][shared], before[0][shared] / (before[0] + before[2])[shared], atol=1e-5
    )
    # A mask of one half against one of one quarter: odds of 2 to 1 where the scores are equal.
    halves = tf.tile(
        tf.constant([0.0, -np.log(3.0), 0.0, 0.0], tf.float32)[None, :, None, None], [1, 1, 8, 8]
    )
    odds = object_weights(tf.zeros_like(plain.scores), *where, halves)[0].numpy()
    np.testing.assert_allclose(odds[0, 2, 2], 2 / 3, atol=1e-6)  # boxes 0 and 1
    np.testing.assert_allclose(odds[1, 2, 2], 1 / 3, atol=1e-6)


def test_serialisation_round_trip():
    layer = _fuser(attention_weight=0.5)
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    copy(**_inputs(), size=_SIZE)
    copy.set_weights(layer.get_weights())
    for ours, theirs in zip(
        copy(**_inputs(1), size=_SIZE), layer(**_inputs(1), size=_SIZE), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"channels": 0}, "channels must be at least 1, got 0"),
        ({"channels": 2, "attention_weight": -1.0}, "attention_weight .*, got -1.0"),
    ],
)
def test_bad_argument_is_refused_with_its_value(arguments, message):
    with pytest.raises(ValueError, match=message):
        ObjectImageFuser(**arguments)
