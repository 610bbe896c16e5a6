"""`rgan eval`: what a run reaches, as one JSON, one metrics.jsonl line and pictures."""

from __future__ import annotations

import argparse
from typing import Any

TASKS = ("images", "diversity", "layout", "retrieval", "cooccurrence")
SYSTEMS = ("retrievegan", "sg2im", "pasted_canvas", "own_patches")
_BATCH_SIZE = 16
_PICTURE_SCENES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("--run", required=True, help="run folder or released:NAME")
    parser.add_argument("--data", help="prepared data; default: what the run was trained on")
    parser.add_argument("--split", default="val", choices=("train", "val", "test", "all"))
    parser.add_argument("--only", choices=TASKS, help="run one task only")
    parser.add_argument(
        "--system",
        action="append",
        choices=SYSTEMS,
        dest="systems",
        help="judge the images of this system only; may be given several times",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random retrieval")
    parser.add_argument(
        "--out", help="folder for metrics and pictures; the run folder, none for a released run"
    )
    parser.add_argument("--metric-backbone", default="mobilenet_v2", help="of the distances")
    parser.add_argument("--weights-dir", help="folder with backbone weight files")


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Evaluates one split, or every one of them with `--split all`."""
    from pathlib import Path

    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.errors import BadInput
    from rgan_tf.runs import RELEASED_PREFIX, open_run
    from training.evaluation.report import write_report
    from training.evaluation.run import evaluate_split

    if not 0 <= args.seed < 2**31:
        raise BadInput(f"--seed {args.seed}: must be at least 0 and below 2^31")
    if args.out and Path(args.out).exists() and not Path(args.out).is_dir():
        raise BadInput(f"--out {args.out}: is a file; name a folder")
    run = open_run(args.run)
    folder = args.data or run.data
    if folder is None:
        raise BadInput(f"--run {args.run}: holds no data; name a prepared folder with --data")
    data = PreparedData.open(folder)
    data.check_vocabulary(run.vocabulary, f"run {args.run}")
    data.check_config(run.config)
    if args.out:
        out = Path(args.out)
    elif args.run.startswith(RELEASED_PREFIX):
        out = None
    else:
        out = run.folder
    splits = ("train", "val", "test") if args.split == "all" else (args.split,)
    result: dict[str, Any] = {"run": args.run, "data": str(folder), "seed": args.seed}
    for split in splits:
        if not data.record_count(split):
            raise BadInput(f"--data {folder}: split {split} is empty; choose another")
        metrics, picture = evaluate_split(
            run,
            data,
            split,
            tasks=(args.only,) if args.only else TASKS,
            compared=tuple(args.systems or SYSTEMS),
            seed=args.seed,
            metric_backbone=args.metric_backbone,
            weights_dir=args.weights_dir,
            batch_size=_BATCH_SIZE,
            picture_scenes=_PICTURE_SCENES,
        )
        if out is not None:
            write_report(
                out, split, metrics, picture, step=run.stage_record("retrievegan")["steps"]
            )
        result[split] = metrics
    return result
