from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.losses.adversarial import discriminator_loss, generator_loss

REAL = tf.constant([[2.0, 0.5], [-1.0, 3.0]])
FAKE = tf.constant([[-2.0, 0.0], [1.0, -0.5]])


def _softplus(x):
    return np.log1p(np.exp(x))


def test_hinge_by_hand():
    np.testing.assert_allclose(generator_loss(FAKE, "hinge"), [1.0, -0.25])
    # row 0: real (0, 0.5), generated (0, 1); row 1: real (2, 0), generated (2, 0.5)
    np.testing.assert_allclose(discriminator_loss(REAL, FAKE, "hinge"), [0.75, 2.25])


def test_non_saturating_by_hand():
    generator = generator_loss(FAKE, "non_saturating")
    np.testing.assert_allclose(generator, _softplus(-FAKE.numpy()).mean(axis=1), rtol=1e-6)
    discriminator = discriminator_loss(REAL, FAKE, "non_saturating")
    expected = (_softplus(-REAL.numpy()) + _softplus(FAKE.numpy())).mean(axis=1)
    np.testing.assert_allclose(discriminator, expected, rtol=1e-6)  # no label smoothing


@pytest.mark.parametrize("form", ["hinge", "non_saturating"])
def test_map_of_logits_is_averaged_per_image_in_a_graph(form):
    rng = np.random.default_rng(0)
    real, fake = (tf.constant(rng.normal(size=[3, 6, 6]), tf.float32) for _ in range(2))
    compute = tf.function(lambda a, b: (discriminator_loss(a, b, form), generator_loss(b, form)))
    both = compute(real, fake)
    for row in range(3):
        alone = compute(real[row : row + 1], fake[row : row + 1])
        np.testing.assert_allclose([both[0][row], both[1][row]], [a[0] for a in alone], rtol=1e-6)


@pytest.mark.parametrize("form", ["hinge", "non_saturating"])
def test_gradients_pull_the_right_way_and_spare_padded_objects(form):
    mask = tf.constant([[True, False], [True, True]])
    real, fake = tf.Variable(tf.zeros([2, 2])), tf.Variable(tf.zeros([2, 2]))
    with tf.GradientTape(persistent=True) as tape:
        for_discriminator = discriminator_loss(real, fake, form, mask)
        for_generator = generator_loss(fake, form, mask)
    shown = mask.numpy()
    assert np.all(tape.gradient(for_discriminator, real).numpy()[shown] < 0)
    assert np.all(tape.gradient(for_discriminator, fake).numpy()[shown] > 0)
    assert np.all(tape.gradient(for_generator, fake).numpy()[shown] < 0)
    assert np.all(tape.gradient(for_generator, fake).numpy()[~shown] == 0)


def test_very_sure_discriminator_still_gives_a_gradient():
    fake = tf.Variable([[-60.0]])
    with tf.GradientTape() as tape:
        value = generator_loss(fake, "non_saturating")
    assert np.isfinite(value.numpy()).all()
    np.testing.assert_allclose(tape.gradient(value, fake), [[-1.0]], rtol=1e-6)


def test_unknown_form_is_refused():
    with pytest.raises(ValueError, match="wasserstein"):
        generator_loss(FAKE, "wasserstein")
    with pytest.raises(ValueError, match="wasserstein"):
        discriminator_loss(REAL, FAKE, "wasserstein")
