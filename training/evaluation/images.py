"""Image quality: Fréchet and kernel distances of every system to the same real images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import Backbone
from rgan_tf.image import float_to_uint8
from rgan_tf.metrics.frechet import (
    FeatureStatistics,
    frechet_distance,
    frechet_name,
    kernel_distance,
    kernel_name,
)
from training.evaluation.systems import Batch, System


def image_metrics(
    systems: list[System],
    scenes: Callable[[], Iterable[Batch]],
    other_real: Iterable[Batch],
    *,
    backbone: Backbone,
    split: str,
) -> dict[str, float]:
    """Distances of every system's images to the real images of the split.

    Images are rounded to uint8 first, so that saving them as PNG changes nothing.

    Args:
      systems: what to compare.
      scenes: gives the split's batches, afresh at every call.
      other_real: batches of real images that are not in the split, for the floor.
      backbone: the network whose last features are compared; part of the metrics' names.
      split: name of the split; part of the metrics' names.

    Returns:
      metric name -> value. `floor/real` is the distance between the two sets of real images.
    """
    real = _features(backbone, (batch["image"] for batch in scenes()))
    floor = _features(backbone, (batch["image"] for batch in other_real))
    metrics = _distances("floor/real", floor[: len(real)], real, backbone.name, split)
    for system in systems:
        make = tf.function(system.images, reduce_retracing=True)
        made = _features(backbone, (make(batch) for batch in scenes()))
        name = f"{system.name}/{system.boxes}_boxes"
        metrics |= _distances(name, made, real, backbone.name, split)
    metrics["images"] = len(real)
    statistics = _statistics(real)
    metrics["frechet_is_biased"] = bool(statistics.is_biased)
    return metrics


def _features(backbone: Backbone, images: Iterable[tf.Tensor]) -> np.ndarray:
    blocks = [backbone.final_features(float_to_uint8(batch.numpy())).numpy() for batch in images]
    return np.concatenate(blocks)


def _distances(
    name: str, made: np.ndarray, real: np.ndarray, backbone: str, split: str
) -> dict[str, float]:
    return {
        f"{name}/{frechet_name(backbone, len(made), split)}": frechet_distance(
            _statistics(made), _statistics(real)
        ),
        f"{name}/{kernel_name(backbone, len(made), split)}": kernel_distance(made, real),
    }


def _statistics(features: np.ndarray) -> FeatureStatistics:
    statistics = FeatureStatistics(features.shape[1])
    statistics.add(features)
    return statistics
