"""Writes the results of an evaluation: metrics.jsonl, TensorBoard and a picture."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.errors import BadInput
from rgan_tf.storage.files import append_line, json_value, write_bytes_atomic
from rgan_tf.storage.image import encode_png


def write_report(
    out: Path,
    split: str,
    metrics: dict[str, Any],
    picture: np.ndarray | None,
    *,
    step: int,
    weights: str,
    data: str,
) -> None:
    """Appends one line to `metrics.jsonl` and writes TensorBoard summaries and a PNG.

    The line names weights and data: a stage that is trained again ends at the same step, and a run
    can be judged on other data, so the step alone does not say which lines belong together.

    Args:
      out: output folder, created if missing.
      split: the evaluated split.
      metrics: name -> value.
      picture: uint8 [H, W, 3], or None.
      step: training step of the weights.
      weights: their `Run.fingerprint`.
      data: fingerprint of the data that they were judged on.
    """
    out.mkdir(parents=True, exist_ok=True)
    metrics = json_value(metrics)  # what could not be measured becomes null
    judged = {"split": split, "step": step, "weights": weights, "data": data}
    line = json.dumps({**judged, **metrics}, allow_nan=False) + "\n"
    append_line(out / "metrics.jsonl", line)
    if picture is not None:
        pictures = out / "pictures"
        pictures.mkdir(exist_ok=True)
        write_bytes_atomic(pictures / f"eval-{split}-{step:07d}.png", encode_png(picture))
    writer = tf.summary.create_file_writer(str(out / "logs" / f"eval-{split}"))
    with writer.as_default(step=step):
        for name, value in metrics.items():
            if value is not None and not isinstance(value, (list, dict)):
                tf.summary.scalar(name, float(value))
        if picture is not None:
            tf.summary.image(f"eval-{split}", picture[None])
    writer.close()


def image_keeper(folder: str | Path, split: str) -> Callable[[str, np.ndarray, np.ndarray], None]:
    """Writes images as FOLDER/<split>/<system>/<boxes>/<image id>.png.

    Args:
      folder: created if missing.
      split: the evaluated split.

    Returns:
      A function of a system's title, image ids [B] and images [B, H, W, 3] uint8.

    Raises:
      BadInput: if it already holds images of this split, which would be mixed with the new ones.
    """
    place = Path(folder) / split
    if place.exists():
        raise BadInput(f"--save-images {folder}: holds {split} already; name another folder")

    def keep(title: str, image_ids: np.ndarray, images: np.ndarray) -> None:
        for image_id, image in zip(image_ids.tolist(), images, strict=True):
            write_bytes_atomic(place / title / f"{image_id}.png", encode_png(image))

    return keep
