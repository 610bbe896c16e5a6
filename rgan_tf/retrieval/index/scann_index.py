"""The approximate pre-filter for large banks: ScaNN finds, exact distances decide.

index/
  manifest.json      sizes, settings, checksums, and the fingerprint of the indexed features
  part_0.bin, ...    the state of ScaNN, as bytes or as arrays
"""

from __future__ import annotations

import dataclasses
import hashlib
import math
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.errors import BadInput
from rgan_tf.retrieval.index.exact import (
    ANY_CATEGORY,
    PADDING_CATEGORY,
    SEARCH_DEVICE,
    CandidateIndex,
    ExactIndex,
    SearchResult,
    checked_integers,
    checked_matrix,
)
from rgan_tf.storage.files import atomic_folder
from rgan_tf.storage.manifest import Manifest, ManifestKind, describe_files

# ScaNN ends the process on an inconsistent state, so everything is checked before.
INDEX = ManifestKind(
    "rgan_scann_index",
    2,
    "a ScaNN index",
    advice="build the index again",
    needs=("settings", "bank_sha256", "files", "notes"),
    seal="required",
)
_QUERIES_AT_ONCE = 4096


@dataclasses.dataclass(frozen=True)
class ScannSettings:
    """How a bank is partitioned and searched; `tune` finds good values.

    Attributes:
      leaves: partitions of the bank, at least 1.
      leaves_to_search: partitions searched per query, 1 to `leaves`.
    """

    leaves: int
    leaves_to_search: int

    def __post_init__(self) -> None:
        if not 1 <= self.leaves_to_search <= self.leaves:
            raise BadInput(
                "ScaNN settings: need 1 <= leaves_to_search <= leaves, got "
                f"{self.leaves_to_search} of {self.leaves}"
            )


def default_leaves(rows: int) -> int:
    """Partitions for a bank of that many rows: about the square root, as ScaNN's guide advises."""
    return max(1, round(math.sqrt(rows)))


class ScannIndex(CandidateIndex):
    """Finds candidates with ScaNN over the whole bank and scores them exactly.

    ScaNN knows no categories, but graph features of one category lie together, so the nearest
    patches mostly have the query's category. Results of another category or of the excluded image
    are dropped; a query left with fewer than k is answered by the exact search instead. So patches
    of other categories are found only where the exact search finds them, and the number of results
    is the same; the only approximation is that a nearer patch may be missed.

    Args:
      features, categories, image_ids: see `ExactIndex`.
      settings: of partitioning and search.
      searcher: of `rgan_tf.adapters.scann`, over the rows whose category is not 0; built if None.

    Attributes:
      settings: may be replaced by others with the same number of leaves.
      exact: the index that answers where ScaNN finds too few.
      searcher: of `rgan_tf.adapters.scann`.
      fallback_queries: number of queries that fell back to the exact search so far.

    Raises:
      BadInput: see `ExactIndex`; or the bank has fewer rows than leaves, or ScaNN is not installed.
    """

    def __init__(
        self,
        features: np.ndarray,
        categories: np.ndarray,
        image_ids: np.ndarray,
        settings: ScannSettings,
        *,
        searcher: Any = None,
    ) -> None:
        self.settings = settings
        self.exact = ExactIndex(features, categories, image_ids)
        self.fallback_queries = 0
        self._features = self.exact.features
        self._categories = self.exact.categories
        self._image_ids = self.exact.image_ids
        self._rows = np.flatnonzero(self._categories != PADDING_CATEGORY)  # ScaNN row -> bank row
        if len(self._rows) < settings.leaves:
            raise BadInput(
                f"ScaNN index: the bank has {len(self._rows)} searchable patches, fewer than the "
                f"{settings.leaves} leaves asked for; use fewer, or the exact index"
            )
        # At most this many of a query's nearest drop out because they are of its own image.
        self._most_per_image = int(np.unique(self._image_ids, return_counts=True)[1].max())
        self.searcher = searcher or _build(self._features[self._rows], settings)

    def search(
        self, queries: np.ndarray, categories: np.ndarray, excluded_images: np.ndarray, k: int
    ) -> SearchResult:
        """See `CandidateIndex.search`; may rank equal distances differently from `ExactIndex`."""
        queries, categories, excluded = self.exact.check_queries(
            queries, categories, excluded_images, k
        )
        found = SearchResult.empty(len(queries), k)
        queried = np.flatnonzero(categories != PADDING_CATEGORY)
        for start in range(0, len(queried), _QUERIES_AT_ONCE):
            part = queried[start : start + _QUERIES_AT_ONCE]
            self._search_block(part, queries[part], categories[part], excluded[part], k, found)
        short = queried[~found.valid[queried].all(axis=1)]
        if len(short):
            self.fallback_queries += len(short)
            exact = self.exact.search(queries[short], categories[short], excluded[short], k)
            for column, exact_column in zip(found, exact, strict=True):
                column[short] = exact_column
        return found

    def _search_block(self, part, queries, categories, excluded, k, found) -> None:
        wanted = min(k + self._most_per_image, len(self._rows))
        with tf.device(SEARCH_DEVICE):
            rows = self.searcher.search(
                tf.constant(queries),
                neighbours=wanted,
                leaves_to_search=self.settings.leaves_to_search,
            ).numpy()  # [Q, n]
        ids = self._rows[np.maximum(rows, 0)]  # [Q, n] rows of the bank
        same = (self._categories[ids] == categories[:, None]) | (categories == ANY_CATEGORY)[
            :, None
        ]
        valid = (rows >= 0) & same & (self._image_ids[ids] != excluded[:, None])  # [Q, n]
        difference = self._features[ids] - queries[:, None]  # [Q, n, D]
        distances = np.sqrt(np.einsum("qnd,qnd->qn", difference, difference))  # [Q, n]
        distances = np.where(valid, distances, np.inf)  # [Q, n]
        best = np.lexsort((ids, distances), axis=1)[:, :k]  # [Q, min(k, n)]
        columns = slice(best.shape[1])
        found.valid[part, columns] = np.take_along_axis(valid, best, axis=1)
        found.distances[part, columns] = np.take_along_axis(distances, best, axis=1)
        found.ids[part, columns] = np.where(
            found.valid[part, columns], np.take_along_axis(ids, best, axis=1), -1
        )

    def save(self, folder: str | Path, *, notes: dict[str, Any] | None = None) -> None:
        """Writes the index, without features, categories and images.

        Args:
          folder: must not exist.
          notes: stored in the manifest, e.g. the tuner's report.

        Raises:
          BadInput: if the folder exists.
        """
        with atomic_folder(folder) as partial:
            files = {}
            for number, tensor in enumerate(self.searcher.tensors()):
                if _is_features(tensor, self._features[self._rows]):
                    continue
                name = f"part_{number}.{'bin' if tensor.dtype == object else 'npy'}"
                if tensor.dtype == object:  # one string, in an array of rank 0 or 1
                    (partial / name).write_bytes(tensor.item())
                else:
                    np.save(partial / name, tensor, allow_pickle=False)
                files[name] = {
                    **describe_files(partial, [name])[name],
                    "shape": list(tensor.shape),
                }
            content = {
                "settings": dataclasses.asdict(self.settings),
                "bank_sha256": _fingerprint(self._features, self._categories),
                "files": files,
                "notes": notes or {},
            }
            INDEX.write(partial, content)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        features: np.ndarray,
        categories: np.ndarray,
        image_ids: np.ndarray,
    ) -> ScannIndex:
        """Opens a folder written by `save`.

        Args:
          folder: of the index.
          features, categories, image_ids: those of which the index was built.

        Raises:
          BadInput: if it is not an index, or is of another version or other features.
          CorruptData: if a file is missing or damaged; names it.
        """
        from rgan_tf.adapters.scann import ScannSearcher

        manifest = INDEX.open(folder)
        features = checked_matrix(features, "bank features")
        categories = checked_integers(categories, len(features), "bank categories")
        if manifest.content["bank_sha256"] != _fingerprint(features, categories):
            raise BadInput(f"{folder}: the index of another bank or encoder; build it again")
        settings = ScannSettings(**manifest.content["settings"])
        searchable = features[categories != PADDING_CATEGORY]
        searcher = ScannSearcher.from_tensors(_read_parts(manifest, searchable))
        return cls(features, categories, image_ids, settings, searcher=searcher)


def _build(features: np.ndarray, settings: ScannSettings):
    from rgan_tf.adapters.scann import build_searcher

    return build_searcher(features, leaves=settings.leaves)


def _is_features(tensor: np.ndarray, features: np.ndarray) -> bool:
    """Whether a tensor of ScaNN's state is the bank itself, which is not stored again."""
    return tensor.dtype == np.float32 and tensor.shape == features.shape


def _fingerprint(features: np.ndarray, categories: np.ndarray) -> str:
    digest = hashlib.sha256(str(features.shape).encode())
    digest.update(np.ascontiguousarray(features, np.float32))
    digest.update(np.ascontiguousarray(categories, np.int64))
    return digest.hexdigest()


def _read_parts(manifest: Manifest, features: np.ndarray) -> list[np.ndarray]:
    """ScaNN's tensors in order; the bank takes the place of the one that was left out."""
    manifest.check_files(verify=True)
    parts: dict[int, np.ndarray] = {}
    for name, entry in manifest.content["files"].items():
        path = manifest.folder / name
        number = int(path.stem.removeprefix("part_"))
        if path.suffix == ".bin":
            if entry.get("shape") not in ([], [1]):  # `save` wrote one string
                raise manifest.damaged(f"wrong shape of {name}")
            parts[number] = np.full(entry["shape"], path.read_bytes(), object)
        else:
            parts[number] = np.load(path, allow_pickle=False)
    return [parts.get(number, features) for number in range(max(parts) + 2)]
