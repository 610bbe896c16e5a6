"""Options that several commands have, declared once."""

from __future__ import annotations

import argparse


def add_config(parser: argparse.ArgumentParser) -> None:
    """Declares `config` and `--set`."""
    parser.add_argument("config", help="a YAML file, or the name of a shipped config")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser, *, of: str = "the config") -> None:
    """Declares `--set`, of which `overrides` is the list."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help=f"override one setting of {of}; may be given several times",
    )


def add_weights_dir(parser: argparse.ArgumentParser) -> None:
    """Declares `--weights-dir`."""
    parser.add_argument(
        "--weights-dir", help="folder that is searched first for backbone weight files"
    )
