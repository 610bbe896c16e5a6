"""Centroids of COCO segmentations: polygons and run-length masks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from rgan_tf.annotations.json_object import finite_number, whole_number
from rgan_tf.storage.image import MAX_PIXELS

_FARTHEST = 10**6  # px from the image's corner; Pillow draws wrongly far beyond that
_MOST_CHARACTERS = 7  # of a number in a compressed mask; 35 bits count any image's pixels
_ASPECT_TOLERANCE = 0.05  # of width / height; a mask may be of its image at another resolution
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
        return _run_length_centroid(segmentation, width / height)
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


def _run_length_centroid(mask: dict, aspect: float) -> tuple[float, float] | None:
    size, counts = mask.get("size"), mask.get("counts")
    sides = [whole_number(side) for side in size] if isinstance(size, list) else []
    if len(sides) != 2 or not all(side is not None and side > 0 for side in sides):
        raise ValueError("a run-length mask has no size")
    height, width = sides
    if height * width > MAX_PIXELS:
        raise ValueError(f"a run-length mask has more than {MAX_PIXELS} pixels")
    # Some write [width, height]. Of a small mask one pixel of rounding is more than the tolerance.
    is_rounded = min(abs(width - height * aspect), abs(height - width / aspect)) < 1
    if abs(width / height / aspect - 1) > _ASPECT_TOLERANCE and not is_rounded:
        raise ValueError(f"a run-length mask of size [{height}, {width}] is not of its image")
    if isinstance(counts, str):
        runs = _decompress(counts)
    else:
        listed = [whole_number(run) for run in counts] if isinstance(counts, list) else [None]
        if None in listed:
            raise ValueError("a run-length mask has no counts")
        if max(listed, default=0) > MAX_PIXELS:
            raise ValueError("a run-length mask is longer than its image")
        runs = np.array([max(run, -1) for run in listed], np.int64)
    if (runs < 0).any():
        raise ValueError("a run-length mask has no counts")
    if runs.sum() > height * width:
        raise ValueError("a run-length mask is longer than its image")
    # Runs go down the columns and alternate between outside and inside, outside first.
    ends = np.cumsum(runs)
    inside = int(runs[1::2].sum())
    if not inside:
        return None
    begin, end = (_sums_before(place[1::2], height) for place in (ends - runs, ends))
    rows, columns = (int((last - first).sum()) for first, last in zip(begin, end, strict=True))
    return (rows / inside + 0.5) / height, (columns / inside + 0.5) / width


def _sums_before(places: np.ndarray, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the rows and of the columns of all pixels before some, counted down the columns."""
    columns, rows = np.divmod(places, height)
    whole = height * (height - 1) // 2  # sum of the rows of a column
    return (
        columns * whole + rows * (rows - 1) // 2,
        height * (columns * (columns - 1) // 2) + rows * columns,
    )


def _decompress(text: str) -> np.ndarray:
    """COCO's text form: 5 bits per character, a continuation bit, differences from run 4 on.

    Returns:
      [R] int64 lengths of the runs.
    """
    bits = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64) - 48
    if ((bits < 0) | (bits >= 64)).any():
        raise ValueError("a compressed run-length mask is damaged")
    last = np.flatnonzero(bits & 32 == 0)  # of each number
    if not last.size:
        return last
    bits = bits[: last[-1] + 1]
    first = np.concatenate([[0], last[:-1] + 1])
    lengths = last - first + 1
    if lengths.max() > _MOST_CHARACTERS:
        raise ValueError("a compressed run-length mask is damaged")
    shifts = 5 * (np.arange(len(bits)) - np.repeat(first, lengths))
    values = np.add.reduceat((bits & 31) << shifts, first)
    values -= np.where(bits[last] & 16, 1 << 5 * lengths, 0)  # the sign reaches into the last group
    for start in (1, 2):
        values[start::2] = np.cumsum(values[start::2])
    return values
