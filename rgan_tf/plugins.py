"""Imports the user's own modules first, so that they can register backbones and retrievers."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping

from rgan_tf.errors import BadInput, one_line

VARIABLE = "RGAN_PLUGINS"


def load_plugins(environment: Mapping[str, str] = os.environ) -> None:
    """Imports the modules that RGAN_PLUGINS names, separated by commas.

    The working folder is searched too, as by `python -m`. A module registers backbones and
    retrievers by name (`rgan_tf.register_backbone`, `rgan_tf.register_retriever`) for configs and
    options.

    Raises:
      BadInput: if one cannot be imported; names it and the reason.
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
            raise BadInput(
                f"{VARIABLE}: {name}: {kind}: {one_line(str(error))}; name modules as import does, "
                "without .py, separated by commas; they are looked for here and in PYTHONPATH"
            ) from error
