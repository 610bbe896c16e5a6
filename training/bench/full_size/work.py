"""The parts of `rgan bench full-size` that no command does alone; each in a process of its own."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.data.prepared import PreparedData
from rgan_tf.progress import note, progress_bar
from rgan_tf.retrieval.index.bank_search import BankSearch
from rgan_tf.retrieval.index.exact import ExactIndex
from rgan_tf.runs import open_run
from training.bench.full_size.coco import write_coco
from training.bench.full_size.genome import write_genome
from training.bench.full_size.patches import write_patches
from training.bench.joint_step import training_batches
from training.first_stages import load_first_stages

_WRITERS = {"coco": write_coco, "vg": write_genome}
_QUERIES = 89  # objects of a batch of 16 scenes
_SEARCHES = 5  # timed after the first


def make(kind: str, out: str, scale: str, seed: str) -> dict[str, Any]:
    """Writes a data set, and some patches to add to its bank later."""
    folder = Path(out)
    files = _WRITERS[kind](folder / "source", float(scale), int(seed))
    added = write_patches(folder / "added", float(scale), int(seed))
    return {"bytes": files, "added_patches": added}


def search(run: str, folder: str) -> dict[str, Any]:
    """Times the exact search of the whole bank for the objects of a batch."""
    opened, data = open_run(run), PreparedData.open(folder)
    stages = load_first_stages(opened)
    bank = data.bank
    begun = time.perf_counter()
    graphs = BankSearch(bank, stages.sg2im, stages.encoder, opened.config, progress=note)
    features = graphs.features
    embedded = time.perf_counter() - begun
    index = ExactIndex(features, bank.category_ids, bank.image_ids)
    k = opened.config.retrieval.candidates
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(1 + _SEARCHES):
        rows = np.sort(rng.choice(len(bank), min(_QUERIES, len(bank)), replace=False))
        begun = time.perf_counter()
        index.search(features[rows], bank.category_ids[rows], bank.image_ids[rows], k)
        seconds.append(time.perf_counter() - begun)
    return {
        "patches": len(bank),
        "features_seconds": round(embedded, 2),
        "first_search_seconds": round(seconds[0], 3),
        "later_search_seconds": round(float(np.median(seconds[1:])), 3),
    }


def epoch(run: str, folder: str) -> dict[str, Any]:
    """Reads every training scene once as the joint stage would, with its candidates."""
    opened, data = open_run(run), PreparedData.open(folder)
    config = opened.config
    begun = time.perf_counter()
    table = load_first_stages(opened).candidates(config, data, {"train"}, progress=note)["train"]
    found = time.perf_counter() - begun
    begun = time.perf_counter()
    batches = training_batches(config, data, table, repeat=False, shuffle=True)
    opening = time.perf_counter() - begun
    scenes = 0
    begun = time.perf_counter()
    with progress_bar("scenes", data.record_count("train")) as bar:
        for batch in batches:
            scenes += len(batch["image_id"])
            bar.update(len(batch["image_id"]))
    seconds = time.perf_counter() - begun
    return {
        "scenes": scenes,
        "index": type(table.index).__name__,
        "index_seconds": round(found, 1),
        "opening_seconds": round(opening, 1),
        "epoch_seconds": round(seconds, 1),
        "scenes_per_second": round(scenes / seconds, 1),
    }


TASKS: dict[str, Callable[..., dict[str, Any]]] = {"make": make, "search": search, "epoch": epoch}

if __name__ == "__main__":
    sys.stdout.write(json.dumps(TASKS[sys.argv[1]](*sys.argv[2:])) + "\n")
