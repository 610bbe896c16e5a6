"""The pictures of a run as data URIs."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage.image import decode_image
from training.report.notes import Notes

_NAME = re.compile(r"(?P<series>.+)-(?P<step>\d+)\.png")


def first_and_latest(folders: list[Path], notes: Notes) -> dict[str, list[tuple[int, str]]]:
    """The latest and the first picture of every series.

    Args:
      folders: run folders with pictures such as `pictures/retrievegan-0001000.png` of the series
        `retrievegan`; of two with one name, that in the later folder counts.
      notes: gets a line for each damaged file, which is replaced by a neighbouring picture.

    Returns:
      Series -> one or two of (step, data URI), the latest first.
    """
    series: dict[str, dict[int, Path]] = {}
    for folder in folders:
        for path in sorted((folder / "pictures").glob("*.png")):
            if match := _NAME.fullmatch(path.name):
                series.setdefault(match["series"], {})[int(match["step"])] = path
    found = {}
    for name, paths in sorted(series.items()):
        steps = sorted(paths.items())
        latest = _first_sound(steps[::-1], notes)
        if latest is not None:
            first = _first_sound([entry for entry in steps if entry[0] < latest[0]][:1], notes)
            found[name] = [(step, data_uri(data)) for step, data in filter(None, (latest, first))]
    return found


def data_uri(png: bytes) -> str:
    """A PNG as a data URI."""
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _first_sound(steps: list[tuple[int, Path]], notes: Notes) -> tuple[int, bytes] | None:
    for step, path in steps:
        try:
            data = path.read_bytes()
            decode_image(data, path.name)
            return step, data
        except (BadInput, CorruptData) as error:
            notes.add(f"{error}; it is not shown")
        except OSError as error:
            notes.add(f"image {path.name}: {error.strerror}; it is not shown")
    return None
