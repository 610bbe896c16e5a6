from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.discriminators.pixels import ImageDiscriminator, ObjectDiscriminator
from rgan_tf.losses.gradient_penalty import gradient_penalty

MASK = tf.constant([[True, True, False], [True, False, False], [False, False, False]])


def _values(*shape: int, seed: int = 0) -> tf.Tensor:
    return tf.constant(np.random.default_rng(seed).uniform(-1, 1, shape), tf.float32)


def _per_object(weights):
    """Logits [B, O] of crops [B, O, h, w, 3]: weighted sums of squares."""
    return lambda crops: tf.reduce_sum(weights * crops**2, axis=[2, 3, 4])


def test_linear_function_by_hand():
    weights = tf.constant([3.0, -4.0])
    penalty = gradient_penalty(
        lambda values: tf.linalg.matvec(values, weights), _values(3, 2)
    )  # [3]
    assert penalty.dtype == tf.float32
    np.testing.assert_allclose(penalty, [12.5] * 3)  # (9 + 16) / 2, wherever the values are


def test_map_of_logits_is_summed_before_the_gradient():
    # Both logits of a row are 2 x: their sum has slope 4, and the penalty is 8, not 2 + 2.
    penalty = gradient_penalty(lambda values: tf.tile(2 * values, [1, 2]), tf.ones([5, 1]))
    np.testing.assert_allclose(penalty, [8.0] * 5)


def test_quadratic_function_by_hand_one_number_per_row():
    values = tf.constant([[1.0, 2.0], [0.0, -3.0], [0.0, 0.0]])
    weight = tf.constant([0.5, 1.5])
    penalty = gradient_penalty(lambda x: tf.reduce_sum(weight * x**2, axis=1), values)
    # the gradient is 2 w x: (1, 6), (0, -9), (0, 0)
    np.testing.assert_allclose(penalty, [18.5, 40.5, 0.0])


@pytest.mark.parametrize("jit_compile", [None, False, True])
def test_second_order_gradient_by_hand(jit_compile):
    values = tf.constant([[1.0, 2.0], [0.0, -3.0]])
    weight = tf.Variable([0.5, 1.5])
    bias = tf.Variable(7.0)

    def run(values):
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = tf.reduce_sum(
                gradient_penalty(lambda x: tf.reduce_sum(weight * x**2, axis=1) + bias, values)
            )
        return tape.gradient(total, [weight, bias, values], unconnected_gradients="zero")

    if jit_compile is not None:
        run = tf.function(run, jit_compile=jit_compile)
    by_weight, by_bias, by_values = run(values)
    # The penalty is 2 (w x)^2, summed: 4 w x^2 by w, and 4 w^2 x by x.
    np.testing.assert_allclose(by_weight, [2.0, 78.0], rtol=1e-6)  # 4 (0.5, 1.5) (1, 13)
    np.testing.assert_allclose(by_values, [[1.0, 18.0], [0.0, -27.0]], rtol=1e-6)
    assert by_bias == 0


def test_objects_by_hand():
    crops = tf.constant([[1.0, 2.0, 5.0], [-3.0, 4.0, 6.0], [1.0, 1.0, 1.0]])
    crops = tf.tile(crops[..., tf.newaxis, tf.newaxis, tf.newaxis], [1, 1, 1, 2, 3])
    penalty = gradient_penalty(_per_object(0.5), crops, MASK)
    # The gradient of an object is its own value, six times: 3 x^2 per object.
    np.testing.assert_allclose(penalty, [(3 + 12) / 2, 27.0, 0.0])
    everything = gradient_penalty(_per_object(0.5), crops, tf.ones([3, 3], tf.bool))
    np.testing.assert_allclose(everything, [(3 + 12 + 75) / 3, (27 + 48 + 108) / 3, 3.0])


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_padded_objects_have_no_influence(wrong):
    crops, weight = _values(3, 3, 2, 2, 3), tf.Variable(0.7)
    broken = tf.where(MASK[..., tf.newaxis, tf.newaxis, tf.newaxis], crops, wrong)

    def run(crops):
        with tf.GradientTape() as tape:
            tape.watch(crops)
            penalty = gradient_penalty(_per_object(weight), crops, MASK)
        return penalty, *tape.gradient(penalty, [weight, crops])

    for part, expected in zip(run(broken), run(crops), strict=True):
        np.testing.assert_array_equal(part, expected)
    assert np.all(run(broken)[2].numpy()[~MASK.numpy()] == 0)
    # Without a mask the same crops do show.
    unmasked = gradient_penalty(_per_object(weight), broken, tf.ones_like(MASK))
    assert not np.isfinite(unmasked.numpy()).any()


def test_rows_are_independent():
    layer, images = ImageDiscriminator(channels=(4, 6)), _values(4, 16, 16, 3)
    together = gradient_penalty(layer, images)
    for row in range(4):
        alone = gradient_penalty(layer, images[row : row + 1])
        np.testing.assert_allclose(alone[0], together[row], rtol=1e-4)


def test_halves_are_computed_in_float32():
    values = tf.cast(_values(2, 8), tf.bfloat16)
    penalty = gradient_penalty(lambda x: tf.reduce_sum(x**2, axis=1), values)
    assert penalty.dtype == tf.float32
    expected = 2 * tf.reduce_sum(tf.cast(values, tf.float32) ** 2, axis=1)
    np.testing.assert_allclose(penalty, expected, rtol=1e-6)
    through_half = gradient_penalty(lambda x: tf.cast(x, tf.bfloat16)[:, 0] * 3, values)
    np.testing.assert_allclose(through_half, [4.5, 4.5])


def test_logits_of_something_else_are_refused():
    values, other = _values(2, 4), _values(2, 4)
    with pytest.raises(ValueError, match="from its argument"):
        gradient_penalty(lambda _: tf.reduce_sum(other, axis=1), values)


def _image_case():
    tf.keras.utils.set_random_seed(0)
    layer, images = ImageDiscriminator(channels=(4, 6)), _values(2, 16, 16, 3)
    layer(images)
    return layer, images, lambda x: layer(x), None


def _object_case():
    tf.keras.utils.set_random_seed(0)
    layer = ObjectDiscriminator(num_objects=5, channels=(4, 6), hidden=8)
    crops = _values(3, 3, 16, 16, 3)
    layer(crops)
    return layer, crops, lambda x: layer(x)[0], MASK


@pytest.mark.parametrize(
    "jit_compile", [None, *(pytest.param(jit, marks=pytest.mark.thorough) for jit in (False, True))]
)
@pytest.mark.parametrize("make", [_image_case, _object_case])
def test_trains_the_kernels_of_the_discriminators(make, jit_compile):
    layer, values, logits_of, mask = make()
    kernels = [
        variable
        for variable in layer.trainable_variables
        if "kernel" in variable.name and "class_head" not in variable.name
    ]
    assert len(kernels) == (3 if mask is None else 4)

    def run(values):
        with tf.GradientTape() as tape:
            penalty = gradient_penalty(logits_of, values, mask)
            value = tf.reduce_mean(penalty)
        return penalty, tape.gradient(value, kernels)

    traced = run if jit_compile is None else tf.function(run, jit_compile=jit_compile)
    penalty, gradients = traced(values)
    assert penalty.shape == [len(values)] and np.isfinite(penalty).all()
    shown = np.ones(len(values), bool) if mask is None else mask.numpy().any(axis=1)
    assert np.all(penalty.numpy()[shown] > 0) and np.all(penalty.numpy()[~shown] == 0)
    for gradient in gradients:
        assert np.isfinite(gradient).all() and np.abs(gradient).max() > 0
    if jit_compile is not None:
        for part, expected in zip(gradients, run(values)[1], strict=True):
            np.testing.assert_allclose(part, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("make", [_image_case, _object_case])
def test_gradient_of_the_kernels_equals_finite_differences(make):
    layer, values, logits_of, mask = make()
    kernel = layer.trunk.convolutions[0].layer.kernel
    with tf.GradientTape() as tape:
        value = tf.reduce_mean(gradient_penalty(logits_of, values, mask))
    gradient = tape.gradient(value, kernel)
    direction = gradient / tf.norm(gradient)
    start, step = tf.identity(kernel), 1e-3
    ends = []
    for sign in (1, -1):
        kernel.assign(start + sign * step * direction)
        ends.append(tf.reduce_mean(gradient_penalty(logits_of, values, mask)))
    # The leaky ReLU has kinks, so this is not exact.
    np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), tf.norm(gradient), rtol=0.05)


def test_discriminator_with_padded_nan_trains_as_without():
    layer, crops, logits_of, mask = _object_case()
    broken = tf.where(mask[..., tf.newaxis, tf.newaxis, tf.newaxis], crops, np.nan)
    kernel = layer.trunk.convolutions[0].layer.kernel

    def run(crops):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(gradient_penalty(logits_of, crops, mask))
        return value, tape.gradient(value, kernel)

    for part, expected in zip(run(broken), run(crops), strict=True):
        assert np.isfinite(part).all()
        np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-7)


def test_descent_lowers_the_penalty():
    layer, images, logits_of, _ = _image_case()
    values = []
    for _ in range(20):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(gradient_penalty(logits_of, images))
        values.append(float(value))
        # The penalty has degree 6 in the three kernels: only steps of a fixed length are safe.
        kernels = [v for v in layer.trainable_variables if "kernel" in v.name]
        for kernel, gradient in zip(kernels, tape.gradient(value, kernels), strict=True):
            kernel.assign_sub(0.005 * gradient / tf.norm(gradient))
    assert values[-1] < 0.8 * values[0]
