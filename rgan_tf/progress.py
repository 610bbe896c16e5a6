"""Progress of long work, with the time left, on standard error."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

_Item = TypeVar("_Item")

_LOG_INTERVAL_S = 5.0
_LONG_S = 5.0  # work that takes longer is worth a bar
_LOG_LINE = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}]"


def progress_bar(
    label: str,
    total: int | None = None,
    *,
    done: int = 0,
    shown: bool = True,
    unit: str = "it",
    delay_s: float = 0.0,
) -> tqdm:
    """A bar on a terminal; elsewhere a line every five seconds, and one at the end.

    Args:
      label: the task, e.g. "train images".
      total: number of items, or None if unknown.
      done: items finished earlier; they do not count for the rate.
      shown: False for a bar that writes nothing.
      unit: of the items; bytes, "B", are counted by thousands and millions.
      delay_s: what is finished by then writes nothing.

    Returns:
      A bar; call `update(count)` for finished items. Use it in a `with`, which closes it before an
      error's line is printed.
    """
    # Check the time on every update: the last of many quick items may be slow.
    options = {"desc": label, "total": total, "initial": done, "miniters": 1, "disable": not shown}
    options |= {"unit": unit, "unit_scale": unit == "B", "delay": delay_s}
    if sys.stderr.isatty():
        return tqdm(file=sys.stderr, **options)
    line = _LOG_LINE if total is not None else None
    return tqdm(file=_Lines(), mininterval=_LOG_INTERVAL_S, bar_format=line, **options)


def late_bar(label: str, total: int | None = None, *, unit: str = "it") -> tqdm:
    """A `progress_bar` that writes nothing of work that takes only some seconds."""
    return progress_bar(label, total, unit=unit, delay_s=_LONG_S)


def followed(items: Iterable[_Item], label: str, count: int | None = None) -> Iterator[_Item]:
    """The items one after the other; if they take some seconds, a bar says how far they are.

    Args:
      items: any.
      label: the task.
      count: of the items; None asks them, who may not know.
    """
    if count is None:
        count = operator.length_hint(items) or None
    with late_bar(label, count) as bar:
        for item in items:
            yield item
            bar.update()


def note(line: str) -> None:
    """Writes a line of progress at once."""
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


class _Lines:
    """Standard error, with a line end in place of each carriage return.

    A count that was just written is not repeated, as a bar does when it closes.
    """

    _count = ""

    def write(self, text: str) -> None:
        count = text.strip().partition(" [")[0]
        if count and count != self._count:
            sys.stderr.write(text.strip() + "\n")
            self._count = count

    def flush(self) -> None:
        sys.stderr.flush()
