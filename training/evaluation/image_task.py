"""The task "images": every system's images against the real ones of the split."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from rgan_tf.backbones import Backbone
from rgan_tf.config import DataConfig
from rgan_tf.data.prepared import PreparedData
from rgan_tf.progress import note
from training.evaluation.crops import fit_crop_judge, training_crops
from training.evaluation.images import Keep, image_metrics, real_features
from training.evaluation.protocol import Protocol
from training.evaluation.reference import ReferenceCache
from training.evaluation.systems import Batch, System

_JUDGE_CROPS = 4000  # real crops to fit the judge of objects


def image_task(
    data: PreparedData,
    sizes: DataConfig,
    systems: list[System],
    scenes: Callable[..., Iterable[Batch]],
    *,
    backbone: Backbone,
    protocol: Protocol,
    keep: Keep | None,
) -> dict[str, Any]:
    """Judges the images of all systems; what does not depend on them comes from the data's cache.

    Args:
      data: the prepared folder.
      sizes: of the scenes; parts of the cache's keys.
      systems: whose images are judged.
      scenes: (split, candidates) -> batches from the start; without arguments those of the
        protocol's split with all that the systems need.
      backbone: the judge.
      protocol: split, seed and resamples.
      keep: called with all images.
    """
    split, count = protocol.split, data.record_count(protocol.split)
    others = [name for name in ("train", "test", "val") if name != split]
    other = next((name for name in others if data.record_count(name) > 1), None)
    cache = ReferenceCache(
        data.folder,
        {
            "data": data.fingerprint,
            "image_size": sizes.image_size,
            "max_objects": sizes.max_objects,
            "backbone": backbone.name,
            "weights": backbone.weights_sha256(),
        },
    )

    def features(name: str) -> np.ndarray:
        found = cache.get(
            {"features": name, "count": count},
            lambda: {"features": real_features(backbone, scenes(name, None), count)},
        )
        return found["features"]

    def crops() -> dict[str, np.ndarray]:
        found = training_crops(backbone, scenes("train", None), _JUDGE_CROPS)
        return dict(zip(("features", "categories"), found, strict=True))

    # Without retrieval features, as with InceptionV3, crops cannot be judged; and the judge must
    # not be fitted to the scenes of the evaluated split.
    judge = None
    if backbone.offers_features and split != "train":
        what = {"crops": _JUDGE_CROPS, "feature_weights": backbone.feature_weights_sha256}
        judge = fit_crop_judge(**cache.get(what, crops))
    metrics = image_metrics(
        systems,
        scenes,
        features(split),
        features(other) if other is not None else None,
        backbone=backbone,
        protocol=protocol,
        crop_judge=judge,
        keep=keep,
    )
    if metrics["frechet_is_biased"]:
        note(
            f"eval: the Fréchet distances of {split} are biased upwards: {metrics['images']} "
            f"images are not more than the {metrics['feature_size']} features; read the kernel "
            "distance (kd, kid) beside them"
        )
    return metrics
