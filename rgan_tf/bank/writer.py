"""Writes a patch bank row by row."""

from __future__ import annotations

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.bank.format import (
    BANK,
    COLUMNS,
    CROPS,
    FEATURES,
    FILES,
    GRAPH_ENDS,
    GRAPH_OBJECTS,
    GRAPH_TRIPLES,
    MANIFEST,
    TABLE,
    VOCABULARY,
)
from rgan_tf.bank.graphs import BankGraph
from rgan_tf.bank.growing_array import GrowingArray
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.storage.files import write_json_atomic
from rgan_tf.storage.manifest import describe_files
from rgan_tf.vocabulary import Vocabulary


class PatchBankWriter:
    """Appends graphs and patches; `close` completes the bank.

    Args:
      folder: created if missing; not a bank until `close` writes the manifest.
      crop_size: S in px.
      feature_size: Dx.
      backbone: name of the network that made the features, recorded in the manifest.
      vocabulary: names of the category ids.

    Raises:
      FileExistsError: if the folder is a bank already.
    """

    def __init__(
        self,
        folder: Path,
        *,
        crop_size: int,
        feature_size: int,
        backbone: str,
        vocabulary: Vocabulary,
    ):
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / MANIFEST).exists():
            raise FileExistsError(errno.EEXIST, "is a bank already", str(folder))
        self._folder = folder
        self._crop_size = crop_size
        self._feature_size = feature_size
        self._backbone = backbone
        self._vocabulary = vocabulary
        shapes = {
            CROPS: (np.uint8, (crop_size, crop_size, 3)),
            FEATURES: (np.float16, (feature_size,)),
            COLUMNS: (np.int64, (5,)),
            GRAPH_OBJECTS: (np.int32, ()),
            GRAPH_TRIPLES: (np.int32, (3,)),
            GRAPH_ENDS: (np.int64, (2,)),
        }
        self._arrays: dict[str, GrowingArray] = {}
        try:
            for name, (dtype, shape) in shapes.items():
                self._arrays[name] = GrowingArray(folder / name, dtype, shape)
            self._table = open(folder / TABLE, "wb")
        except BaseException:
            self._abandon_arrays()
            raise

    def __enter__(self) -> PatchBankWriter:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        if kind is None:
            self.close()
            return
        self._abandon_arrays()
        with contextlib.suppress(OSError):  # a full disk refuses the buffered rest
            self._table.close()

    def _abandon_arrays(self) -> None:
        for array in self._arrays.values():
            array.abandon()

    @property
    def rows(self) -> int:
        """Patches so far."""
        return self._arrays[COLUMNS].rows

    def add_graph(self, graph: BankGraph) -> int:
        """Adds a graph and returns its number, which patches refer to."""
        self._arrays[GRAPH_OBJECTS].append(np.asarray(graph.objects))
        self._arrays[GRAPH_TRIPLES].append(np.asarray(graph.triples).reshape(-1, 3))
        ends = [self._arrays[GRAPH_OBJECTS].rows, self._arrays[GRAPH_TRIPLES].rows]
        self._arrays[GRAPH_ENDS].append(np.array([ends]))
        return self._arrays[GRAPH_ENDS].rows - 1

    def append(
        self,
        crops: np.ndarray,
        features: np.ndarray,
        rows: list[dict[str, Any]],
        places: list[tuple[int, int]] | None = None,
    ) -> None:
        """Adds patches.

        Args:
          crops: uint8 [n, S, S, 3].
          features: float [n, Dx].
          rows: n provenance dicts with at least category_id and image_id.
          places: n pairs (graph number, position in it); None gives each patch a graph with nothing
            else in it.

        Raises:
          ValueError: if shapes disagree or a feature is not finite.
        """
        count = len(rows)
        expected = (count, self._crop_size, self._crop_size, 3)
        if crops.shape != expected or crops.dtype != np.uint8:
            raise ValueError(f"crops must be uint8 {expected}, got {crops.dtype} {crops.shape}")
        if features.shape != (count, self._feature_size):
            raise ValueError(f"features must be {(count, self._feature_size)}: {features.shape}")
        if not np.isfinite(features).all():
            raise ValueError(f"the features of backbone {self._backbone} are not finite")
        if places is None:
            places = [(self.add_graph(_single_object_graph(row["category_id"])), 0) for row in rows]
        largest = np.finfo(np.float16).max
        self._arrays[CROPS].append(crops)
        self._arrays[FEATURES].append(np.clip(features, -largest, largest))
        columns = np.zeros([count, 5], np.int64)
        for index, (row, place) in enumerate(zip(rows, places, strict=True)):
            columns[index] = (row["category_id"], row["image_id"], self._table.tell(), *place)
            self._table.write(json.dumps(row, ensure_ascii=False).encode() + b"\n")
        self._arrays[COLUMNS].append(columns)

    def extend(self, bank: PatchBank) -> None:
        """Adds all graphs and patches of a bank, in their order.

        Args:
          bank: of the same sizes, small enough for memory.
        """
        first = self._arrays[GRAPH_ENDS].rows
        for graph in bank.graphs:
            self.add_graph(graph)
        numbers = (bank.graph_ids + first).tolist()
        places = list(zip(numbers, bank.graph_positions.tolist(), strict=True))
        self.append(np.asarray(bank.crops), np.asarray(bank.features), list(bank.rows), places)

    def close(self) -> dict[str, Any]:
        """Writes the final headers, vocabulary and manifest; returns the manifest."""
        self._table.flush()
        os.fsync(self._table.fileno())
        self._table.close()
        for array in self._arrays.values():
            array.close()
        write_json_atomic(self._folder / VOCABULARY, self._vocabulary.to_json())
        content = {
            "rows": self.rows,
            "graphs": self._arrays[GRAPH_ENDS].rows,
            "crop_size": self._crop_size,
            "feature_size": self._feature_size,
            "backbone": self._backbone,
            "vocabulary_sha256": self._vocabulary.sha256(),
            "files": describe_files(self._folder, FILES),
        }
        return BANK.write(self._folder, content)


def _single_object_graph(category_id: int) -> BankGraph:
    return BankGraph(np.array([category_id], np.int32), np.zeros([0, 3], np.int32))
