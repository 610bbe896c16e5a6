"""The single measurements of `rgan bench retrieval`, each for its own process."""

from __future__ import annotations

import contextlib
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.config import Config, RetrievalConfig
from rgan_tf.data.prepared import PreparedData
from rgan_tf.retrieval.cache import EmbeddingCache
from rgan_tf.retrieval.cached import CachedRetriever
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.patches import mix_patches
from rgan_tf.retrieval.selector import GroupRetrieval
from rgan_tf.vocabulary import Vocabulary
from training.api import check_data_fits
from training.bench.joint_step import build_joint_step, random_table
from training.bench.memory import peak_of
from training.bench.retrieval_process import BATCH, CROP, FEATURES, OBJECTS, SIZES
from training.configuration import named_config

BANK_ROWS = 8192


def layer_case(layer: str, candidates: int, work: str, repetitions: int) -> dict[str, float]:
    """One retrieval layer on a bank of random patches.

    Args:
      layer: "naive" embeds and mixes every candidate, "ours" is that of training.
      candidates: K.
      work: "forward" or "forward_backward"; the latter includes refreshing the cache.
      repetitions: timed runs after the first, whose memory is measured.
    """
    settings = RetrievalConfig(candidates=candidates, embedding_sizes=SIZES)
    embedding = PatchEmbedding(sizes=SIZES)
    embedding(tf.zeros([1, FEATURES]))
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory(prefix="rgan-bench-") as folder:
        bank = random_bank(Path(folder) / "bank", rng)
        reader = PatchReader(bank, np.zeros([BANK_ROWS, 1], np.float32), crop_size=CROP)
        rows = np.array([rng.permutation(BANK_ROWS)[:candidates] for _ in range(BATCH * OBJECTS)])
        ids = tf.constant(rows.reshape(BATCH, OBJECTS, candidates), tf.int32)
        valid = tf.fill(ids.shape, True)
        seeds = tf.random.stateless_uniform([BATCH, 2], [1, 2], None, None, tf.int32)
        target = tf.random.stateless_normal([BATCH, OBJECTS, CROP, CROP, 3], [3, 4])
        if layer == "naive":  # everything is a tensor
            all_features = tf.constant(bank.features_at(np.arange(BANK_ROWS)))
            all_crops = tf.constant(np.asarray(bank.crops))
        retrieval = cache = None
        if layer == "ours" and candidates > settings.exact_candidates:
            cache = EmbeddingCache(
                rows=BANK_ROWS, width=SIZES[-1], max_age_steps=settings.cache_max_age_steps
            )
            retrieval = CachedRetriever(Config(retrieval=settings), embedding, cache, reader)
            retrieval.start()

        def crops() -> tf.Tensor:
            if retrieval is not None:
                found = retrieval.select(ids, valid, cache.lookup(ids), seeds, temperature=1.0)
                return mix_patches(found.selection.weights, reader.crops(found.ids))
            if layer == "ours":
                features, candidate_crops = reader.features(ids), reader.crops(ids)
            else:
                features, candidate_crops = tf.gather(all_features, ids), tf.gather(all_crops, ids)
            embedded = embedding(features)  # [B, O, K, D]
            selection = GroupRetrieval()(embedded, valid, seeds, scale=embedding.scale)
            if layer == "ours":
                return mix_patches(selection.weights, candidate_crops)
            pixels = tf.cast(candidate_crops, tf.float32)  # [B, O, K, h, w, 3]
            flat = tf.reshape(pixels, [BATCH * OBJECTS, candidates, CROP * CROP * 3])
            weights = tf.reshape(selection.weights, [BATCH * OBJECTS, 1, candidates])
            mixed = tf.reshape(tf.matmul(weights, flat), [BATCH, OBJECTS, CROP, CROP, 3])
            return mixed / 127.5 - 1.0

        @tf.function
        def forward() -> tf.Tensor:
            return crops()

        @tf.function
        def forward_backward(step: tf.Tensor) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(crops() * target)
            gradients = tape.gradient(loss, embedding.trainable_variables)
            if retrieval is not None:
                retrieval.finish_step(step)
            return gradients

        # The memory of the bank and of TensorFlow is allocated before.
        reader.features(ids[:1, :1, :1]), reader.crops(ids[:1, :1, :1])
        run = forward if work == "forward" else lambda: forward_backward(tf.constant(0))
        peak = peak_of(run)
        return {
            f"{work}_seconds": round(_median_seconds(run, repetitions), 4),
            f"{work}_peak_mb": round(peak, 1),
        }


def step_times_case(
    data: str, config: str, weights_dir: str | None, candidates: list[int], steps: int
) -> dict[str, Any]:
    """Seconds of the joint step for each K, alternating; `ratio` is the last over the first."""
    works = [_joint_step(data, config, weights_dir, number) for number in candidates]
    for work in works:
        for _ in range(3):
            work()
    seconds = [[_seconds(work) for work in works] for _ in range(steps)]
    ratio = statistics.median(turn[-1] / turn[0] for turn in seconds)
    medians = [round(statistics.median(column), 4) for column in zip(*seconds, strict=True)]
    return {"seconds": medians, "ratio": round(ratio, 3)}


def step_memory_case(
    data: str, config: str, weights_dir: str | None, candidates: int
) -> dict[str, float]:
    """Peak of building the model and of three joint steps, above the opened data."""
    opened = PreparedData.open(data)
    bank, crop_size = opened.bank, _config(config, candidates).data.crop_size
    bank.features_at([0]), bank.crops_at([0], crop_size), tf.zeros([1]) + 1

    def work() -> None:
        step = _joint_step(opened, config, weights_dir, candidates)
        for _ in range(3):
            step()

    return {"peak_mb": round(peak_of(work), 1)}


def random_bank(folder: Path, rng):
    """A bank of random patches with the sizes of the benchmark."""
    shape = {"crop_size": CROP, "feature_size": FEATURES}
    vocabulary = Vocabulary.from_categories(["thing"])
    with PatchBankWriter(folder, **shape, backbone="random", vocabulary=vocabulary) as writer:
        for start in range(0, BANK_ROWS, 1024):
            writer.append(
                rng.integers(0, 256, [1024, CROP, CROP, 3], np.uint8),
                rng.normal(size=[1024, FEATURES]).astype(np.float32),
                [{"category_id": 2, "image_id": start + row, "style": ""} for row in range(1024)],
            )
    return PatchBank.open(folder)


def _joint_step(data, config_name: str, weights_dir: str | None, candidates: int):
    opened = data if isinstance(data, PreparedData) else PreparedData.open(data)
    config = _config(config_name, candidates)
    check_data_fits(config, opened)
    table = random_table(config, opened)
    _, batches, step = build_joint_step(config, opened, table, weights_dir=weights_dir)
    return lambda: step(next(batches))["loss/generator"].numpy()


def _config(name: str, candidates: int) -> Config:
    return named_config(name, [f"retrieval.candidates={candidates}"])


def _median_seconds(work, repetitions: int) -> float:
    return statistics.median(_seconds(work) for _ in range(repetitions))


def _seconds(work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


CASES = {"layer": layer_case, "step_times": step_times_case, "step_memory": step_memory_case}

if __name__ == "__main__":
    # If memory runs out, the system should kill this process and no other.
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    case, options, path = sys.argv[1:]
    Path(path).write_text(json.dumps(CASES[case](**json.loads(options))))
