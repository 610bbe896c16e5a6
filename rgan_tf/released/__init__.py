"""The runs and backbones that ship with the library, and how a user names such a run."""

from pathlib import Path

PREFIX = "released:"
FOLDER = Path(__file__).parent
