"""`rgan compare`: systems under one budget and one judge, as one table and one picture."""

from __future__ import annotations

import argparse
from typing import Any

from training.compare.entries import ABLATION, SYSTEMS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("configs", nargs="+", metavar="CONFIG", help="YAML files or shipped names")
    parser.add_argument("--data", required=True, help="folder made by `rgan prepare`")
    parser.add_argument("--out", required=True, help="folder of runs, table and picture; continued")
    parser.add_argument(
        "--systems",
        nargs="+",
        choices=(*SYSTEMS, *ABLATION),
        default=list(SYSTEMS),
        metavar="SYSTEM",
        help=f"rows per config: {', '.join((*SYSTEMS, *ABLATION))} (all but those without a loss)",
    )
    parser.add_argument(
        "--ablation",
        action="store_true",
        help="only retrievegan and the same without its retrieval losses (the paper's table 2)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="override one setting of every config; may be given several times",
    )
    parser.add_argument("--split", default="val", choices=("train", "val", "test"))
    parser.add_argument("--seed", type=int, default=0, help="of the evaluation")
    parser.add_argument("--resamples", type=int, default=20, help="as for `rgan eval` (20)")
    parser.add_argument(
        "--metric-backbone", default="mobilenet_v2", choices=("mobilenet_v2", "inception_v3")
    )
    parser.add_argument("--weights-dir", help="folder with backbone weight files")
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="only say what would be trained, with which settings, and how long it may take where "
        "runs of --out show how fast it goes; writes nothing",
    )


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Trains and evaluates what is missing; writes table.md, comparison.json, comparison.png."""
    from pathlib import Path

    from rgan_tf.backbones import load_backbone
    from rgan_tf.config import load_config
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.errors import BadInput
    from rgan_tf.storage.files import write_bytes_atomic, write_json_atomic
    from rgan_tf.storage.image import encode_png
    from training.compare.entries import entries_of
    from training.compare.picture import comparison_picture
    from training.compare.steps import Steps
    from training.compare.table import markdown, rows_of
    from training.evaluation.inputs import check_resamples, check_seed, check_split
    from training.train import check_data_fits, config_path

    check_seed(args.seed)
    check_resamples(args.resamples)
    systems = ["retrievegan", *ABLATION] if args.ablation else list(dict.fromkeys(args.systems))
    configs = {name: load_config(config_path(name), args.overrides) for name in args.configs}
    entries = entries_of(configs, systems)
    data = PreparedData.open(args.data)
    check_split(data, args.split)
    out = Path(args.out)
    if out.exists() and not out.is_dir():
        raise BadInput(f"--out {out}: is a file; name a folder")

    # What cannot be done is said before hours of training.
    for entry in entries:
        own = [*args.overrides, *entry.settings]
        check_data_fits(load_config(config_path(entry.config), own), data)
    for name, config in configs.items():
        if config.retrieval.choice != "learned":
            raise BadInput(
                f"{name}: has retrieval.choice={config.retrieval.choice}; the systems that are "
                "compared say how patches are chosen, so leave it out"
            )
    if args.dry_run:
        return _dry_run(args, entries, out)
    backbone_weights = load_backbone(args.metric_backbone, args.weights_dir).weights_sha256

    steps = Steps(out, args.data, args.overrides, weights_dir=args.weights_dir, count=len(entries))
    for entry in entries:
        steps.train(entry)
    evaluations = {
        entry.name: steps.evaluate(
            entry,
            data.fingerprint,
            split=args.split,
            seed=args.seed,
            resamples=args.resamples,
            backbone=args.metric_backbone,
            backbone_weights=backbone_weights,
        )
        for entry in entries
    }
    rows = rows_of(entries, {name: found.metrics for name, found in evaluations.items()})
    trained = {entry.name: steps.steps(entry) for entry in entries}
    text = markdown(rows, split=args.split, steps=trained)
    picture = comparison_picture(
        entries, evaluations, data, args.split, next(iter(configs.values()))
    )
    write_bytes_atomic(out / "table.md", text.encode())
    write_bytes_atomic(out / "comparison.png", encode_png(picture))
    result = {
        "table": str(out / "table.md"),
        "picture": str(out / "comparison.png"),
        "rows": rows,
    }
    write_json_atomic(
        out / "comparison.json",
        {
            **result,
            "metrics": {name: found.metrics for name, found in evaluations.items()},
        },
    )
    return result


def _dry_run(args: argparse.Namespace, entries, out) -> dict[str, Any]:
    import sys

    from training.compare.plan import plan, plan_lines

    runs = plan(entries, args.overrides, out / "runs")
    for line in plan_lines(runs):
        print(line, file=sys.stderr)
    seconds = [run["seconds"] for run in runs]
    return {
        "out": str(out),
        "data": args.data,
        "runs": runs,
        "rows": {entry.name: entry.run for entry in entries},
        "seconds": None if None in seconds else round(sum(seconds), 1),
    }
