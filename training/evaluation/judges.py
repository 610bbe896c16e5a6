"""The networks that judge images, for the tasks that need one."""

from __future__ import annotations

from collections.abc import Collection

from rgan_tf.backbones import Backbone, load_backbone
from training.evaluation.diversity import NamedDistance, load_distance


def load_judges(
    tasks: Collection[str], metric_backbone: str, diversity_network: str, weights_dir: str | None
) -> tuple[Backbone | None, NamedDistance | None]:
    """The judge of "images" and that of "diversity"; None for a task that is not asked for.

    Raises:
      BadInput: if one is unknown or its weights are not found.
    """
    backbone = distance = None
    if "images" in tasks:
        backbone = load_backbone(metric_backbone, weights_dir)
        backbone.weights_sha256()  # finds that there are none before anything is drawn
    if "diversity" in tasks:
        distance = load_distance(diversity_network, weights_dir)
    return backbone, distance
