"""The whole generator and its parts."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.generator.crop_encoder import CropEncoder
from rgan_tf.generator.decoder import CanvasDecoder
from rgan_tf.generator.generator import PatchGenerator
from rgan_tf.graph.encoder import SceneGraphEncoder
from rgan_tf.model.flops import count_flops

_OBJECTS = np.array([[4, 7, 2, 0], [3, 5, 0, 0]], np.int32)
_TRIPLES = np.array([[[0, 1, 1], [2, 3, 0]], [[0, 2, 1], [-1, -1, -1]]], np.int32)
_BOXES = np.array(
    [
        [[0, 0, 0.7, 1], [0.4, 0.1, 0.9, 0.6], [0.2, 0.5, 0.6, 0.9], [0, 0, 0, 0]],
        [[0, 0, 0.95, 1], [0.1, 0.1, 0.5, 0.5], [0, 0, 0, 0], [0, 0, 0, 0]],
    ],
    np.float32,
)
_SMALL = {
    "image_size": 32,
    "crop_size": 16,
    "crop_channels": 6,
    "refiner_hidden": 5,
    "canvas_channels": 8,
    "canvas_blocks": 1,
    "decoder_channels": (6, 4),
}


def _crops(size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (2, 4, size, size, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def encoder() -> SceneGraphEncoder:
    tf.keras.utils.set_random_seed(0)
    return SceneGraphEncoder(num_objects=10, num_predicates=7, width=8, hidden=16, layers=2)


@pytest.fixture(scope="module")
def encoding(encoder):
    return encoder({"objects": tf.constant(_OBJECTS), "triples": tf.constant(_TRIPLES)})


@pytest.fixture(scope="module")
def generator(encoding) -> PatchGenerator:
    tf.keras.utils.set_random_seed(1)
    layer = PatchGenerator(**_SMALL)
    layer(_crops(16), encoding, _BOXES)
    return layer


def _row(encoding, row):
    return type(encoding)(*(values[row : row + 1] for values in encoding))


@pytest.mark.parametrize("image_size", [64, 128])
def test_both_resolutions_give_images_in_range(encoding, image_size):
    layer = PatchGenerator(**{**_SMALL, "image_size": image_size, "crop_size": image_size // 2})
    images = layer(_crops(image_size // 2), encoding, _BOXES).numpy()
    assert images.shape == (2, image_size, image_size, 3)
    assert np.all(np.abs(images) <= 1) and images.std() > 0
    canvas = layer.canvas(tf.constant(_crops(image_size // 2)), encoding, tf.constant(_BOXES))
    assert canvas.shape == (2, image_size // 4, image_size // 4, 8)


def test_a_row_does_not_depend_on_its_batch(generator, encoding):
    together = generator(_crops(16), encoding, _BOXES)
    for row in range(2):
        alone = generator(_crops(16)[row : row + 1], _row(encoding, row), _BOXES[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], atol=1e-5)


def test_patches_of_padded_objects_have_no_influence_and_of_others_have(generator, encoding):
    crops = _crops(16)
    plain = generator(crops, encoding, _BOXES)
    padded, real = crops.copy(), crops.copy()
    padded[_OBJECTS == 0] = 0.9
    real[0, 1] = 0.9
    np.testing.assert_allclose(generator(padded, encoding, _BOXES), plain, atol=1e-6)
    changed = generator(real, encoding, _BOXES)
    assert np.abs(changed[0] - plain[0]).max() > 1e-3
    np.testing.assert_allclose(changed[1], plain[1], atol=1e-6)


def test_gradient_reaches_every_variable_of_generator_and_encoder(generator, encoder):
    variables = generator.trainable_variables + encoder.trainable_variables
    target = tf.random.stateless_uniform([2, 32, 32, 3], [0, 1], -1, 1)
    with tf.GradientTape() as tape:
        encoding = encoder({"objects": tf.constant(_OBJECTS), "triples": tf.constant(_TRIPLES)})
        images = generator(_crops(16), encoding, _BOXES)
        loss = tf.reduce_mean(tf.abs(images - target))
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert gradient is not None, variable.name
        norm = float(tf.norm(tf.convert_to_tensor(gradient)))
        assert np.isfinite(norm) and norm > 0, variable.name


def test_gradient_reaches_patches_and_boxes(generator, encoding):
    crops, boxes = tf.Variable(_crops(16)), tf.Variable(_BOXES)
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(generator(crops, encoding, boxes)))
    to_crops, to_boxes = tape.gradient(loss, [crops, boxes])
    assert np.all(np.isfinite(to_crops)) and np.all(np.isfinite(to_boxes))
    present = _OBJECTS != 0
    assert np.all(np.abs(to_crops.numpy()[present]).max(axis=(1, 2, 3)) > 0)
    assert np.all(np.abs(to_boxes.numpy()[present]).max(axis=1) > 0)
    assert not np.any(to_crops.numpy()[~present])


@pytest.mark.thorough
def test_runs_in_a_graph_with_unknown_batch_size(generator, encoder, encoding):
    @tf.function(
        input_signature=[
            tf.TensorSpec([None, 4, 16, 16, 3], tf.float32),
            tf.TensorSpec([None, 4], tf.int32),
            tf.TensorSpec([None, 2, 3], tf.int32),
            tf.TensorSpec([None, 4, 4], tf.float32),
        ]
    )
    def generate(crops, objects, triples, boxes):
        return generator(crops, encoder({"objects": objects, "triples": triples}), boxes)

    np.testing.assert_allclose(
        generate(_crops(16), _OBJECTS, _TRIPLES, _BOXES),
        generator(_crops(16), encoding, _BOXES),
        atol=1e-5,
    )


def test_default_generator_stays_under_two_gigaflop_per_image():
    encoder = SceneGraphEncoder(num_objects=10, num_predicates=7)
    encoding = encoder(
        {"objects": tf.fill([1, 8], 2), "triples": tf.tile([[[0, 1, 1]]], [1, 16, 1])}
    )
    generator = PatchGenerator(image_size=64, crop_size=32)
    crops, boxes = tf.zeros([1, 8, 32, 32, 3]), tf.zeros([1, 8, 4]) + [0.0, 0.0, 1.0, 1.0]
    generator(crops, encoding, boxes)

    flops = count_flops(generator, crops, encoding, boxes)

    assert 0.5e9 < flops <= 2e9


def test_serialisation_round_trip(generator, encoding):
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(generator))
    copy(_crops(16), encoding, _BOXES)
    copy.set_weights(generator.get_weights())
    np.testing.assert_array_equal(
        copy(_crops(16, 5), encoding, _BOXES), generator(_crops(16, 5), encoding, _BOXES)
    )
    assert copy.get_config() == generator.get_config()


@pytest.mark.parametrize("crop_size", [8, 16, 32, 64])
def test_crop_encoder_gives_eight_by_eight_maps_for_every_crop_size(crop_size):
    layer = CropEncoder(crop_size=crop_size, channels=6)
    maps = layer(tf.zeros([2, crop_size, crop_size, 3]))
    assert maps.maps.shape == (2, 8, 8, 6)
    fine = (16, 16, 3) if crop_size > 16 else (crop_size, crop_size, 3)
    assert maps.fine.shape == (2, *fine)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (CropEncoder(crop_size=16, channels=4), (1, 16, 16, 3)),
        (CanvasDecoder(canvas_channels=4, canvas_blocks=1, decoder_channels=(3,)), (1, 8, 8, 4)),
        (blocks.ResidualBlock(channels=4), (1, 8, 8, 4)),
    ],
)
def test_parts_round_trip_through_their_config(layer, shape):
    values = tf.random.stateless_normal(shape, [0, 1])
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    layer(values)
    copy(values)
    copy.set_weights(layer.get_weights())
    for ours, theirs in zip(
        tf.nest.flatten(copy(values)), tf.nest.flatten(layer(values)), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)
    assert copy.get_config() == layer.get_config()


def test_upsample_repeats_every_pixel():
    values = tf.constant([[[[1.0], [2.0]], [[3.0], [4.0]]]])
    expected = [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]
    np.testing.assert_array_equal(blocks.upsample(values)[0, ..., 0], expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 30}, "image_size must be a multiple of 4, got 30"),
        ({"crop_size": 24}, "crop_size must be 8 times a power of two, got 24"),
        ({"decoder_channels": (4,)}, "decoder_channels needs 2 entries"),
        ({"decoder_channels": (4, 0)}, "decoder_channels needs entries above 0"),
        ({"refiner_layers": -1}, "refiner_layers must not be negative, got -1"),
        ({"canvas_blocks": -1}, "canvas_blocks must not be negative, got -1"),
        ({"crop_channels": 0}, "channels must be at least 1, got 0"),
    ],
)
def test_bad_argument_is_refused_with_its_value(changes, message):
    with pytest.raises(ValueError, match=message):
        PatchGenerator(**{**_SMALL, **changes})
