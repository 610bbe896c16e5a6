"""Centroids of COCO segmentations: polygons and run-length masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from rgan_tf.annotations.json_object import finite_number, whole_number
from rgan_tf.storage.image import MAX_PIXELS

_FARTHEST = 10**6  # px from the image's corner; Pillow draws wrongly far beyond that
_GRID = 64  # cells per side of the box; sg2im's 16 shift small parts by half a cell


def segmentation_centroid(
    segmentation, box: Sequence[float], width: int, height: int
) -> tuple[float, float] | None:
    """The centroid of an object's mask.

    Args:
      segmentation: polygons [x0, y0, x1, y1, ...] in px (a list, or just one), or a run-length dict
        with "size" [height, width] and "counts" as a list or as COCO's compressed text.
      box: (y0, x0, y1, x1) fractions.
      width, height: of the image in px.

    Returns:
      (y, x) fractions; None if there is no mask or it is empty.

    Raises:
      ValueError: if the segmentation has another format.
    """
    if isinstance(segmentation, dict):
        return _run_length_centroid(segmentation)
    if not isinstance(segmentation, list):
        raise ValueError("neither polygons nor a run-length mask")
    if segmentation and finite_number(segmentation[0]) is not None:
        segmentation = [segmentation]
    return _polygon_centroid(segmentation, box, width, height)


def _polygon_centroid(polygons, box, width, height) -> tuple[float, float] | None:
    y0, x0, y1, x1 = box
    canvas = Image.new("L", (_GRID, _GRID))
    draw = ImageDraw.Draw(canvas)
    scale = np.array([_GRID / ((x1 - x0) * width), _GRID / ((y1 - y0) * height)])
    for polygon in polygons:
        points = np.asarray(polygon, np.float64)
        if points.ndim != 1 or points.size % 2 or not np.isfinite(points).all():
            raise ValueError("a polygon is not a list of x, y pairs")
        if points.size and np.abs(points).max() > _FARTHEST:
            raise ValueError("a polygon reaches beyond any image")
        if points.size >= 6:
            # Half a cell less: Pillow counts from the centre of the first cell.
            cells = (points.reshape(-1, 2) - [x0 * width, y0 * height]) * scale - 0.5
            draw.polygon([tuple(point) for point in cells.tolist()], fill=1)
    rows, columns = np.nonzero(np.asarray(canvas))
    if not rows.size:
        return None
    return (
        float(y0 + (rows.mean() + 0.5) / _GRID * (y1 - y0)),
        float(x0 + (columns.mean() + 0.5) / _GRID * (x1 - x0)),
    )


def _run_length_centroid(mask: dict) -> tuple[float, float] | None:
    size, counts = mask.get("size"), mask.get("counts")
    sides = [whole_number(side) for side in size] if isinstance(size, list) else []
    if len(sides) != 2 or not all(side is not None and side > 0 for side in sides):
        raise ValueError("a run-length mask has no size")
    height, width = sides
    if height * width > MAX_PIXELS:
        raise ValueError(f"a run-length mask has more than {MAX_PIXELS} pixels")
    if isinstance(counts, str):
        runs = _decompress(counts)
    else:
        runs = [whole_number(run) for run in counts] if isinstance(counts, list) else [None]
    if not all(run is not None and run >= 0 for run in runs):
        raise ValueError("a run-length mask has no counts")
    if sum(runs) > height * width:
        raise ValueError("a run-length mask is longer than its image")
    # Runs go down the columns and alternate between outside and inside, outside first.
    flat = np.repeat(np.arange(len(runs)) % 2, runs)
    inside = np.flatnonzero(flat)
    if not inside.size:
        return None
    return (
        float(((inside % height).mean() + 0.5) / height),
        float(((inside // height).mean() + 0.5) / width),
    )


def _decompress(text: str) -> list[int]:
    """COCO's text form: 5 bits per character, a continuation bit, differences from run 4 on."""
    runs: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            raise ValueError("a compressed run-length mask is damaged")
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            if bits & 16:
                value -= 1 << shift  # the sign reaches into the last group
            runs.append(value + runs[-2] if len(runs) > 2 else value)
            value = shift = 0
    return runs
