"""What is taken from TensorFlow Addons does what our docstrings say."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.adapters.addons import spectral_normalization, triplet_semihard


def largest_singular_value(kernel):
    matrix = np.reshape(kernel, (-1, kernel.shape[-1]))
    return np.linalg.svd(matrix, compute_uv=False)[0]


@pytest.mark.parametrize("kind", ["dense", "convolution"])
def test_kernel_gets_the_spectral_norm_one(kind):
    tf.keras.utils.set_random_seed(0)
    if kind == "dense":
        layer, inputs = tf.keras.layers.Dense(6), tf.random.normal([4, 5])
    else:
        layer, inputs = tf.keras.layers.Conv2D(6, 3), tf.random.normal([2, 8, 8, 3])
    wrapped = spectral_normalization(layer)
    wrapped(inputs)
    layer.kernel.assign(layer.kernel * 7.0)
    assert largest_singular_value(layer.kernel.numpy()) > 2
    for _ in range(40):
        wrapped(inputs, training=True)
    assert largest_singular_value(layer.kernel.numpy()) == pytest.approx(1.0, abs=1e-2)
    before = layer.kernel.numpy()
    wrapped(inputs, training=False)
    np.testing.assert_array_equal(layer.kernel.numpy(), before)


def test_spectral_normalization_trains_in_graph_mode():
    model = tf.keras.Sequential([spectral_normalization(tf.keras.layers.Dense(1))])
    model.compile("sgd", "mse")
    history = model.fit(np.ones((8, 3)), np.zeros((8, 1)), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]


def test_power_iterations_below_one_are_refused():
    with pytest.raises(ValueError, match="got 0"):
        spectral_normalization(tf.keras.layers.Dense(1), power_iterations=0)


def test_semihard_triplets_by_hand():
    # Anchors 0 and 3 belong together, as do 4 and 9: on a line, distances are differences.
    labels, places = tf.constant([1, 1, 2, 2]), [0.0, 3.0, 4.0, 9.0]
    embeddings = tf.constant(places)[:, tf.newaxis]
    # (0,3): nearest negative farther than 3 is 4. (3,0): farther than 3: 9, at 6.
    # (4,9): farther than 5: none, so the farthest, 0, at 4. (9,4): farther than 5: 3, at 6.
    expected = np.mean([max(0, 3 - 4 + 2), max(0, 3 - 6 + 2), 5 - 4 + 2, max(0, 5 - 6 + 2)])
    loss = triplet_semihard(labels, embeddings, margin=2.0)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_semihard_gradient_is_finite_for_equal_embeddings():
    embeddings = tf.ones([6, 4]) / 2
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = triplet_semihard(tf.constant([0, 0, 1, 1, 2, 2]), embeddings, margin=0.2)
    assert np.isfinite(float(loss)) and np.isfinite(tape.gradient(loss, embeddings)).all()


def test_negative_margin_is_refused():
    with pytest.raises(ValueError, match="got -1"):
        triplet_semihard(tf.constant([0, 0]), tf.ones([2, 2]), margin=-1)


def test_importing_says_nothing():
    code = "import rgan_tf.adapters.addons"
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", code], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert "ddons" not in done.stderr
