"""A version of a model in memory, as the studio runs it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from export.model_folder import open_model
from export.server.loaded_version import LoadedVersion
from export.studio.refusing import check_is_ours


class StudioVersion(LoadedVersion):
    """Runs rows one by one, as `rgan generate` does: the same scene has the same bytes.

    Merged rows are not faster (eight take as long as eight single ones), and their sums may be
    rounded otherwise.

    Args:
      folder: of the version.

    Raises:
      BadInput, CorruptData: if it is not a complete exported model.
    """

    def __init__(self, folder: Path):
        check_is_ours(open_model(folder))
        super().__init__(folder)
        len(self.model.provenance)  # damage shows when it is loaded, and no request waits for it

    def warm_up(self) -> None:
        """Answers every kind of request once."""
        for name in self.specs:
            self.run(name, self._example(name, 1))

    def run(self, signature: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """See `LoadedVersion`."""
        rows = len(next(iter(arrays.values())))
        replies = [
            super(StudioVersion, self).run(
                signature, {name: value[i : i + 1] for name, value in arrays.items()}
            )
            for i in range(rows)
        ]
        return {name: np.concatenate([reply[name] for reply in replies]) for name in replies[0]}
