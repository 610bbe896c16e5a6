"""`rgan bench prefilter`: the exact search and ScaNN on a bank of any size."""

from __future__ import annotations

import argparse
from typing import Any

PATCHES_PER_IMAGE = 5.55  # of COCO, Table 3 of the paper
_BATCH = 64
_REPETITIONS = 9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--rows", type=int, help="of a synthetic bank, e.g. 606319")
    parser.add_argument("--run", help="instead: graph features of a trained run")
    parser.add_argument("--data", help="prepared folder, for --run; without it, the run's own")
    parser.add_argument("--width", type=int, default=128, help="of synthetic features")
    parser.add_argument("--categories", type=int, default=178, help="of a synthetic bank")
    parser.add_argument("--candidates", type=int, default=32, help="K")
    parser.add_argument("--recall", type=float, default=0.99, help="that the tuner has to reach")
    parser.add_argument("--queries", type=int, default=1024, help="that the recall is measured on")
    parser.add_argument("--seed", type=int, default=0)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Builds, tunes and times both indices.

    The exact search is the one that an exported model runs: in a graph, over the whole bank.

    Returns:
      `rows`, `recall_at_K` on queries that the tuner has not seen, `speedup_batch64` (exact over
      ScaNN), `build_seconds` (of ScaNN alone), `tuning_seconds`, medians of the search times in
      milliseconds, `scann_resident_mb`, the tuner's `settings` and `fallback_share` (queries that
      the exact search had to answer); for synthetic banks also `open_seconds` and
      `open_resident_mb` of a patch bank of so many rows in a fresh process.

    Raises:
      BadInput: for a bank of no rows, or without either --rows or --run.
    """
    import sys
    import time

    import numpy as np

    from rgan_tf.errors import BadInput
    from rgan_tf.retrieval.index.scann_index import ScannIndex
    from rgan_tf.retrieval.index.tuning import recall_of, tune_scann
    from training.bench.memory import resident_mb

    if (args.rows is None) == (args.run is None):
        raise BadInput("rgan bench prefilter: give either --rows or --run")
    if min(args.candidates, args.queries, args.width, args.categories) < 1:
        raise BadInput("rgan bench prefilter: counts must be at least 1")
    if args.run:
        bank = _bank_of(args.run, args.data)
    elif args.rows < args.categories:
        raise BadInput(f"--rows {args.rows}: at least one per category ({args.categories})")
    else:
        bank = synthetic_bank(args.rows, args.width, args.categories, args.seed)

    k = args.candidates
    start = time.perf_counter()
    tuning = tune_scann(
        *bank,
        k=k,
        recall=args.recall,
        seed=args.seed,
        progress=lambda line: print(line, file=sys.stderr, flush=True),
    )
    tuning_seconds = time.perf_counter() - start
    settings = tuning.index.settings
    before, start = resident_mb(), time.perf_counter()
    index = ScannIndex(*bank, settings)
    build_seconds, resident = time.perf_counter() - start, resident_mb() - before

    rng = np.random.default_rng([args.seed, 1])
    searchable = np.flatnonzero(index.exact.categories != 0)
    rows = rng.choice(searchable, args.queries)
    asked = tuple(part[rows] for part in index.exact.bank)
    truth = index.exact.search(*asked, k)
    recall = recall_of(index.search(*asked, k), truth)
    fallback = index.fallback_queries / args.queries
    in_graph = _in_graph(index.exact.bank, k)
    result = {
        "rows": len(bank[0]),
        "candidates": k,
        f"recall_at_{k}": round(recall, 5),
        "speedup_batch64": None,
        "build_seconds": round(build_seconds, 2),
        "tuning_seconds": round(tuning_seconds, 2),
        "scann_resident_mb": resident,
        "settings": tuning.report()["settings"],
        "fallback_share": round(fallback, 5),
    }
    for name, count in (("single", 1), (f"batch{_BATCH}", _BATCH)):
        exact, scann = _alternating(in_graph, lambda *a: index.search(*a, k), asked, count)
        result[f"exact_{name}_ms"] = round(exact * 1e3, 2)
        result[f"scann_{name}_ms"] = round(scann * 1e3, 2)
        result[f"speedup_{name}"] = round(exact / scann, 2)
    return result if args.run else {**result, **_opening(bank, args.width)}


def synthetic_bank(rows: int, width: int, categories: int, seed: int):
    """Features shaped like graph features, with categories and image ids.

    On a trained `procedural_64` the categories' means deviate 1.8 times as much as the features
    within a category do, and half of the variance within lies in one direction, four fifths in
    eight: a power law. Categories differ in size as much as those of COCO.

    Returns:
      features [rows, width] float32, categories [rows] int64 from 1, image ids [rows] int64.
    """
    import numpy as np

    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(size=categories))
    # One of each, so that no category is empty.
    drawn = rng.choice(categories, rows - categories, p=sizes / sizes.sum())
    category = rng.permutation(np.concatenate([np.arange(categories), drawn]))
    spectrum = np.arange(1, width + 1) ** -0.9
    spectrum /= np.sqrt(np.mean(spectrum**2))
    directions = np.linalg.qr(rng.normal(size=(width, width)))[0]
    axes = (spectrum[:, None] * directions).astype(np.float32)
    means = (1.8 * rng.normal(size=(categories, width))).astype(np.float32)
    features = rng.standard_normal((rows, width), np.float32) @ axes + means[category]
    images = (np.arange(rows) / PATCHES_PER_IMAGE).astype(np.int64)
    return features, category.astype(np.int64) + 1, images


def _bank_of(run_name: str, data_folder: str | None):
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.model.networks import build_sg2im_networks
    from rgan_tf.retrieval.index.graph_features import graph_features
    from rgan_tf.runs import load_weights, open_run

    run = open_run(run_name)
    data = PreparedData.open(data_folder or run.data)
    data.check_vocabulary(run.vocabulary, f"run {run_name}")
    sg2im = build_sg2im_networks(run.config, run.vocabulary)
    load_weights(run, "sg2im", sg2im)
    features = graph_features(sg2im, data.bank, run.config)
    return features, data.bank.category_ids, data.bank.image_ids


def _in_graph(bank, k: int):
    """The search of an exported model."""
    import tensorflow as tf

    from rgan_tf.retrieval.index.exact import exact_search

    constants = [tf.constant(part) for part in bank]
    search = tf.function(lambda *queries: exact_search(*queries, *constants, k=k))

    def run(*queries):
        return [part.numpy() for part in search(*map(tf.constant, queries))]

    return run


def _alternating(first, second, asked, count: int) -> tuple[float, float]:
    """Median seconds of both, on the same batches in turn."""
    import statistics
    import time

    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(-1, _REPETITIONS):  # the first one traces and is not counted
        begin = max(repetition, 0) * count % max(1, len(asked[0]) - count + 1)
        batch = [part[begin : begin + count] for part in asked]
        for work, measured in zip((first, second), times, strict=True):
            start = time.perf_counter()
            work(*batch)
            if repetition >= 0:
                measured.append(time.perf_counter() - start)
    return statistics.median(times[0]), statistics.median(times[1])


_OPEN = """
import json, sys, time
from rgan_tf.bank.patch_bank import PatchBank
from training.bench.memory import resident_mb
before, start = resident_mb(), time.perf_counter()
bank = PatchBank.open(sys.argv[1])
seconds = time.perf_counter() - start
bank.rows[len(bank) // 2]
print(json.dumps({"open_seconds": round(seconds, 4), "open_resident_mb": resident_mb() - before}))
"""


def _opening(bank, width: int) -> dict[str, float]:
    """Writes a patch bank with these categories and images, and opens it in a fresh process."""
    import json
    import subprocess
    import sys
    import tempfile
    from pathlib import Path

    import numpy as np

    from rgan_tf.bank.writer import PatchBankWriter
    from rgan_tf.vocabulary import Vocabulary

    features, categories, images = bank
    names = [f"category {number}" for number in range(int(categories.max()))]
    vocabulary = Vocabulary.from_categories(names)
    with tempfile.TemporaryDirectory(prefix="rgan-bench-") as folder:
        path, block = Path(folder) / "bank", 65536
        # Small crops: however large they are, they are only mapped.
        with PatchBankWriter(
            path, crop_size=16, feature_size=width, backbone="none", vocabulary=vocabulary
        ) as writer:
            for start in range(0, len(features), block):
                part = slice(start, start + block)
                rows = [
                    {"category_id": int(category), "image_id": int(image), "box": [0, 0, 1, 1]}
                    for category, image in zip(categories[part], images[part], strict=True)
                ]
                writer.append(np.zeros([len(rows), 16, 16, 3], np.uint8), features[part], rows)
        command = [sys.executable, "-c", _OPEN, str(path)]
        return json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
