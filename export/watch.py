"""`rgan generate --watch`: redraws a graph whenever its file changes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from export.edits import Answer
from export.generate import describe_result, write_samples
from export.requests import Draw, Requests
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.errors import BadInput, RganError
from rgan_tf.storage.files import atomic_folder, write_bytes_atomic

POLL_S = 0.2
LATEST = "latest.png"

_DIGITS = 4  # of the number of a picture's folder


def watched(
    graph: str,
    out: str,
    answering: Callable[[], AbstractContextManager[Answer]],
    read: Callable[[], Requests],
    draws: list[Draw],
    licences: LicenceFilter,
) -> Iterator[dict[str, Any]]:
    """Draws the graph now and after every change of its file, until interrupted.

    Errors of the file are logged and the next change is awaited: somebody is editing it.

    Args:
      graph: the file.
      out: folder for one folder per change.
      answering: opens the model or server.
      read: reads the file.
      draws: `Draw` of every sample.
      licences: filter for retrieval.

    Yields:
      Results of `rgan generate`, one per picture, with "image" in place of "images".

    Raises:
      BadInput: if the file does not exist, or the folder holds something else.
    """
    folder = Path(out)
    number = _last_number(folder)
    if not Path(graph).is_file():
        raise BadInput(f"{graph}: No such file; name the scene graph to watch")
    log = logging.getLogger(__name__)
    try:
        with answering() as answer:
            log.info("watching %s; Ctrl-C ends it", graph)
            for _ in _changes(Path(graph)):
                started = time.monotonic()
                place = folder / f"{number + 1:0{_DIGITS}d}"
                try:
                    requests = read()
                    with atomic_folder(place) as partial:
                        samples = write_samples(partial, requests, draws, answer)
                except RganError as error:
                    log.error("rgan generate: %s", " ".join(str(error).split()))
                    continue
                number += 1
                result = describe_result(place, requests, samples, licences, started)
                write_bytes_atomic(folder / LATEST, (place / "overview.png").read_bytes())
                for image in result.pop("images"):
                    yield {"image": image, **result}
    except KeyboardInterrupt:
        return


def _changes(path: Path) -> Iterator[None]:
    """Yields once at first, and then for every content that was the same in two polls."""
    drawn = before = None
    while True:
        content = _content(path)
        if content is not None and content == before != drawn:
            drawn = content
            yield
            continue
        before = content
        time.sleep(POLL_S)


def _content(path: Path) -> bytes | None:
    """None while the file is missing: many editors replace it with a new one."""
    try:
        return path.read_bytes()
    except OSError:
        return None


def _last_number(folder: Path) -> int:
    """Number of the newest folder of an earlier watch; 0 if there is none.

    Raises:
      BadInput: if the folder holds something else.
    """
    if not folder.exists():
        return 0
    if not folder.is_dir():
        raise BadInput(f"--out {folder}: is not a folder; name another")
    names = [path.name for path in folder.iterdir()]
    for name in names:
        is_ours = name == LATEST or _is_number(name) or name.endswith(".partial")
        if not is_ours:
            raise BadInput(f"--out {folder}: holds {name}; name a folder only for the pictures")
    return max((int(name) for name in names if _is_number(name)), default=0)


def _is_number(name: str) -> bool:
    return name.isascii() and name.isdigit()
