"""Imports the user's own modules first, so that they can register backbones and retrievers."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from rgan_tf.errors import BadInput, one_line

VARIABLE = "RGAN_PLUGINS"
_ADVICE = (
    "name modules as import does, without .py, separated by commas; they are looked for here and "
    "in PYTHONPATH"
)


def load_plugins(environment: Mapping[str, str] = os.environ) -> None:
    """Imports the modules that RGAN_PLUGINS names, separated by commas.

    The working folder is searched too, as by `python -m`. A module registers backbones and
    retrievers by name (`rgan_tf.register_backbone`, `rgan_tf.register_retriever`) for configs and
    options.

    Raises:
      BadInput: if one cannot be imported; names it, the reason, and the line of it that failed.
    """
    names = [name.strip() for name in environment.get(VARIABLE, "").split(",") if name.strip()]
    if not names:
        return
    if "" not in sys.path:
        sys.path.insert(0, "")
    for name in names:
        try:
            importlib.import_module(name)
        except (Exception, SystemExit) as error:  # a script may end itself, and rgan with it
            kind, place = type(error).__name__, _place_below(_root_to_be(name), error)
            advice = f"see {place}" if place else _ADVICE
            raise BadInput(
                f"{VARIABLE}: {name}: {kind}: {one_line(str(error))}; {advice}"
            ) from error


def place_in_plugins(
    error: BaseException, environment: Mapping[str, str] = os.environ
) -> str | None:
    """The line of a module that RGAN_PLUGINS names in which an error arose, as "FILE, line N".

    TensorFlow traces a converted copy of a function, and names the line of the user's file in the
    message alone. What a method has returned is refused after it has ended: no line of the user's
    file takes part then, but the message begins with class and method.

    Returns:
      The innermost such line, or "FILE, CLASS.METHOD"; None if no module of the user's takes part.
    """
    names = environment.get(VARIABLE, "").split(",")
    modules = [sys.modules.get(name.strip()) for name in names]
    roots = [_root_of(getattr(module, "__file__", None)) for module in modules]
    return _place_below(roots, error) or _method_that_is_named(roots, error)


def _method_that_is_named(roots: Sequence[Path | None], error: BaseException) -> str | None:
    """The method of a user's class with which the last line of an error's message begins."""
    lines = str(error).strip().splitlines()  # TensorFlow's begin with its own traceback
    found = re.match(r"\s*(?:\w+: )?((\w+)\.\w+): ", lines[-1]) if lines else None
    for module in list(sys.modules.values()) if found else ():
        file = getattr(module, "__file__", None)
        if not file or not {*roots} & {Path(file), *Path(file).parents}:
            continue
        owner = vars(module).get(found[2])
        if isinstance(owner, type) and owner.__module__ == module.__name__:
            return f"{file}, {found[1]}"
    return None


def _place_below(roots: Sequence[Path | None], error: BaseException) -> str | None:
    """The innermost line of files or folders in which an error arose; None if there is none."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    frames += re.findall(r'File "([^"\n]+)", line (\d+)', str(error))
    places = [
        f"{file}, line {line}"
        for file, line in frames
        if any(root and root in (Path(file), *Path(file).parents) for root in roots)
    ]
    return places[-1] if places else None


def _root_of(file: str | None) -> Path | None:
    """The file of a module, or the folder of a package; None if there is no file."""
    if file is None:
        return None
    return Path(file).parent if Path(file).name == "__init__.py" else Path(file)


def _root_to_be(name: str) -> list[Path | None]:
    """The root of a module whose import has failed, as far as one can be found."""
    with contextlib.suppress(Exception):  # of a package that cannot be imported either
        return [_root_of(getattr(importlib.util.find_spec(name), "origin", None))]
    return []
