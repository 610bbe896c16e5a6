"""The folder that is carried to the other machine."""

from __future__ import annotations

import gzip
import hashlib
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.storage.files import write_json_atomic
from rgan_tf.storage.manifest import describe_files
from training.bench.gpu.hlo import Program

SCRIPT = "run_on_jax.py"
_ARRAYS = "arrays.npz"


class Package:
    """Writes programs, arrays, the script that runs them, and a manifest.

    Args:
      folder: exists and is empty.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._archive = zipfile.ZipFile(folder / _ARRAYS, "w", zipfile.ZIP_DEFLATED, True)
        self._keys: dict[tuple, str] = {}
        self._parts: list[dict[str, Any]] = []

    def keep(self, value: np.ndarray | tf.Tensor | tf.Variable) -> str:
        """Adds an array; equal ones, such as a moving average and its weights, are kept once.

        Returns:
          Its key in `arrays.npz`.
        """
        value = np.asarray(value)
        digest = hashlib.sha256(value.tobytes()).hexdigest()
        identity = (value.dtype.str, value.shape, digest)
        if identity not in self._keys:
            key = self._keys[identity] = f"{len(self._keys):04d}"
            with self._archive.open(f"{key}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, value, allow_pickle=False)
        return self._keys[identity]

    def add(self, name: str, kind: str, program: Program, hlo: bytes, **facts: Any) -> None:
        """Adds one part: a program and what the script has to know of it."""
        file = f"{name}.hlo.gz"
        (self._folder / file).write_bytes(gzip.compress(hlo, mtime=0))
        self._parts.append(
            {
                "name": name,
                "kind": kind,
                "program": file,
                "parameters": program.parameters,
                "results": program.results,
                "captured": [self.keep(value) for value in program.captured],
                **facts,
            }
        )

    def close(self, **facts: Any) -> dict[str, Any]:
        """Writes the script and the manifest, and returns the latter."""
        self._archive.close()
        shutil.copyfile(Path(__file__).with_name(SCRIPT), self._folder / SCRIPT)
        names = sorted(file.name for file in self._folder.iterdir())
        files = describe_files(self._folder, names)
        manifest = {**facts, "parts": self._parts, "files": files}
        write_json_atomic(self._folder / "manifest.json", manifest)
        return manifest
