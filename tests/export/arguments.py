"""Arguments of commands, with the parser's own defaults."""

from __future__ import annotations

import argparse
from pathlib import Path

from export.commands import generate


def generate_arguments(graph: Path, model: Path, out: Path, **others) -> argparse.Namespace:
    """Those of `rgan generate`; `others` by attribute, as they are."""
    parser = argparse.ArgumentParser()
    generate.add_arguments(parser)
    arguments = parser.parse_args([str(graph), "--model", str(model), "--out", str(out)])
    unknown = set(others) - set(vars(arguments))
    assert not unknown, f"rgan generate has no {unknown}"
    return argparse.Namespace(**{**vars(arguments), **others})
