"""Where an evaluation leaves its results: metrics.jsonl, TensorBoard and a picture."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.files import write_bytes_atomic
from rgan_tf.image import encode_png


def write_report(
    out: Path, split: str, metrics: dict[str, Any], picture: np.ndarray, *, step: int
) -> None:
    """Appends one line to `metrics.jsonl` and writes TensorBoard summaries and a PNG.

    Args:
      out: the folder; made if missing.
      split: the split that was evaluated.
      metrics: name -> value.
      picture: uint8 [H, W, 3].
      step: training step of the weights.
    """
    out.mkdir(parents=True, exist_ok=True)
    # JSON has no NaN: what could not be measured is null.
    metrics = {name: _plain(value) for name, value in metrics.items()}
    line = json.dumps({"split": split, "step": step, **metrics}, allow_nan=False) + "\n"
    with open(out / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(line)
    pictures = out / "pictures"
    pictures.mkdir(exist_ok=True)
    write_bytes_atomic(pictures / f"eval-{split}-{step:07d}.png", encode_png(picture))
    writer = tf.summary.create_file_writer(str(out / "logs" / f"eval-{split}"))
    with writer.as_default(step=step):
        for name, value in metrics.items():
            if value is not None:
                tf.summary.scalar(name, float(value))
        tf.summary.image(f"eval-{split}", picture[None])
    writer.close()


def _plain(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
