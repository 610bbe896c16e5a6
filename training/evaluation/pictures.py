"""The same scenes under every system, side by side."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from rgan_tf.model.synthesis import Synthesis
from rgan_tf.pictures import comparison_grid
from rgan_tf.runs import Run
from rgan_tf.storage.image import float_to_uint8
from training.evaluation.systems import System
from training.pictures import CELL, layouts, patch_tiles


def comparison(
    run: Run, systems: list[System], batch: dict[str, tf.Tensor], made: Synthesis
) -> np.ndarray:
    """The same scenes under every system, one scene per row, with what `made` drew them from."""
    columns = [
        ("predicted layout", layouts(run.vocabulary, batch, made.boxes)),
        ("retrieved patches", patch_tiles(made.crops)),
    ]
    for system in systems:
        title = f"{system.name} ({system.boxes} boxes)".replace("_", " ")
        columns.append((title, float_to_uint8(system.draw(batch).images)))
    return comparison_grid([*columns, ("real", float_to_uint8(batch["image"]))], cell=CELL)
