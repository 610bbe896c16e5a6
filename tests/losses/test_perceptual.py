from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.backbones import load_backbone
from rgan_tf.losses.perceptual import PerceptualDistance


class _TwoLayers:
    """Stands in for a backbone: pixels, and their mean over the image, a hundred times as large."""

    name = "two_layers"
    perceptual_weights = (0.5, 0.01)

    def perceptual_network(self):
        """It has none."""

    def perceptual(self, images):
        return [images, 100.0 * tf.reduce_mean(images, axis=[1, 2], keepdims=True)]


@pytest.fixture(scope="module")
def distance():
    return PerceptualDistance(load_backbone("mobilenet_v2"))


@pytest.fixture
def images():
    return tf.constant(np.random.default_rng(0).uniform(-1, 1, [3, 64, 64, 3]), tf.float32)


def test_hand_worked_number():
    images = tf.reshape(tf.constant([1.0, -1.0, 0.5, 0.5]), [2, 1, 2, 1])
    value = PerceptualDistance(_TwoLayers())(images, tf.zeros([2, 1, 2, 1]))
    # example 0: 0.5 * mean(1, 1) + 0.01 * |100 * 0|; example 1: 0.5 * 0.5 + 0.01 * 50
    np.testing.assert_allclose(value, [0.5, 0.75], rtol=1e-6)


def test_zero_for_equal_images_symmetric_and_per_example(distance, images):
    other = tf.roll(images, 1, axis=0)
    np.testing.assert_array_equal(distance(images, images), np.zeros(3))
    there, back = distance(images, other), distance(other, images)
    assert there.shape == (3,) and np.all(there.numpy() > 0)
    np.testing.assert_allclose(there, back, rtol=1e-6)
    np.testing.assert_allclose(distance(images[1:2], other[1:2])[0], there[1], rtol=1e-4)


def test_gradient_reaches_the_images_but_neither_target_nor_network(distance, images):
    target = tf.Variable(tf.zeros_like(images))
    images = tf.Variable(images)
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(distance(images, target))
    network = distance._backbone.perceptual_network()
    assert network.variables and not network.trainable_variables
    to_images, to_target = tape.gradient(value, [images, target])
    assert np.abs(to_images.numpy()).max() > 0 and np.isfinite(to_images.numpy()).all()
    assert to_target is None


def test_maps_of_a_target_can_be_shared(distance, images):
    target = tf.zeros_like(images)
    shared = distance.between(distance.maps(images), distance.maps(target))
    np.testing.assert_allclose(shared, distance(images, target), rtol=1e-6)


def test_more_damage_is_more_distance(distance, images):
    noise = tf.constant(np.random.default_rng(1).normal(size=images.shape), tf.float32)
    smooth = tf.image.resize(images[:, ::8, ::8], [64, 64])
    values = [distance(smooth, smooth + level * noise).numpy() for level in (0.02, 0.1, 0.5)]
    assert np.all(values[0] < values[1]) and np.all(values[1] < values[2])


def test_unrelated_photographs_are_about_one_apart(coco_root):
    from PIL import Image

    paths = sorted((coco_root / "images" / "val2017").iterdir())[:32]
    pixels = [np.asarray(Image.open(path).convert("RGB").resize([64, 64])) for path in paths]
    photographs = tf.constant(np.stack(pixels) / 127.5 - 1, tf.float32)
    for name in ("squeezenet", "mobilenet_v2"):
        distance = PerceptualDistance(load_backbone(name))
        value = distance(photographs, tf.roll(photographs, 1, axis=0)).numpy().mean()
        assert 0.85 < value < 1.15, name
