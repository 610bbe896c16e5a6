"""Classification score: do the objects of an image look like their categories?

All systems have the same judge: a linear discriminant on frozen features of crops, cut in the same
way out of real training images of the same resolution.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import Backbone
from rgan_tf.generator.layout import crop_objects
from rgan_tf.metrics.bootstrap import ratio_interval
from rgan_tf.metrics.crop_classifier import LinearDiscriminant, crop_accuracy, fit_discriminant
from rgan_tf.progress import late_bar
from rgan_tf.storage.image import float_to_uint8
from training.evaluation.protocol import INTERVAL, Protocol
from training.evaluation.systems import Batch

CropJudge = LinearDiscriminant


def training_crops(
    backbone: Backbone, scenes: Iterable[Batch], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, Dx] float32 and categories [N] int32 of objects of real images.

    Args:
      backbone: computes the features.
      scenes: batches of training scenes.
      count: maximum number of objects.
    """
    features: list[np.ndarray] = []
    categories: list[np.ndarray] = []
    with late_bar("crops of real images", count) as bar:
        for batch in scenes:
            found, mask = _features(
                backbone, float_to_uint8(batch["image"].numpy()), batch["boxes"], batch["objects"]
            )
            features.append(found)
            categories.append(batch["objects"].numpy()[mask])
            bar.update(len(found))
            if sum(map(len, categories)) >= count:
                break
    return np.concatenate(features)[:count], np.concatenate(categories)[:count]


def fit_crop_judge(features: np.ndarray, categories: np.ndarray) -> CropJudge | None:
    """The judge of `training_crops`; None if there is only one category."""
    return fit_discriminant(features, categories) if len(np.unique(categories)) > 1 else None


class CropTally:
    """Counts the objects of one system's images that the judge recognises.

    Args:
      judge: a fitted judge.
      backbone: computes the features.
    """

    def __init__(self, judge: CropJudge, backbone: Backbone):
        self._judge = judge
        self._backbone = backbone
        self._predicted: list[np.ndarray] = []
        self._categories: list[np.ndarray] = []
        self._scenes: list[np.ndarray] = []
        self._groups: dict[str, list[np.ndarray]] = {}
        self._count = 0

    def add(
        self,
        images: np.ndarray,
        boxes: tf.Tensor,
        objects: tf.Tensor,
        groups: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Counts images [B, H, W, 3] uint8 with objects [B, O] drawn in boxes [B, O, 4].

        Args:
          images, boxes, objects: of a batch.
          groups: name -> [B, O] bool, of `object_groups`; the same names in every batch.
        """
        features, mask = _features(self._backbone, images, boxes, objects)
        for name, group in (groups or {}).items():
            self._groups.setdefault(name, []).append(group[mask])
        self._predicted.append(self._judge.predict(features))
        self._categories.append(objects.numpy()[mask])
        self._scenes.append(self._count + np.nonzero(mask)[0])
        self._count += len(images)

    def metrics(self, name: str, backbone: str, protocol: Protocol) -> dict[str, Any]:
        """Accuracy over all objects and those of each group, with intervals over scenes."""
        predicted, categories, scenes = (
            np.concatenate(part) for part in (self._predicted, self._categories, self._scenes)
        )
        figures = crop_accuracy(predicted, categories, self._judge.categories)
        metric = f"{name}/crop_accuracy_{backbone}"
        metrics: dict[str, Any] = {
            metric: figures["crop_accuracy"],
            f"{name}/crop_balanced_accuracy_{backbone}": figures["crop_balanced_accuracy"],
            f"{name}/crop_count": figures["crop_count"],
            f"{name}/crop_unknown_count": figures["crop_unknown_count"],
        }
        is_known = np.isin(categories, self._judge.categories)  # [N]
        is_right = predicted == categories  # [N]
        groups = {name: np.concatenate(parts) for name, parts in self._groups.items()}  # [N] each
        for group, mask in groups.items():
            counted = is_known & mask
            if counted.any():
                metrics[f"{metric}/{group}"] = float(is_right[counted].mean())
        for of, mask in (("", True), *((f"/{group}", mask) for group, mask in groups.items())):
            counted = is_known & mask
            if protocol.resamples and len(np.unique(scenes[counted])) > 1:
                right, known = (
                    np.bincount(scenes, weights=weights, minlength=self._count)
                    for weights in (counted & is_right, counted)
                )  # [scenes] each
                metrics[f"{metric}{of}{INTERVAL}"] = list(
                    ratio_interval(right, known, protocol.seed, protocol.mean_resamples)
                )
        return metrics


def _features(
    backbone: Backbone, images: np.ndarray, boxes: tf.Tensor, objects: tf.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Features [N, Dx] of the crops of all real objects, and their mask [B, O] bool."""
    mask = objects.numpy() > 0  # [B, O]
    pixels = tf.cast(images, tf.float32) / 127.5 - 1.0  # [B, H, W, 3]
    crops = crop_objects(pixels, boxes, backbone.input_size).numpy()[mask]  # [N, S, S, 3]
    return backbone.features(float_to_uint8(crops)).numpy(), mask
