"""The generator with composition, masks and skip: where they start, and what they can learn."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.generator.generator import PatchGenerator
from rgan_tf.generator.layout import crop_objects
from rgan_tf.generator.masks import PatchMask
from rgan_tf.graph.encoder import SceneGraphEncoder
from rgan_tf.model.flops import count_flops
from rgan_tf.model.networks import _precision
from rgan_tf.model.recompute import recomputed

_OBJECTS = np.array([[4, 7, 2, 0], [3, 5, 6, 0]], np.int32)
_TRIPLES = np.array([[[0, 1, 1], [2, 3, 0]], [[0, 2, 1], [-1, -1, -1]]], np.int32)
_BOXES = np.array(
    [
        [[0, 0, 0.75, 1], [0.5, 0.125, 1, 0.625], [0.25, 0.5, 0.625, 1], [0, 0, 0, 0]],
        [[0, 0, 1, 1], [0.125, 0.125, 0.5, 0.5], [0.5, 0.25, 1, 0.75], [0, 0, 0, 0]],
    ],
    np.float32,
)
_SMALL = {
    "image_size": 32,
    "crop_size": 32,
    "crop_channels": 6,
    "refiner_layers": 1,
    "refiner_hidden": 5,
    "canvas_channels": 8,
    "canvas_blocks": 1,
    "decoder_channels": (8, 4),
}
_ALL = {"composition": True, "masks": True, "skip": True}


def _crops(size: int = 32, seed: int = 0) -> tf.Tensor:
    crops = np.random.default_rng(seed).uniform(-1, 1, (2, 4, size, size, 3))
    return tf.constant(crops, tf.float32)


@pytest.fixture(scope="module")
def encoder() -> SceneGraphEncoder:
    tf.keras.utils.set_random_seed(0)
    return SceneGraphEncoder(num_objects=10, num_predicates=7, width=8, hidden=16, layers=2)


@pytest.fixture(scope="module")
def encoding(encoder):
    return encoder({"objects": tf.constant(_OBJECTS), "triples": tf.constant(_TRIPLES)})


@pytest.fixture(scope="module")
def plain(encoding) -> PatchGenerator:
    tf.keras.utils.set_random_seed(1)
    layer = PatchGenerator(**_SMALL)
    layer(_crops(), encoding, _BOXES)
    return layer


def _beside(plain: PatchGenerator, encoding, **switches) -> PatchGenerator:
    """A generator with switches whose other weights are those of `plain`."""
    tf.keras.utils.set_random_seed(2)
    layer = PatchGenerator(**{**_SMALL, **switches})
    layer(_crops(), encoding, _BOXES)
    for name in ("crop_encoder", "fuser"):
        getattr(layer, name).set_weights(getattr(plain, name).get_weights())
    for ours, theirs in zip(layer.refiner, plain.refiner, strict=True):
        ours.set_weights(theirs.get_weights())
    shared = plain.decoder.get_weights()
    layer.decoder.set_weights(shared + layer.decoder.get_weights()[len(shared) :])
    return layer


@pytest.fixture(scope="module")
def trained(encoding) -> PatchGenerator:
    """All switches, and weights that have left their start."""
    tf.keras.utils.set_random_seed(3)
    layer = PatchGenerator(**_SMALL, **_ALL)
    layer(_crops(), encoding, _BOXES)
    _leave_the_start(layer)
    return layer


def _leave_the_start(layer: PatchGenerator) -> None:
    rng = np.random.default_rng(4)
    layer.set_weights(
        [w if w.any() else rng.normal(size=w.shape) * 0.5 for w in layer.get_weights()]
    )


def test_composition_starts_as_the_decoder_alone_to_the_bit(plain, encoding):
    images = _beside(plain, encoding, composition=True)(_crops(), encoding, _BOXES)
    np.testing.assert_array_equal(images, plain(_crops(), encoding, _BOXES))


def test_masks_start_neutral(plain, encoding):
    layer = _beside(plain, encoding, composition=True, masks=True)
    fused = layer.fuse(_crops(), encoding, tf.constant(_BOXES))
    assert fused.mask_logits.shape == (2, 4, 16, 16, 1) and not np.any(fused.mask_logits)
    np.testing.assert_allclose(
        layer(_crops(), encoding, _BOXES), plain(_crops(), encoding, _BOXES), atol=1e-5
    )
    unmasked = _beside(plain, encoding, composition=True)
    np.testing.assert_allclose(
        fused.composition.colours,
        unmasked.fuse(_crops(), encoding, tf.constant(_BOXES)).composition.colours,
        atol=1e-5,
    )


def test_switches_that_are_off_cost_no_weights(plain):
    names = [variable.name for variable in plain.variables]
    assert not [name for name in names if "mask" in name or "skip" in name or "gain" in name]


def test_what_starts_at_zero_learns_in_the_first_step(plain, encoding):
    layer = _beside(plain, encoding, **_ALL)
    target = tf.random.stateless_uniform([2, 32, 32, 3], [0, 1], -1, 1)
    # The masks decide nothing in the image before the composition and the canvas count.
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(layer(_crops(), encoding, _BOXES) - target))
    starting = (
        layer.decoder.to_gain.kernel,
        layer.decoder.from_composition.kernel,
        layer.patch_mask.to_logits.kernel,
        layer.skip_features.kernel,
        layer.decoder.from_skip.kernel,
    )
    for variable, gradient in zip(starting, tape.gradient(loss, starting), strict=True):
        assert 0 < float(tf.norm(gradient)) < np.inf, variable.name


def test_gradient_reaches_every_variable(trained, encoding):
    target = tf.random.stateless_uniform([2, 32, 32, 3], [0, 1], -1, 1)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.abs(trained(_crops(), encoding, _BOXES) - target))
    variables = trained.trainable_variables
    for variable, gradient in zip(variables, tape.gradient(loss, variables), strict=True):
        assert gradient is not None, variable.name
        assert 0 < float(tf.norm(tf.convert_to_tensor(gradient))) < np.inf, variable.name


def test_gradient_of_one_pixel_reaches_the_pixels_of_the_crop_beneath_it(encoding):
    """A generator that does nothing but copy, by weights of zero and a gain of one."""
    layer = PatchGenerator(**_SMALL, composition=True)
    layer(_crops(), encoding, _BOXES)
    layer.set_weights([np.zeros_like(w) for w in layer.get_weights()])
    layer.decoder.to_gain.bias.assign(tf.ones([3]))
    boxes = np.zeros_like(_BOXES)
    boxes[:, 0] = [0, 0, 1, 1]  # 32 pixels onto 32: resampling changes nothing
    boxes[:, 1] = [0.5, 0.5, 1, 1]
    boxes[:, 2] = [0, 0.5, 0.5, 1]
    crops = tf.Variable(_crops())

    with tf.GradientTape() as tape:
        images = layer(crops, encoding, boxes)
        pixel = images[0, 9, 5, 1]  # only object 0 lies there
    np.testing.assert_allclose(images[0, :, :16], 0.95 * crops[0, 0, :, :16], atol=1e-5)
    gradient = tape.gradient(pixel, crops).numpy()
    assert gradient[0, 0, 9, 5, 1] == pytest.approx(0.95, abs=1e-4)
    gradient[0, 0, 9, 5, 1] = 0
    np.testing.assert_allclose(gradient, 0, atol=1e-6)
    # Two objects with equal scores share a pixel: each has half of it.
    np.testing.assert_allclose(
        layer.fuse(crops, encoding, tf.constant(boxes)).composition.colours[0, 20, 20],
        0.5 * crops[0, 0, 20, 20] + 0.5 * _shrunk(crops[0, 1])[4, 4],
        atol=1e-5,
    )


def _shrunk(crop: tf.Tensor) -> tf.Tensor:
    """[32, 32, 3] to [16, 16, 3], as an antialiased resize does it."""
    whole = tf.constant([[[0.0, 0.0, 1.0, 1.0]]])
    return crop_objects(crop[tf.newaxis], whole, 16)[0, 0]


def test_order_of_the_objects_does_not_matter(trained, encoder):
    order = np.array([2, 3, 0, 1])  # the new place of each object holds the old one named here
    place = np.argsort(order)
    triples = _TRIPLES.copy()
    real = triples[..., 1] > 0
    for end in (0, 2):
        triples[..., end] = np.where(real, place[triples[..., end]], -1)

    def images(objects, triples, crops, boxes):
        encoding = encoder({"objects": tf.constant(objects), "triples": tf.constant(triples)})
        return trained(crops, encoding, tf.constant(boxes))

    np.testing.assert_allclose(
        images(_OBJECTS[:, order], triples, tf.gather(_crops(), order, axis=1), _BOXES[:, order]),
        images(_OBJECTS, _TRIPLES, _crops(), _BOXES),
        atol=1e-5,
    )


def test_padded_objects_have_no_influence_and_no_gradient(trained, encoding):
    crops, boxes = tf.Variable(_crops()), _BOXES.copy()
    boxes[:, 3] = [0, 0, 1, 1]  # even where a box is left over
    padded = crops.numpy()
    padded[:, 3] = 1.0
    with tf.GradientTape() as tape:
        images = trained(crops, encoding, boxes)
        loss = tf.reduce_sum(images**2)
    np.testing.assert_array_equal(trained(padded, encoding, boxes), images)
    np.testing.assert_allclose(trained(padded, encoding, _BOXES), images, atol=1e-6)
    gradient = tape.gradient(loss, crops).numpy()
    assert not np.any(gradient[:, 3]) and np.all(np.abs(gradient[:, :3]).max(axis=(2, 3, 4)) > 0)


def test_a_row_does_not_depend_on_its_batch(trained, encoding):
    together = trained(_crops(), encoding, _BOXES)
    alone = type(encoding)(*(values[1:] for values in encoding))
    np.testing.assert_allclose(trained(_crops()[1:], alone, _BOXES[1:])[0], together[1], atol=1e-5)


@pytest.mark.parametrize("crop_size", [8, 16, 64])
def test_every_size_of_patches_is_taken(encoding, crop_size):
    layer = PatchGenerator(**{**_SMALL, "crop_size": crop_size}, **_ALL)
    images = layer(_crops(crop_size), encoding, _BOXES)
    assert images.shape == (2, 32, 32, 3) and np.all(np.isfinite(images))


def test_compiled_by_xla_values_and_gradients_are_the_same(encoding):
    layer = PatchGenerator(**{**_SMALL, "refiner_layers": 0, "canvas_blocks": 0}, **_ALL)
    layer(_crops(), encoding, _BOXES)
    _leave_the_start(layer)
    crops, boxes = _crops(), tf.constant(_BOXES)

    def both(crops, boxes):
        with tf.GradientTape() as tape:
            tape.watch(crops)
            images = layer(crops, encoding, boxes)
            loss = tf.reduce_mean(images**2)
        return images, tape.gradient(loss, [crops, layer.patch_mask.to_logits.kernel])

    plain, compiled = both(crops, boxes), tf.function(both, jit_compile=True)(crops, boxes)
    for ours, theirs in zip(tf.nest.flatten(compiled), tf.nest.flatten(plain), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


@pytest.mark.thorough
def test_recomputed_values_and_gradients_are_the_same(trained, encoding):
    crops, variables = _crops(), trained.trainable_variables

    @tf.function(autograph=False)
    def both(recompute):
        def generate(crops):
            return trained(crops, encoding, tf.constant(_BOXES))

        with tf.GradientTape() as tape:
            tape.watch(crops)
            images = (recomputed(generate) if recompute else generate)(crops)
            loss = tf.reduce_mean(images**2)
        return images, tape.gradient(loss, [crops, *variables])

    again, remembered = both(True), both(False)
    for ours, theirs in zip(tf.nest.flatten(again), tf.nest.flatten(remembered), strict=True):
        np.testing.assert_allclose(
            tf.convert_to_tensor(ours), tf.convert_to_tensor(theirs), rtol=1e-4, atol=1e-6
        )


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_makes_nearly_the_same_images(trained, encoding, precision):
    with _precision(precision):
        half = PatchGenerator(**_SMALL, **_ALL)
    half(_crops(), encoding, _BOXES)
    half.set_weights(trained.get_weights())
    with tf.GradientTape() as tape:
        images = half(_crops(), encoding, _BOXES)
        loss = tf.reduce_mean(images**2)
    assert images.dtype == tf.float32 and np.abs(images).max() <= 1
    difference = np.abs(images - trained(_crops(), encoding, _BOXES))
    assert 0 < difference.mean() < 0.02
    for gradient in tape.gradient(loss, half.trainable_variables):
        assert np.all(np.isfinite(tf.convert_to_tensor(gradient)))


def test_serialisation_round_trip(trained, encoding):
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(trained))
    copy(_crops(), encoding, _BOXES)
    copy.set_weights(trained.get_weights())
    np.testing.assert_array_equal(
        copy(_crops(seed=5), encoding, _BOXES), trained(_crops(seed=5), encoding, _BOXES)
    )


@pytest.mark.thorough
def test_all_switches_together_stay_within_a_tenth_of_the_operations():
    encoder = SceneGraphEncoder(num_objects=10, num_predicates=7)
    encoding = encoder({"objects": tf.fill([1, 8], 2), "triples": tf.fill([1, 16, 3], -1)})
    crops, boxes = tf.zeros([1, 8, 32, 32, 3]), tf.zeros([1, 8, 4]) + [0.0, 0.0, 1.0, 1.0]

    def flops(**switches):
        generator = PatchGenerator(image_size=64, crop_size=32, **switches)
        generator(crops, encoding, boxes)
        return count_flops(generator, crops, encoding, boxes)

    assert 1.0 < flops(**_ALL) / flops() < 1.1


@pytest.mark.thorough
def test_a_batch_is_learned_better_with_its_pixels(encoder):
    """Texture that no decoder of this size can draw, under other light than in the image."""
    rng = np.random.default_rng(7)
    target = tf.constant(rng.uniform(-0.8, 0.8, [2, 32, 32, 3]), tf.float32)
    crops = 0.5 * crop_objects(target, tf.constant(_BOXES), 32) - 0.3  # darker, and with less range
    graph = {"objects": tf.constant(_OBJECTS), "triples": tf.constant(_TRIPLES)}
    encoding = encoder(graph)

    def after_a_hundred_steps(**switches) -> float:
        tf.keras.utils.set_random_seed(1)
        layer = PatchGenerator(**{**_SMALL, "refiner_layers": 0}, **switches)
        layer(crops, encoding, _BOXES)
        optimizer = tf.keras.optimizers.Adam(5e-3)
        variables = layer.trainable_variables

        @tf.function(autograph=False)
        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean(tf.abs(layer(crops, encoding, _BOXES) - target))
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
            return loss

        for _ in range(100):
            loss = step()
        return float(loss)

    without, with_pixels = after_a_hundred_steps(), after_a_hundred_steps(composition=True)
    assert with_pixels < 0.7 * without


def test_bad_argument_is_refused_with_its_value():
    with pytest.raises(ValueError, match="channels must be at least 1, got 0"):
        PatchMask(channels=0)
