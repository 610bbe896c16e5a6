"""JSON files that hold a checksum of their own content."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage.files import read_json

SEAL = "manifest_sha256"


def sealed(manifest: dict[str, Any]) -> dict[str, Any]:
    """The manifest with its checksum added or updated."""
    content = {key: value for key, value in manifest.items() if key != SEAL}
    return {**content, SEAL: _checksum(content)}


def check_seal(manifest: dict[str, Any], path: Path, *, advice: str) -> None:
    """Compares a manifest with its checksum.

    Args:
      manifest: as read.
      path: its file, for the message.
      advice: what to do; ends the message.

    Raises:
      CorruptData: if they differ, or the checksum is missing.
    """
    content = {key: value for key, value in manifest.items() if key != SEAL}
    if manifest.get(SEAL) != _checksum(content):
        raise CorruptData(f"{path}: damaged (its own checksum differs); {advice}")


def read_sealed(path: Path, *, advice: str = "delete it") -> dict[str, Any]:
    """Reads a JSON object written by `sealed`.

    Raises:
      CorruptData: if it cannot be read or its checksum differs.
    """
    try:
        content = read_json(path)
    except BadInput as error:
        raise CorruptData(f"{path}: damaged; {advice}") from error
    if not isinstance(content, dict):
        raise CorruptData(f"{path}: damaged; {advice}")
    check_seal(content, path, advice=advice)
    return content


def _checksum(content: dict[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
