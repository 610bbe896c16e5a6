"""Reads the curves of a run from its TensorBoard event files."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError
from tensorflow.core.util import event_pb2

from training.report.notes import Notes


class Curve(NamedTuple):
    """One scalar over the steps.

    Attributes:
      steps: [N] int64, ascending.
      values: [N] float64; may contain NaN and infinity.
    """

    steps: np.ndarray
    values: np.ndarray


def read_curves(folder: Path, notes: Notes) -> dict[str, Curve]:
    """The scalars of all event files in a folder, as last written by training.

    A resumed run writes another file, and a run that was rolled back repeats steps: earlier values
    from a repeated step on are dropped.

    Args:
      folder: of one stage's logs.
      notes: gets a line for each damaged file, of which the events before the damage are read.

    Returns:
      tag -> curve, in the order of the tags' first appearance.
    """
    files = []  # (start time, name, [(tag, step, value)])
    for path in folder.glob("*tfevents*"):
        written: list[tuple[str, int, float]] = []
        begun, count = float("inf"), 0
        what = ""
        try:
            for data in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
                event = event_pb2.Event.FromString(data)
                count += 1
                if event.HasField("summary"):  # earlier events only have whole seconds
                    begun = min(begun, event.wall_time)
                scalars = ((value.tag, _scalar(value)) for value in event.summary.value)
                written += [(tag, event.step, v) for tag, v in scalars if v is not None]
        except tf.errors.DataLossError:
            what = "is cut off or damaged"
        except (tf.errors.OpError, OSError):
            what = "cannot be read"
        except (DecodeError, TypeError, ValueError):
            what = "holds something else than events"
        if what:
            notes.add(
                f"{folder.name}/{path.name}: {what} after {count} records; the curves show "
                "those before"
            )
        files.append((begun, path.name, written))
    points: dict[str, list[tuple[int, float]]] = {}
    for _, _, written in sorted(files, key=lambda file: file[:2]):
        for tag, step, value in written:
            kept = points.setdefault(tag, [])
            while kept and kept[-1][0] >= step:
                kept.pop()
            kept.append((step, value))
    return {
        tag: Curve(
            np.array([step for step, _ in kept], np.int64),
            np.array([value for _, value in kept], np.float64),
        )
        for tag, kept in points.items()
    }


def _scalar(summary) -> float | None:
    """The value of a scalar summary; None for pictures and others."""
    plugin = summary.metadata.plugin_data.plugin_name
    kind = summary.WhichOneof("value")
    if kind == "simple_value":
        return float(summary.simple_value)
    if kind != "tensor" or plugin not in ("scalars", ""):
        return None
    value = tf.make_ndarray(summary.tensor)
    return float(value) if value.size == 1 and value.dtype.kind in "fiu" else None
