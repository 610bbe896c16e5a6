"""The runs and backbones shipped with the library, and the names of these runs."""

from pathlib import Path

PREFIX = "released:"
FOLDER = Path(__file__).parent
