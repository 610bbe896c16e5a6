"""Image and object discriminators."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.discriminators.pixels import ImageDiscriminator, ObjectDiscriminator


def _images(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.random.stateless_uniform(shape, [seed, 1], -1, 1)


def _kernels(layer) -> list[tf.Variable]:
    return [v for v in layer.trainable_variables if "kernel" in v.name]


def _sigma(kernel) -> float:
    matrix = np.reshape(kernel.numpy(), [-1, kernel.shape[-1]])
    return float(np.linalg.svd(matrix, compute_uv=False)[0])


def test_image_discriminator_judges_parts():
    layer = ImageDiscriminator(channels=(4, 5, 6))
    assert layer(_images(2, 64, 64, 3)).shape == (2, 8, 8)
    assert ImageDiscriminator(channels=(4, 5, 6, 7))(_images(1, 128, 128, 3)).shape == (1, 8, 8)


def test_object_discriminator_judges_and_names_every_object():
    layer = ObjectDiscriminator(num_objects=9, channels=(4, 5), hidden=7)
    logits, classes = layer(_images(2, 3, 16, 16, 3))
    assert logits.shape == (2, 3) and classes.shape == (2, 3, 9)


@pytest.mark.parametrize("kind", ["image", "object"])
def test_spectral_norm_of_normalised_kernels_goes_to_one(kind):
    if kind == "image":
        layer, inputs = ImageDiscriminator(channels=(4, 6)), _images(1, 16, 16, 3)
    else:
        layer = ObjectDiscriminator(num_objects=5, channels=(4, 6), hidden=8)
        inputs = _images(1, 2, 16, 16, 3)
    layer(inputs)
    before = [_sigma(kernel) for kernel in _kernels(layer) if "class_head" not in kernel.name]
    for _ in range(60):
        layer(inputs, training=True)
    after = [_sigma(kernel) for kernel in _kernels(layer) if "class_head" not in kernel.name]
    assert max(abs(sigma - 1) for sigma in before) > 0.1  # otherwise this shows nothing
    np.testing.assert_allclose(after, 1.0, atol=0.02)


def test_class_head_and_unnormalised_layers_are_left_alone():
    layer = ObjectDiscriminator(num_objects=5, channels=(4,), hidden=8)
    plain = ImageDiscriminator(channels=(4, 6), spectral_normalization=False)
    crops, images = _images(1, 2, 8, 8, 3), _images(1, 16, 16, 3)
    layer(crops)
    plain(images)
    head, weights = layer.class_head.kernel.numpy(), plain.get_weights()
    for _ in range(3):
        layer(crops, training=True)
        plain(images, training=True)
    np.testing.assert_array_equal(layer.class_head.kernel, head)
    for one, other in zip(plain.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_calls_outside_training_change_nothing():
    layer = ImageDiscriminator(channels=(4, 6))
    layer(_images(1, 16, 16, 3))
    weights = layer.get_weights()
    layer(_images(1, 16, 16, 3, seed=3), training=False)
    layer(_images(1, 16, 16, 3, seed=4))
    for one, other in zip(layer.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_and_objects_do_not_depend_on_each_other():
    layer = ObjectDiscriminator(num_objects=5, channels=(4, 6), hidden=8)
    crops = _images(2, 3, 16, 16, 3)
    logits, classes = layer(crops)
    alone, alone_classes = layer(crops[1:, 2:])
    np.testing.assert_allclose(alone[0, 0], logits[1, 2], atol=1e-5)
    np.testing.assert_allclose(alone_classes[0, 0], classes[1, 2], atol=1e-5)


def test_gradient_reaches_every_variable_in_training():
    image, objects = ImageDiscriminator(channels=(4, 6)), ObjectDiscriminator(num_objects=5)
    images, crops = _images(2, 16, 16, 3), _images(2, 3, 16, 16, 3)

    @tf.function
    def gradients():
        with tf.GradientTape() as tape:
            logits, classes = objects(crops, training=True)
            loss = tf.reduce_mean(tf.square(image(images, training=True) - 1.0))
            loss += tf.reduce_mean(tf.square(logits - 1.0))
            loss += tf.reduce_mean(tf.square(classes - 1.0))
        return tape.gradient(loss, image.trainable_variables + objects.trainable_variables)

    image(images)
    objects(crops)
    for gradient in gradients():
        assert gradient is not None and float(tf.norm(gradient)) > 0


def test_can_tell_two_kinds_of_images_apart():
    tf.keras.utils.set_random_seed(0)
    layer = ImageDiscriminator(channels=(8, 8))
    real, fake = _images(8, 16, 16, 3) * 0.3 + 0.4, _images(8, 16, 16, 3, seed=1) * 0.3 - 0.4
    layer(real)
    optimizer = tf.keras.optimizers.Adam(1e-2, beta_1=0.0)

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(tf.nn.relu(1 - layer(real, training=True)))
            loss += tf.reduce_mean(tf.nn.relu(1 + layer(fake, training=True)))
        variables = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    for _ in range(40):
        step()
    assert float(tf.reduce_mean(layer(real))) > 0.2
    assert float(tf.reduce_mean(layer(fake))) < -0.2


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (ImageDiscriminator(channels=(4, 6)), (1, 16, 16, 3)),
        (ImageDiscriminator(channels=(4,), spectral_normalization=False), (1, 16, 16, 3)),
        (ObjectDiscriminator(num_objects=5, channels=(4, 6), hidden=8), (1, 2, 16, 16, 3)),
    ],
)
def test_serialisation_round_trip(layer, shape):
    inputs = _images(*shape)
    copy = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
    layer(inputs, training=True)
    copy(inputs)
    copy.set_weights(layer.get_weights())
    tf.nest.map_structure(np.testing.assert_array_equal, copy(inputs), layer(inputs))
    assert copy.get_config() == layer.get_config()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: ImageDiscriminator(channels=()), "channels needs entries above 0"),
        (lambda: ImageDiscriminator(channels=(4, 0)), "channels needs entries above 0"),
        (lambda: ObjectDiscriminator(num_objects=1), "num_objects must be at least 2, got 1"),
        (lambda: ObjectDiscriminator(num_objects=3, hidden=0), "hidden must be at least 1, got 0"),
    ],
)
def test_bad_argument_is_refused_with_its_value(build, message):
    with pytest.raises(ValueError, match=message):
        build()
