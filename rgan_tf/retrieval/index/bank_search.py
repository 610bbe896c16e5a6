"""Graph features and index of a bank under one encoder, kept in the bank's folder.

    BANK/search/<encoder>/manifest.json     bank, encoder and sizes; the tuner's report
    BANK/search/<encoder>/features.npy      float16 [N, W]
    BANK/search/<encoder>/scann-<K>/        the ScaNN index, if one was tuned

All of it is derived: it can be deleted, and is remade when the bank changes.
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.bank.derived import AGAIN, DERIVED, DerivedFolder, Progress, derived_kind
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.config import Config
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.retrieval.index.exact import CandidateIndex, ExactIndex
from rgan_tf.retrieval.index.graph_features import ReadsGraphs, graph_features
from rgan_tf.retrieval.index.scann_index import INDEX, ScannIndex
from rgan_tf.retrieval.index.tuning import LARGE_BANK, takes_scann, tune_scann

_FOLDER = derived_kind("rgan_bank_search", "the graph features of a bank")
_REPORTED = ("recall_asked", "reached", "pays", "recall")


class BankSearch:
    """A bank's graph features and index, read from the bank's folder or made and stored there.

    If the folder is not writable, they are kept in memory and a line reports it.

    Args:
      bank: has the vocabulary of the networks.
      networks: stage-1 networks.
      encoder: sha256 of their weights; None keeps nothing on disk.
      config: sizes of a graph.
      progress: called with a line about each slow operation; None logs it.

    Attributes:
      features: [N, W] float16 graph features.
    """

    def __init__(
        self,
        bank: PatchBank,
        networks: ReadsGraphs,
        encoder: str | None,
        config: Config,
        progress: Progress | None = None,
    ):
        self._bank = bank
        self._progress = progress or logging.getLogger(__name__).info
        self._folder = bank.folder / DERIVED / encoder[:16] if encoder else None
        identity = {
            "bank": bank.fingerprint,
            "encoder": encoder,
            "max_objects": config.data.max_objects,
            "max_triples": config.data.max_triples,
            "width": config.graph.width,
        }
        self._derived = DerivedFolder(self._folder, _FOLDER, identity, progress)
        self._latest: tuple[int, ScannIndex] | None = None
        self.features = self._derived.array(
            (len(bank), config.graph.width), lambda: graph_features(networks, bank, config)
        )

    def index(self, kind: str, *, k: int, recall: float = 0.99) -> CandidateIndex:
        """The index of the bank; reuses a tuned one.

        Args:
          kind: "exact"; "scann"; or "auto", which takes ScaNN for a bank of 50,000 rows and more
            if it reaches the recall and is faster than the exact search on this machine.
          k: candidates per query.
          recall: required of ScaNN.

        Raises:
          BadInput: if `kind` is "scann" and its recall is too low.
        """
        if kind == "exact" or (kind == "auto" and len(self._bank) < LARGE_BANK):
            return ExactIndex(*self._arrays())
        report = self._tuned(k)
        if report is None or report["recall_asked"] < recall:
            report = self.tune(k=k, recall=recall)
        uses_scann = takes_scann(kind, report, recall, progress=self._progress)
        return self._open_index(k) if uses_scann else ExactIndex(*self._arrays())

    def tune(self, *, k: int, recall: float) -> dict[str, Any]:
        """Tunes ScaNN again, stores it with the bank and returns the report.

        Raises:
          BadInput: if a number is out of range, or ScaNN is not installed.
        """
        self._progress(f"tuning an index of {len(self._bank)} patches")
        tuning = tune_scann(*self._arrays(), k=k, recall=recall, progress=self._progress)
        report = {**tuning.report(), "k": k, "recall_asked": recall}
        self._latest = (k, tuning.index)
        if self._folder is not None:
            with self._derived.tolerant():
                shutil.rmtree(self._index_folder(k), ignore_errors=True)
                tuning.index.save(self._index_folder(k), notes=report)
        return report

    def _arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        categories, images = (
            np.asarray(a) for a in (self._bank.category_ids, self._bank.image_ids)
        )
        return self.features, categories, images

    def _index_folder(self, k: int) -> Path:
        return self._folder / f"scann-{k}"

    def _tuned(self, k: int) -> dict[str, Any] | None:
        if self._folder is None or not self._index_folder(k).is_dir():
            return None
        try:
            index = ScannIndex.load(self._index_folder(k), *self._arrays())
            report = INDEX.open(self._index_folder(k)).content["notes"]
            _check_report(report, self._index_folder(k))
        except (BadInput, CorruptData, OSError, TypeError) as error:
            self._progress(f"{error}; {AGAIN}")
            return None
        self._latest = (k, index)
        return report

    def _open_index(self, k: int) -> ScannIndex:
        if self._latest is None or self._latest[0] != k:
            raise RuntimeError(f"no index for {k} candidates was opened or made")
        return self._latest[1]


def _check_report(report: Any, folder: Path) -> None:
    """Refuses a tuner's report with missing keys, as of another version."""
    missing = [key for key in _REPORTED if not isinstance(report, dict) or key not in report]
    if missing:
        raise CorruptData(f"{folder}: its notes lack {missing[0]}")
