from __future__ import annotations

import numpy as np
import pytest

from rgan_tf.backbones import load_backbone
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.metrics.diversity import diversity_name, sample_diversity


def _mean_absolute(first, second):
    return np.abs(first - second).mean(axis=(1, 2, 3))


def test_hand_worked_mean_over_all_pairs():
    levels = np.array([[0.0, 0.1, 0.4], [0.2, 0.2, 0.2]])  # two graphs, three samples
    samples = np.broadcast_to(levels[:, :, None, None, None], [2, 3, 4, 4, 3])
    # graph 0: (0.1 + 0.4 + 0.3) / 3
    np.testing.assert_allclose(sample_diversity(samples, _mean_absolute), [0.8 / 3, 0], atol=1e-12)


def test_order_of_the_samples_is_nothing():
    samples = np.random.default_rng(0).uniform(-1, 1, [2, 4, 8, 8, 3])
    expected = sample_diversity(samples, _mean_absolute)
    np.testing.assert_allclose(sample_diversity(samples[:, ::-1], _mean_absolute), expected)


def test_works_with_a_pretrained_network():
    samples = np.random.default_rng(0).uniform(-1, 1, [2, 2, 64, 64, 3]).astype(np.float32)
    samples[1, 1] = samples[1, 0]
    values = sample_diversity(samples, PerceptualDistance(load_backbone("mobilenet_v2")))
    assert values[0] > 0.01 and values[1] == 0.0


def test_one_sample_is_refused_and_the_name_names_the_network():
    with pytest.raises(ValueError, match="at least 2 samples per graph, got 1"):
        sample_diversity(np.zeros([3, 1, 4, 4, 3]), _mean_absolute)
    assert diversity_name("squeezenet") == "diversity_squeezenet"
