"""The scene-graph encoder: order, padding and batch do not matter, the graph does."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.graph.encoder import SceneGraphEncoder

_OBJECTS = np.array([[4, 7, 4, 2, 0], [3, 0, 0, 0, 0], [9, 8, 7, 6, 5]], np.int32)
_TRIPLES = np.array(
    [
        [[0, 1, 1], [2, 3, 3], [-1, -1, -1]],
        [[-1, -1, -1], [-1, -1, -1], [-1, -1, -1]],
        [[4, 6, 0], [1, 2, 2], [2, 5, 3]],
    ],
    np.int32,
)


@pytest.fixture(scope="module")
def encoder() -> SceneGraphEncoder:
    tf.keras.utils.set_random_seed(0)
    layer = SceneGraphEncoder(num_objects=10, num_predicates=7, width=8, hidden=16, layers=5)
    layer({"objects": _OBJECTS, "triples": _TRIPLES})
    return layer


def _encode(encoder, objects, triples):
    return encoder({"objects": tf.constant(objects), "triples": tf.constant(triples)})


def test_shapes_and_masks(encoder):
    encoding = _encode(encoder, _OBJECTS, _TRIPLES)
    assert encoding.object_vectors.shape == (3, 5, 8)
    assert encoding.image_vector.shape == (3, 8)
    assert encoding.predicate_vectors.shape == (3, 3 + 5, 8)
    assert encoding.triples.shape == (3, 3 + 5, 3)
    np.testing.assert_array_equal(encoding.object_mask, _OBJECTS != 0)
    assert not np.any(encoding.object_vectors.numpy()[_OBJECTS == 0])
    assert not np.any(encoding.predicate_vectors.numpy()[1, :3])


def test_permuting_objects_and_triples_permutes_the_vectors(encoder):
    order = np.array([3, 0, 4, 1, 2])  # new position -> old position
    place = np.argsort(order)  # old position -> new position
    triple_order = np.array([2, 0, 1])
    permuted = _TRIPLES.copy()
    present = permuted[..., 0] >= 0
    permuted[..., 0] = np.where(present, place[permuted[..., 0]], -1)
    permuted[..., 2] = np.where(present, place[permuted[..., 2]], -1)

    plain = _encode(encoder, _OBJECTS, _TRIPLES)
    moved = _encode(encoder, _OBJECTS[:, order], permuted[:, triple_order])

    np.testing.assert_allclose(
        moved.object_vectors, plain.object_vectors.numpy()[:, order], atol=1e-5
    )
    np.testing.assert_allclose(moved.image_vector, plain.image_vector, atol=1e-5)
    np.testing.assert_allclose(
        moved.predicate_vectors[:, :3], plain.predicate_vectors.numpy()[:, triple_order], atol=1e-5
    )
    np.testing.assert_allclose(
        moved.predicate_vectors[:, 3:], plain.predicate_vectors.numpy()[:, 3:][:, order], atol=1e-5
    )


def test_padding_has_no_influence(encoder):
    plain = _encode(encoder, _OBJECTS, _TRIPLES)
    wide = _encode(
        encoder,
        np.pad(_OBJECTS, [(0, 0), (0, 4)]),
        np.pad(_TRIPLES, [(0, 0), (0, 9), (0, 0)], constant_values=-1),
    )
    scale = np.abs(plain.object_vectors).max()
    np.testing.assert_allclose(
        wide.object_vectors[:, :5], plain.object_vectors, atol=1e-6 * max(scale, 1)
    )
    np.testing.assert_allclose(wide.image_vector, plain.image_vector, atol=1e-6 * max(scale, 1))


def test_a_row_does_not_depend_on_its_batch(encoder):
    together = _encode(encoder, _OBJECTS, _TRIPLES)
    for row in range(3):
        alone = _encode(encoder, _OBJECTS[row : row + 1], _TRIPLES[row : row + 1])
        for one, many in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], many[row], atol=1e-5)


def test_direction_and_predicate_of_a_triple_matter(encoder):
    plain = _encode(encoder, _OBJECTS, _TRIPLES).object_vectors
    reversed_triples, other_predicate = _TRIPLES.copy(), _TRIPLES.copy()
    reversed_triples[0, 0] = [1, 1, 0]
    other_predicate[0, 0, 1] = 2
    for changed in (reversed_triples, other_predicate):
        vectors = _encode(encoder, _OBJECTS, changed).object_vectors
        assert np.abs(vectors[0] - plain[0]).max() > 1e-3
        np.testing.assert_allclose(vectors[1:], plain[1:], atol=1e-5)


def test_gradient_reaches_every_variable(encoder):
    with tf.GradientTape() as tape:
        encoding = _encode(encoder, _OBJECTS, _TRIPLES)
        loss = sum(
            tf.reduce_sum(tf.square(values)) for values in encoding if values.dtype == tf.float32
        )
    gradients = tape.gradient(loss, encoder.trainable_variables)
    for variable, gradient in zip(encoder.trainable_variables, gradients, strict=True):
        norm = float(tf.norm(tf.convert_to_tensor(gradient)))
        assert np.isfinite(norm) and norm > 0, variable.name


def test_runs_in_a_graph_with_unknown_batch_size(encoder):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 5], tf.int32),
            tf.TensorSpec([None, 3, 3], tf.int32),
        ],
        autograph=False,  # as steps are traced; `test_interchangeable.py` has it with AutoGraph
    )
    def encode(objects, triples):
        encoding = encoder({"objects": objects, "triples": triples})
        assert encoding.object_vectors.shape.as_list() == [None, 5, 8]
        return encoding.object_vectors

    np.testing.assert_allclose(
        encode(_OBJECTS, _TRIPLES),
        _encode(encoder, _OBJECTS, _TRIPLES).object_vectors,
        atol=1e-5,
    )


def test_serialisation_round_trip(encoder):
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(encoder))
    _encode(copy, _OBJECTS, _TRIPLES)
    copy.set_weights(encoder.get_weights())
    for one, other in zip(
        _encode(copy, _OBJECTS, _TRIPLES), _encode(encoder, _OBJECTS, _TRIPLES), strict=True
    ):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("name", "value"), [("num_objects", 1), ("num_predicates", 0), ("layers", 0)]
)
def test_too_small_a_count_is_refused_with_its_value(name, value):
    with pytest.raises(ValueError, match=f"{name} must be at least .*, got {value}"):
        SceneGraphEncoder(**{"num_objects": 4, "num_predicates": 2, name: value})
