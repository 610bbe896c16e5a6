"""Banks for search benchmarks, and the times of searches."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.model.networks import build_sg2im_networks
from rgan_tf.retrieval.index.exact import exact_search
from rgan_tf.retrieval.index.graph_features import graph_features
from rgan_tf.runs import load_weights, open_run
from rgan_tf.vocabulary import Vocabulary
from training.evaluation.inputs import open_data_of

PATCHES_PER_IMAGE = 5.55  # of COCO, Table 3 of the paper
_REPETITIONS = 9


def synthetic_bank(rows: int, width: int, categories: int, seed: int):
    """Features distributed like graph features, with categories and image ids.

    On a trained `procedural_64` the categories' means deviate 1.8 times as much as the features
    within a category, and half of the variance within lies in one direction, four fifths in eight:
    a power law. Category sizes vary as in COCO.

    Returns:
      features [rows, width] float32, categories [rows] int64 from 1, image ids [rows] int64.
    """
    rng = np.random.default_rng(seed)
    sizes = np.exp(rng.normal(size=categories))
    # At least one of each category.
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


def bank_of(run_name: str, data_folder: str | None):
    run = open_run(run_name)
    data = open_data_of(run, run_name, data_folder)
    sg2im = build_sg2im_networks(run.config, run.vocabulary)
    load_weights(run, "sg2im", sg2im)
    features = graph_features(sg2im, data.bank, run.config)
    return features, data.bank.category_ids, data.bank.image_ids


def search_in_graph(bank, k: int):
    """The search as run by an exported model."""
    constants = [tf.constant(part) for part in bank]
    search = tf.function(lambda *queries: exact_search(*queries, *constants, k=k))

    def run(*queries):
        return [part.numpy() for part in search(*map(tf.constant, queries))]

    return run


def alternating(first, second, test_queries, count: int) -> tuple[float, float]:
    """Median seconds of both, alternating on the same batches."""
    times: tuple[list[float], list[float]] = ([], [])
    for repetition in range(-1, _REPETITIONS):  # the first one traces and does not count
        begin = max(repetition, 0) * count % max(1, len(test_queries[0]) - count + 1)
        batch = [part[begin : begin + count] for part in test_queries]
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


def opening(bank, width: int) -> dict[str, float]:
    """Writes a patch bank with these categories and images, and opens it in a fresh process."""
    features, categories, images = bank
    names = [f"category {number}" for number in range(int(categories.max()))]
    vocabulary = Vocabulary.from_categories(names)
    with tempfile.TemporaryDirectory(prefix="rgan-bench-") as folder:
        path, block = Path(folder) / "bank", 65536
        # Small crops: they are only mapped, so their size does not matter.
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
