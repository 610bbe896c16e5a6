"""Modules of the user's own that a process imports first, so that they register what they bring."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping

from rgan_tf.errors import BadInput, one_line

VARIABLE = "RGAN_PLUGINS"


def load_plugins(environment: Mapping[str, str] = os.environ) -> None:
    """Imports the modules that RGAN_PLUGINS names, separated by commas.

    They are looked for in the working folder too, as `python -m` does. A module registers
    backbones and retrievers by their names (`rgan_tf.register_backbone`,
    `rgan_tf.register_retriever`), which configs and options then know.

    Raises:
      BadInput: if one cannot be imported; says which, and why.
    """
    names = [name.strip() for name in environment.get(VARIABLE, "").split(",") if name.strip()]
    if not names:
        return
    if "" not in sys.path:
        sys.path.insert(0, "")
    for name in names:
        try:
            importlib.import_module(name)
        except Exception as error:
            kind = type(error).__name__
            raise BadInput(f"{VARIABLE}: {name}: {kind}: {one_line(str(error))}") from error
