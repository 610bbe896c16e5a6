"""Distances between systems' images and real ones, with features whose distances are known."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from training.evaluation.images import image_metrics
from training.evaluation.systems import System


def scenes(seed=0, batches=3, rows=4, brightness=0.0):
    """Batches of random pictures, each of one hue and contrast of its own."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(batches):
        base = rng.uniform(-0.5, 0.5, [rows, 1, 1, 3]) + brightness
        noise = rng.normal(size=[rows, 16, 16, 3]) * rng.uniform(0.05, 0.4, [rows, 1, 1, 3])
        found.append({"image": tf.constant(np.clip(base + noise, -1, 1), tf.float32)})
    return found


@pytest.fixture(scope="module")
def metrics(color_backbone):
    systems = [
        System("copy", "true", lambda batch: batch["image"]),
        System("bright", "predicted", lambda batch: tf.minimum(batch["image"] + 0.3, 1.0)),
        System("grey", "true", lambda batch: tf.zeros_like(batch["image"])),
    ]
    real = scenes()
    return image_metrics(
        systems, lambda: iter(real), scenes(1, batches=5), backbone=color_backbone, split="val"
    )


def test_names_say_system_layout_backbone_count_and_split(metrics):
    for name in ("copy/true_boxes", "bright/predicted_boxes", "grey/true_boxes", "floor/real"):
        assert f"{name}/fd_colors_12_val" in metrics
        assert any(key.startswith(f"{name}/k") for key in metrics)
    assert metrics["images"] == 12
    assert metrics["frechet_is_biased"] is False  # 12 images, 6 features


def test_the_same_images_are_at_distance_zero(metrics):
    assert metrics["copy/true_boxes/fd_colors_12_val"] == pytest.approx(0, abs=1e-6)


def test_the_worse_the_farther(metrics):
    copy, floor, bright, grey = (
        metrics[f"{name}/fd_colors_12_val"]
        for name in ("copy/true_boxes", "floor/real", "bright/predicted_boxes", "grey/true_boxes")
    )
    assert copy < floor < bright
    assert floor < grey
    # The mean of each colour moves by about 0.15 (of 0..1), squared and summed: at least 0.05.
    assert bright > 0.05


def test_rounding_to_pixels_comes_first(color_backbone):
    """An error that a PNG cannot hold is no error."""
    faint = System("faint", "true", lambda batch: batch["image"] * (1 - 1e-6))
    real = []
    for batch in scenes():
        pixels = tf.cast((batch["image"] + 1) * 127.5 + 0.5, tf.uint8)
        real.append({"image": tf.cast(pixels, tf.float32) / 127.5 - 1})
    metrics = image_metrics(
        [faint], lambda: iter(real), scenes(1), backbone=color_backbone, split="val"
    )
    assert metrics["faint/true_boxes/fd_colors_12_val"] == pytest.approx(0, abs=1e-9)


def test_few_images_are_said_to_be_biased(color_backbone):
    real = scenes(batches=1, rows=5)
    metrics = image_metrics(
        [], lambda: iter(real), scenes(1), backbone=color_backbone, split="test"
    )
    assert metrics["frechet_is_biased"] is True
    assert metrics["images"] == 5 and "floor/real/fd_colors_5_test" in metrics
