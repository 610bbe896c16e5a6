"""Arguments of calls from Python, which no parser of a command has read before.

A number may be NumPy's, one text may stand for a list of one, and whatever else is passed is
refused by its name before anything is read or written.
"""

from __future__ import annotations

import contextlib
import numbers
import operator
import os
from collections.abc import Iterable
from typing import Any

from rgan_tf.errors import BadInput

_SHOWN = 80  # characters of a value in a message


def whole_number(value: Any, name: str) -> int:
    """An integer, also one of NumPy; its range is checked by the caller.

    Raises:
      BadInput: for anything else, such as 2.0 or "2".
    """
    if not isinstance(value, bool):
        try:
            return operator.index(value)
        except TypeError:
            pass
    raise BadInput(f"{name} {shown(value)}: must be a whole number")


def real_number(value: Any, name: str) -> float:
    """A number, also one of NumPy; its range is checked by the caller.

    Raises:
      BadInput: for anything else, such as "1".
    """
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        return float(value)
    raise BadInput(f"{name} {shown(value)}: must be a number")


def text_list(values: Any, name: str, *, also: tuple[type, ...] = ()) -> tuple[str, ...]:
    """Several texts; one text stands for itself alone, not for its letters.

    Args:
      values: a text, or any iterable of texts.
      name: of the argument in messages.
      also: types that are taken as their text, such as `int` for positions.

    Raises:
      BadInput: if it is neither.
    """
    return tuple(map(str, _items(values, name, (str, *also), "a list of texts")))


def path_text(value: Any, name: str) -> str:
    """A path as text; of what was opened, such as a `PatchBank`, its folder.

    Raises:
      BadInput: for anything else.
    """
    with contextlib.suppress(TypeError):  # of what is not a path, or does not say one
        path = os.fspath(value)
        if isinstance(path, str) and "\0" not in path:
            return path
    raise BadInput(f"{name} {shown(value)}: must be a path as text, or what was opened from one")


def path_list(values: Any, name: str) -> tuple[str, ...]:
    """Several paths as text, see `path_text`; one path stands for itself alone.

    Raises:
      BadInput: if it is neither a path nor an iterable of paths.
    """
    items = _items(values, name, (str, os.PathLike), "a list of paths")
    return tuple(path_text(item, name) for item in items)


def list_of(values: Any, name: str, kind: type, called: str) -> tuple:
    """Several values of one type.

    Args:
      values: any iterable of them.
      name: of the argument in messages.
      kind: of each.
      called: the type in messages.

    Raises:
      BadInput: if it is not an iterable, or one of the values is of another type.
    """
    wanted = f"a list of {called}"
    if isinstance(values, kind):
        raise BadInput(f"{name}: must be {wanted}, got one; put it into a list")
    return _items(values, name, (kind,), wanted)


def check_least(args: Any, least: int, *names: str) -> None:
    """Compares options of a command that are whole numbers with the least that they may be.

    Args:
      args: of the parser; an option that is None or absent was not given, a list is of numbers.
      least: the smallest number that is allowed.
      names: attributes of `args`, such as `batch_size`.

    Raises:
      BadInput: for the first smaller one, by the name of its option.
    """
    for name in names:
        given = getattr(args, name, None)
        for value in given if isinstance(given, list) else [given]:
            if value is not None and value < least:
                option = name.replace("_", "-")
                raise BadInput(f"--{option} {value}: must be at least {least}")


def shown(value: Any) -> str:
    """A value in a message."""
    try:
        text = repr(value)
    except ValueError:
        return "an integer of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _items(values: Any, name: str, kinds: tuple[type, ...], wanted: str) -> tuple:
    if isinstance(values, (str, os.PathLike)):
        values = (values,)
    if not isinstance(values, Iterable) or isinstance(values, (bytes, dict)):
        raise BadInput(f"{name}: must be {wanted}, got {shown(values)}")
    items = tuple(values)
    for item in items:
        if not isinstance(item, kinds) or isinstance(item, bool):
            raise BadInput(f"{name}: must be {wanted}, and holds {shown(item)}")
    return items
