"""Features of real images, computed once per data folder and cached in it.

    DATA/evaluation/<key>.npz    arrays of one computation; the key names everything it depends on

Unreadable files are recomputed, and folders that are not writable stay as they are: the cache only
saves time.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.errors import BadInput
from rgan_tf.progress import note
from rgan_tf.storage.files import write_bytes_atomic

_FOLDER = "evaluation"
_VERSION = 1  # of the computations; a new one discards cached arrays


class ReferenceCache:
    """Cached arrays by what they depend on.

    Args:
      folder: of the prepared data.
      identity: what all arrays depend on, as JSON: data, network, resolution.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]):
        self._folder = folder / _FOLDER
        self._identity = {**identity, "version": _VERSION}

    def get(
        self, what: dict[str, Any], compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """The arrays of one computation, from disk if they are there.

        Args:
          what: identifies this computation among those with the same identity, as JSON.
          compute: computes the arrays.
        """
        text = json.dumps({**self._identity, **what}, sort_keys=True)
        path = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
        if path.is_file():
            try:
                # Opened here, because NumPy does not close a file that it cannot read.
                with open(path, "rb") as stream, np.load(stream, allow_pickle=False) as file:
                    return {name: file[name] for name in file.files}
            except (
                OSError,
                EOFError,
                ValueError,
                KeyError,
                zipfile.BadZipFile,
                zlib.error,
            ) as error:
                note(f"{path}: cannot be read ({error}); computing it again")
        arrays = compute()
        content = io.BytesIO()
        np.savez(content, **arrays)
        try:
            write_bytes_atomic(path, content.getvalue())
        except (OSError, BadInput) as error:
            note(f"{path}: cannot be kept for the next evaluation ({error})")
        return arrays
