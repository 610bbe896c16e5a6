"""Image quality: every system's images against the same real ones, under one protocol."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from rgan_tf.backbones import Backbone
from rgan_tf.metrics.bootstrap import (
    frechet_resamples,
    kernel_resamples,
    normal_interval,
)
from rgan_tf.metrics.frechet import (
    FeatureStatistics,
    frechet_distance,
    frechet_name,
    kernel_distance,
    kernel_name,
)
from rgan_tf.metrics.inception_score import ScoreStatistics, score_name
from rgan_tf.metrics.precision_recall import precision_name, precision_recall, recall_name
from rgan_tf.progress import followed, late_bar, note
from rgan_tf.storage.image import float_to_uint8
from training.evaluation.collapse import COMPARED, LEAST_SPREAD, spread
from training.evaluation.crops import CropJudge, CropTally
from training.evaluation.groups import object_groups, scene_groups
from training.evaluation.protocol import INTERVAL, RESAMPLED, Protocol
from training.evaluation.systems import Batch, System

_LEAST_SCENES = 20  # of a group whose distance is measured
_LEAST_RESAMPLED = 3  # images of a distance with an interval

Keep = Callable[[str, np.ndarray, np.ndarray], None]
"""Called with a system's title, image ids [B] and images [B, H, W, 3] uint8, e.g. to save
them."""


def image_metrics(
    systems: list[System],
    scenes: Callable[[], Iterable[Batch]],
    real: np.ndarray,
    floor: np.ndarray | None,
    *,
    backbone: Backbone,
    protocol: Protocol,
    crop_judge: CropJudge | None = None,
    keep: Keep | None = None,
) -> dict[str, Any]:
    """Fréchet and kernel distance, class score, precision, recall and crops of every system.

    Images are rounded to uint8 first, so that saving them as PNG changes nothing.

    Args:
      systems: what to compare.
      scenes: returns the split's batches, from the start at every call.
      real: [N, D] float32, `real_features` of the split.
      floor: [M, D] float32, of real images outside the split; None if there are none.
      backbone: the network whose last features are compared; part of the metrics' names.
      protocol: split, seed and resamples.
      crop_judge: recognises the objects; None leaves the crops out.
      keep: called with all images, e.g. to save them.

    Returns:
      metric name -> value, and name + `INTERVAL` -> [low, high]; of a system's distances also
      name + `RESAMPLED` -> [R]. `floor/real` is the distance between the two sets of real images,
      at the count of the smaller one.
    """
    metrics: dict[str, Any] = {"images": len(real), "feature_size": real.shape[1]}
    truth = _Real.of(real)
    metrics["frechet_is_biased"] = truth.statistics.is_biased
    if floor is not None:
        count = min(len(floor), len(real))
        metrics |= _distances(
            "floor/real",
            floor[:count],
            _Real.of(real[:count]),
            backbone.name,
            protocol,
            of_one_graph=False,
        )
    if crop_judge is not None:
        judged = CropTally(crop_judge, backbone)
        for batch in followed(scenes(), "objects of real images"):
            judged.add(float_to_uint8(batch["image"].numpy()), batch["boxes"], batch["objects"])
        metrics |= judged.metrics("real", backbone.name, protocol)
    for system in systems:
        metrics |= _judge(system, scenes(), truth, backbone, protocol, crop_judge, keep)
    return metrics


def real_features(backbone: Backbone, scenes: Iterable[Batch], count: int) -> np.ndarray:
    """[count, D] float32, the final features of the first real images; fewer if there are fewer."""
    blocks, found = [], 0
    with late_bar("features of real images", count) as bar:
        for batch in scenes:
            images = float_to_uint8(batch["image"].numpy())[: count - found]  # [B, H, W, 3]
            blocks.append(backbone.final_features(images).numpy())
            found += len(images)
            bar.update(len(images))
            if found == count:
                break
    return np.concatenate(blocks)


def _judge(
    system: System,
    scenes: Iterable[Batch],
    real: _Real,
    backbone: Backbone,
    protocol: Protocol,
    crop_judge: CropJudge | None,
    keep: Keep | None,
) -> dict[str, Any]:
    """All metrics of one system; of groups of scenes the kernel distance, which has no bias."""
    count, filled = len(real.features), 0
    features = np.empty(real.features.shape, np.float32)  # [N, D]
    score: ScoreStatistics | None = None
    crops = CropTally(crop_judge, backbone) if crop_judge is not None else None
    groups: dict[str, list[np.ndarray]] = {}
    first: list[np.ndarray] = []
    for batch in followed(scenes, system.title):
        drawn = system.draw(batch)
        images = float_to_uint8(drawn.images.numpy())  # [B, H, W, 3]
        if keep is not None:
            keep(system.title, batch["image_id"].numpy(), images)
        first.extend(images[: COMPARED - len(first)])
        found, classes = backbone.final_outputs(images)  # [B, D], [B, 1000]
        features[filled : filled + len(images)] = found
        filled += len(images)
        if classes is not None and count >= protocol.score_splits:
            score = score or ScoreStatistics(classes.shape[1], protocol.score_splits, count)
            score.add(classes.numpy())
        layout = batch["boxes"].numpy(), batch["objects"].numpy()
        for name, mask in scene_groups(*layout).items():
            groups.setdefault(name, []).append(mask)
        if drawn.boxes is None:
            crops = None  # nobody knows where it drew which object
        if crops is not None:
            of_objects = object_groups(*layout, batch["triples"].numpy())
            crops.add(images, drawn.boxes, batch["objects"], of_objects)
    name = system.title
    differ = spread(first)
    if len(first) > 1 and differ < LEAST_SPREAD:
        note(
            f"eval: {name}: draws one image for every scene: the first {len(first)} differ by "
            f"{differ:.2f} grey levels of 255; do not read its distances as those of a model"
        )
    metrics = _distances(name, features, real, backbone.name, protocol, of_one_graph=True)
    for group, masks in groups.items():
        mask = np.concatenate(masks)  # [N]
        if mask.sum() >= _LEAST_SCENES:
            kernel = kernel_name(backbone.name, int(mask.sum()), protocol.split)
            distance = kernel_distance(features[mask], real.features[mask])
            metrics[f"{name}/{kernel}/{group}"] = distance
    if score is not None:
        mean, deviation = score.score()
        metric = score_name(backbone.name, count, protocol.score_splits, protocol.split)
        metrics[f"{name}/{metric}"] = mean
        metrics[f"{name}/{metric}/deviation"] = deviation
    if count > protocol.neighbours:
        precision, recall = precision_recall(features, real.features, protocol.neighbours)
        named = (backbone.name, count, protocol.neighbours, protocol.split)
        metrics[f"{name}/{precision_name(*named)}"] = precision
        metrics[f"{name}/{recall_name(*named)}"] = recall
    if crops is not None:
        metrics |= crops.metrics(name, backbone.name, protocol)
    return metrics


def _distances(
    name: str,
    made: np.ndarray,
    real: _Real,
    backbone: str,
    protocol: Protocol,
    *,
    of_one_graph: bool,
) -> dict[str, Any]:
    """Both distances; `of_one_graph` if row i of both sets belongs to one scene graph."""
    frechet = f"{name}/{frechet_name(backbone, len(made), protocol.split)}"
    kernel = f"{name}/{kernel_name(backbone, len(made), protocol.split)}"
    metrics: dict[str, Any] = {
        frechet: frechet_distance(_statistics(made), real.statistics),
        kernel: kernel_distance(made, real.features),
    }
    # Of two there is one draw with a spread, so that every resample would be the estimate itself.
    if not protocol.resamples or min(len(made), len(real.features)) < _LEAST_RESAMPLED:
        return metrics
    for metric, lowest, resample in (
        (frechet, 0.0, frechet_resamples),
        (kernel, None, kernel_resamples),
    ):
        resampled = resample(
            made, real.features, protocol.resamples, seed=protocol.seed, paired=of_one_graph
        )
        error = float(np.std(resampled, ddof=1))
        metrics[metric + INTERVAL] = list(normal_interval(metrics[metric], error, lowest))
        if of_one_graph:
            metrics[metric + RESAMPLED] = resampled.tolist()
    return metrics


class _Real(NamedTuple):
    """Features [N, D] of real images and their statistics, shared by all systems."""

    features: np.ndarray
    statistics: FeatureStatistics

    @classmethod
    def of(cls, features: np.ndarray) -> _Real:
        return cls(features, _statistics(features))


def _statistics(features: np.ndarray) -> FeatureStatistics:
    statistics = FeatureStatistics(features.shape[1])
    statistics.add(features)
    return statistics
