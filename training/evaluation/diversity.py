"""Diversity: how much two samples of one scene graph differ."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import Backbone
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.metrics.diversity import diversity_name, sample_diversity
from rgan_tf.model.networks import RetrievalNetworks
from rgan_tf.model.patch_library import PatchLibrary
from rgan_tf.model.synthesis import synthesise
from training.evaluation.systems import Batch, row_seeds


def diversity_metrics(
    networks: RetrievalNetworks,
    scenes: Iterable[Batch],
    backbone: Backbone,
    *,
    seed: int,
    library: PatchLibrary | None = None,
) -> dict[str, float]:
    """Mean perceptual distance between two samples per graph, under both layouts.

    Args:
      networks: trained stage-3 networks.
      scenes: batches of a split with candidates.
      backbone: whose maps are compared; part of the metric's name.
      seed: of the first sample; the second has seed + 1.
      library: the patches, where the batches do not carry them.
    """
    distance = PerceptualDistance(backbone)

    @tf.function(reduce_retracing=True)
    def two_samples(batch: Batch, boxes: tf.Tensor | None) -> tf.Tensor:
        images = [
            synthesise(
                networks, batch, row_seeds=row_seeds(batch, s), boxes=boxes, library=library
            ).images
            for s in (seed, seed + 1)
        ]
        return tf.stack(images, axis=1)  # [B, 2, H, W, 3]

    values: dict[str, list[np.ndarray]] = {"predicted": [], "true": []}
    for batch in scenes:
        for layout, boxes in (("predicted", None), ("true", batch["boxes"])):
            samples = two_samples(batch, boxes).numpy()
            values[layout].append(sample_diversity(samples, distance))
    return {
        f"retrievegan/{layout}_boxes/{diversity_name(backbone.name)}": float(
            np.concatenate(parts).mean()
        )
        for layout, parts in values.items()
    }
