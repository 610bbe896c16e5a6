"""The pictures of a run as data URIs."""

from __future__ import annotations

import base64
import re
from pathlib import Path

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage.image import decode_image
from training.report.markup import Markup, join, tag
from training.report.notes import Notes

_NAME = re.compile(r"(?P<series>.+)-(?P<step>\d+)\.png")


def picture_series(folders: list[Path]) -> dict[str, list[tuple[int, Path]]]:
    """Pictures by series, each by step: `retrievegan-0001000.png` is of series `retrievegan`.

    Args:
      folders: run folders; of two pictures of one name, that of the later folder counts.
    """
    found: dict[str, dict[int, Path]] = {}
    for folder in folders:
        for path in sorted((folder / "pictures").glob("*.png")):
            match = _NAME.fullmatch(path.name)
            if match:
                found.setdefault(match["series"], {})[int(match["step"])] = path
    return {series: sorted(steps.items()) for series, steps in sorted(found.items())}


def picture_section(series: dict[str, list[tuple[int, Path]]], notes: Notes) -> tuple[Markup, int]:
    """The first and the latest picture of every series; those between are in the run folder.

    Args:
      series: as `picture_series` gives them.
      notes: told which files are damaged; the picture before or after is shown instead.

    Returns:
      The section and the number of pictures in it.
    """
    parts: list[Markup] = []
    count = 0
    for name, steps in series.items():
        latest = _first_sound(list(reversed(steps)), notes)
        if latest is None:
            continue
        shown = [latest]
        first = _first_sound([entry for entry in steps if entry[0] < latest[0]][:1], notes)
        if first is not None:
            shown.append(first)
        parts.append(tag("h3", name))
        for index, (step, data) in enumerate(shown):
            picture = tag(
                "img",
                src=f"data:image/png;base64,{base64.b64encode(data).decode()}",
                alt=f"{name} at step {step}",
            )
            label = f"step {step}" + (" (latest)" if index == 0 and len(shown) > 1 else "")
            if index == 0:
                parts += [tag("p", label), picture]
            else:
                parts.append(tag("details", tag("summary", f"step {step} (first)"), picture))
            count += 1
    return join(parts), count


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
