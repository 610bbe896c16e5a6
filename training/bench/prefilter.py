"""`rgan bench prefilter`: the exact search and ScaNN on a bank of any size."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.arguments import check_least
from rgan_tf.errors import BadInput

_BATCH = 64


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument(
        "--rows",
        type=int,
        help="number of patches of a synthetic bank, such as 606319; give this or --run",
    )
    parser.add_argument(
        "--run", help="trained run whose graph features fill the bank; give this or --rows"
    )
    parser.add_argument(
        "--data", help="with --run: folder made by `rgan prepare` (that of the run)"
    )
    parser.add_argument(
        "--width", type=int, default=128, help="with --rows: number of values of a feature (128)"
    )
    parser.add_argument(
        "--categories", type=int, default=178, help="with --rows: number of categories (178)"
    )
    parser.add_argument(
        "--candidates", type=int, default=32, help="number of patches per query, K (32)"
    )
    parser.add_argument(
        "--recall",
        type=float,
        default=0.99,
        help="share of the nearest patches that the tuner must reach (0.99)",
    )
    parser.add_argument(
        "--queries",
        type=int,
        default=1024,
        help="number of queries that the recall is measured on (1024)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="seed of the synthetic bank, the queries and the tuner (0)",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Builds, tunes and times both indices.

    The exact search is that of an exported model: in a graph, over the whole bank. The one of
    training, which keeps each category's features together, is timed as `exact_in_training`.

    Returns:
      `rows`, `recall_at_K` on queries that the tuner has not seen, `speedup_batch64` (exact over
      ScaNN), `build_seconds` (of ScaNN alone), `tuning_seconds`, medians of the search times in
      milliseconds, `scann_resident_mb`, the tuner's `settings` and `fallback_share` (queries that
      the exact search had to answer); for synthetic banks also `open_seconds` and
      `open_resident_mb` of a patch bank of that size in a fresh process.

    Raises:
      BadInput: for an empty bank, or without either --rows or --run.
    """
    import time

    import numpy as np

    from rgan_tf.progress import note
    from rgan_tf.retrieval.index.scann_index import ScannIndex
    from rgan_tf.retrieval.index.tuning import check_recall, recall_of, tune_scann
    from training.bench.memory import resident_mb
    from training.bench.search_speed import (
        alternating,
        bank_of,
        opening,
        search_in_graph,
        synthetic_bank,
    )
    from training.evaluation.inputs import check_seed

    check_least(args, 1, "rows", "candidates", "queries", "width", "categories")
    check_recall(args.recall)
    check_seed(args.seed)
    if (args.rows is None) == (args.run is None):
        raise BadInput("give either --rows or --run")
    if args.run:
        bank = bank_of(args.run, args.data)
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
        progress=note,
    )
    tuning_seconds = time.perf_counter() - start
    settings = tuning.index.settings
    before, start = resident_mb(), time.perf_counter()
    index = ScannIndex(*bank, settings)
    build_seconds, resident = time.perf_counter() - start, resident_mb() - before

    rng = np.random.default_rng([args.seed, 1])
    searchable = np.flatnonzero(index.exact.categories != 0)
    rows = rng.choice(searchable, args.queries)
    test_queries = tuple(part[rows] for part in index.exact.bank)
    truth = index.exact.search(*test_queries, k)
    recall = recall_of(index.search(*test_queries, k), truth)
    fallback = index.fallback_queries / args.queries
    in_graph = search_in_graph(index.exact.bank, k)
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
        "exact_in_training_batch64_ms": round(tuning.exact_seconds * 1e3, 2),
    }
    for name, count in (("single", 1), (f"batch{_BATCH}", _BATCH)):
        exact, scann = alternating(in_graph, lambda *a: index.search(*a, k), test_queries, count)
        result[f"exact_{name}_ms"] = round(exact * 1e3, 2)
        result[f"scann_{name}_ms"] = round(scann * 1e3, 2)
        result[f"speedup_{name}"] = round(exact / scann, 2)
    return result if args.run else {**result, **opening(bank, args.width)}
