"""Features of real images, computed once for a data folder and kept in it.

    DATA/evaluation/<key>.npz    arrays of one computation; the key names everything it depends on

A file that cannot be read is computed again, and a folder that cannot be written stays as it is:
nothing here is needed, it only takes time.
"""

from __future__ import annotations

import hashlib
import io
import json
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.errors import BadInput
from rgan_tf.storage.files import write_bytes_atomic

_FOLDER = "evaluation"
_VERSION = 1  # of what is computed; another one asks for it anew


class ReferenceCache:
    """Arrays by content.

    Args:
      folder: of the prepared data.
      identity: what every array depends on, as JSON: data, network, resolution.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]):
        self._folder = folder / _FOLDER
        self._identity = {**identity, "version": _VERSION}

    def get(
        self, what: dict[str, Any], compute: Callable[[], dict[str, np.ndarray]]
    ) -> dict[str, np.ndarray]:
        """The arrays of one computation, from disk where they are there.

        Args:
          what: names this computation among all with the same identity, as JSON.
          compute: does it.
        """
        text = json.dumps({**self._identity, **what}, sort_keys=True)
        path = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.npz"
        if path.is_file():
            try:
                # Opened here: NumPy leaves a file that it cannot read open.
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
                print(f"{path}: cannot be read ({error}); computing it again", file=sys.stderr)
        arrays = compute()
        content = io.BytesIO()
        np.savez(content, **arrays)
        try:
            write_bytes_atomic(path, content.getvalue())
        except (OSError, BadInput) as error:
            print(f"{path}: cannot be kept for the next evaluation ({error})", file=sys.stderr)
        return arrays
