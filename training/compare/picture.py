"""The comparison as a picture: one row per graph, one column per system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from rgan_tf.config import Config
from rgan_tf.data.prepared import PreparedData
from rgan_tf.pictures import comparison_grid
from rgan_tf.storage.image import read_image
from training.compare.entries import Entry
from training.compare.steps import Evaluation
from training.evaluation.collapse import images_of
from training.pictures import CELL, layouts

SCENES = 8


def comparison_picture(
    entries: Sequence[Entry],
    evaluations: Mapping[str, Evaluation],
    data: PreparedData,
    split: str,
    config: Config,
) -> np.ndarray:
    """The first scenes of a split: the graph in its true layout, each system in predicted boxes,
    the real image.

    Args:
      entries: one column each.
      evaluations: name of an entry -> its images, saved by image id.
      data, split: the scenes.
      config: gives the sizes.

    Returns:
      uint8 [H, W, 3].
    """
    store = data.scenes(split, config.data)
    rows = np.arange(min(SCENES, len(store.image_ids)))
    graphs = {"objects": store.objects[rows], "triples": store.triples[rows]}
    drawn = layouts(data.vocabulary, graphs, store.boxes[rows])
    columns = [("graph and true boxes", drawn)]
    for entry in entries:
        folder = images_of(evaluations[entry.name].images, entry.system)
        images = [read_image(folder / f"{store.image_ids[row]}.png") for row in rows]
        columns.append((entry.name.replace("_", " "), images))
    return comparison_grid([*columns, ("real", list(store.images(rows)))], cell=CELL)
