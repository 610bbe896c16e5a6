"""Diversity: the difference between two samples of one scene graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import load_backbone
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.metrics.bootstrap import mean_interval
from rgan_tf.metrics.diversity import diversity_name, sample_diversity
from rgan_tf.metrics.lpips import load_lpips
from rgan_tf.progress import followed
from training.evaluation.names import LPIPS
from training.evaluation.protocol import INTERVAL, Protocol
from training.evaluation.systems import LAYOUTS, Batch, BoxesOf, row_seeds, traced


class NamedDistance(NamedTuple):
    """A distance of images and the name of its metric.

    Attributes:
      name: includes the network, and whether it is LPIPS.
      measure: two arrays [B, H, W, 3] float32 in [-1, 1] -> [B].
    """

    name: str
    measure: Callable[[Any, Any], Any]


def load_distance(network: str, weights_dir: str | None) -> NamedDistance:
    """Loads the distance for diversity.

    Should not be the network of the perceptual loss, on which the generator was trained.

    Args:
      network: a backbone, or "lpips_" and a network of `metrics.lpips`.
      weights_dir: folder with weight files, or None.

    Raises:
      BadInput: if it is unknown or its weights are not found.
    """
    if network.startswith(LPIPS):
        distance = load_lpips(network.removeprefix(LPIPS), weights_dir)
        return NamedDistance(distance.name, distance)
    perceptual = PerceptualDistance(load_backbone(network, weights_dir))
    return NamedDistance(diversity_name(network), perceptual)


def diversity_metrics(
    system: str,
    draw: Callable[[Batch, tf.Tensor | None, tf.Tensor], Any],
    boxes_of: BoxesOf,
    scenes: Iterable[Batch],
    distance: NamedDistance,
    protocol: Protocol,
) -> dict[str, Any]:
    """Mean perceptual distance between two samples per graph, under both layouts.

    Args:
      system: its name.
      draw: (batch, boxes [B, O, 4] or None for predicted ones, seeds [B] int32) -> what was made,
        with `images` [B, H, W, 3] float32 in [-1, 1].
      boxes_of: what it gets as boxes in either layout.
      scenes: batches of a split.
      distance: between images; part of the metric's name.
      protocol: has the seed of the first sample; the second has seed + 1.
    """
    # A number in Python would be traced anew.
    seeds = [tf.constant(protocol.seed + number, tf.int64) for number in range(2)]

    @traced
    def sample(batch: Batch, boxes: tf.Tensor | None, seed: tf.Tensor) -> tf.Tensor:
        return draw(batch, boxes, row_seeds(batch, seed)).images  # [B, H, W, 3]

    values: dict[str, list[np.ndarray]] = {layout: [] for layout in LAYOUTS}
    for batch in followed(scenes, "two samples of each graph"):
        for layout in LAYOUTS:
            boxes = boxes_of(batch, layout)
            samples = np.stack([sample(batch, boxes, seed) for seed in seeds], axis=1)
            values[layout].append(sample_diversity(samples, distance.measure))
    metrics: dict[str, Any] = {}
    for layout, parts in values.items():
        name = f"{system}/{layout}_boxes/{distance.name}"
        each = np.concatenate(parts)  # [scenes]
        metrics[name] = float(each.mean())
        if protocol.resamples and len(each) > 1:
            interval = mean_interval(each, protocol.seed, protocol.mean_resamples)
            metrics[name + INTERVAL] = list(interval)
    return metrics
