"""Checks of the inputs of commands that evaluate runs."""

from __future__ import annotations

import os
from pathlib import Path

from rgan_tf.arguments import whole_number
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.runs import Run


def check_seed(seed: int) -> None:
    """Refuses a seed that is not a non-negative int32.

    Raises:
      BadInput: names the option.
    """
    if not 0 <= whole_number(seed, "--seed") < 2**31:
        raise BadInput(f"--seed {seed}: must be at least 0 and below 2^31")


def check_resamples(resamples: int) -> None:
    """Refuses a number of resamples without a spread.

    Raises:
      BadInput: names the option.
    """
    if whole_number(resamples, "--resamples") < 0 or resamples == 1:
        raise BadInput(f"--resamples {resamples}: must be 0 or at least 2")


def check_choices(values: tuple, name: str) -> None:
    """Refuses an empty choice, of which nothing would be made.

    Raises:
      BadInput: names the argument.
    """
    if not values:
        raise BadInput(f"{name}: is empty; name at least one, or leave it out")


def check_images(data: PreparedData, split: str) -> None:
    """Refuses a split whose images cannot be judged.

    Raises:
      BadInput: names the split.
    """
    if data.record_count(split) < 2:
        raise BadInput(
            f"--split {split}: has one image, and a distance needs two; name another split, or "
            "prepare more images"
        )


def check_writable(folder: Path) -> None:
    """Refuses a folder for results into which they could not be written, hours later.

    Raises:
      BadInput: names the folder.
    """
    nearest = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not nearest.is_dir():
        raise BadInput(f"--out {folder}: {nearest} is a file; name another folder")
    lines = folder / "metrics.jsonl"
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise BadInput(f"--out {folder}: {nearest} is not writable; name another folder")
    if lines.exists() and not os.access(lines, os.W_OK):
        raise BadInput(f"--out {folder}: {lines} is not writable; name another folder")


def open_data_of(run: Run, name: str, folder: str | Path | PreparedData | None) -> PreparedData:
    """Opens the data on which a run is evaluated.

    Args:
      run: an opened run.
      name: the run as the user named it.
      folder: from --data, maybe opened; None takes that of the run.

    Raises:
      BadInput: if there is none, or it does not fit the run.
      CorruptData: if it is damaged.
    """
    place = folder or run.data_there(f"--run {name}", "name a prepared folder with --data")
    data = PreparedData.open(place, image_cache_bytes=0)
    data.check_vocabulary(run.vocabulary, f"run {name}")
    data.check_config(run.config)
    return data


def check_split(data: PreparedData, split: str) -> None:
    """Refuses an empty split.

    Raises:
      BadInput: names data and split.
    """
    if not data.record_count(split):
        raise BadInput(f"--data {data.folder}: split {split} is empty; choose another")
