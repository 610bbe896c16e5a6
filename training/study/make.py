"""`rgan study make`: makes the page and its key."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput
from rgan_tf.progress import progress_bar
from rgan_tf.registered_names import RIVALS
from rgan_tf.runs import (
    Run,
    check_bank_fits,
    check_learns_retrieval,
    check_own_retriever,
    open_run,
)
from rgan_tf.storage.files import atomic_folder, write_bytes_atomic
from rgan_tf.storage.renames import require_free
from training.evaluation.inputs import check_seed, check_split, check_writable, open_data_of
from training.study.drawn import Pictures, check_alike, drawn_scenes
from training.study.key import PAGE, write_key
from training.study.page import page_content, render_page
from training.study.plan import most_repeats, plan_pairs, take_scenes
from training.study.scenes import Side, scenes_of

_REPEATED = 6  # one in this many pairs is shown twice
_MAX_SCENES = 500  # hours of answering, and the size of page that a phone can open


def make(args: argparse.Namespace) -> dict[str, Any]:
    """Writes FOLDER/study.html for the participants and FOLDER/key.json for the report.

    Raises:
      BadInput: if options, runs and data do not fit together, or no scene is usable.
      CorruptData: if something is damaged.
    """
    if not args.pictures and args.systems is None:
        args.systems = ["learned", "graph_nearest"]
    _check_options(args)
    require_free(Path(args.out))
    check_writable(Path(args.out).absolute().parent)
    run = open_run(args.run)
    data = open_data_of(run, args.run, args.data)
    check_split(data, args.split)
    other = run if args.other is None else open_run(args.other, "--other")
    for each, option, name in ((run, "--run", args.run), (other, "--other", args.other)):
        if name is None:
            continue
        if not args.pictures:
            _check_chooses(each, option, name)
        check_own_retriever(each, name, is_given=False)
    if other is not run:
        check_bank_fits(other, args.other, data.bank)
    pictures = Pictures()
    if args.pictures:
        check_alike(run, other, (args.run, args.other))
        found = drawn_scenes(run, other, data, args.split, pictures, seed=args.seed)
    else:
        first, second = Side(run, args.systems[0]), Side(other, args.systems[1])
        found = scenes_of(first, second, data, args.split, seed=args.seed)
    with progress_bar("scenes read") as bar:
        scenes, left_out = take_scenes(_counted(found, bar), args.scenes)
    if not scenes:
        if args.pictures:
            raise BadInput(
                f"--other {args.other}: drew the same pictures as --run in every scene of "
                f"{args.split}; compare others"
            )
        raise BadInput(
            f"--systems {' '.join(args.systems)}: chose the same patches in every scene of "
            f"{args.split} with two objects or more; compare others"
        )
    repeats = len(scenes) // _REPEATED if args.repeats is None else args.repeats
    repeats = min(repeats, most_repeats(len(scenes)))
    pairs = plan_pairs(scenes, repeats, seed=args.seed)
    shown = pictures if args.pictures else data.bank.crops
    page = page_content(pairs, lambda row: shown[row])

    names = _names(args)
    sides = {
        letter: {"name": name, "run": run_name, "selection": selection}
        for letter, name, run_name, selection in zip(
            "ab",
            names,
            (args.run, args.other or args.run),
            args.systems or [each.config.training.system for each in (run, other)],
            strict=True,
        )
    }
    origin = {
        "data": str(data.folder),
        "data_fingerprint": data.fingerprint,
        "split": args.split,
        "seed": args.seed,
        "left_out": vars(left_out),
        **({"shows": "pictures"} if args.pictures else {}),
    }
    with atomic_folder(args.out) as folder:
        write_bytes_atomic(folder / PAGE, render_page(page).encode("utf-8"))
        write_key(folder, page["page"], sides, pairs, **origin)
        size = (folder / PAGE).stat().st_size
    return {
        "study": str(args.out),
        "page": page["page"],
        "file": str(Path(args.out) / PAGE),
        "bytes": size,
        "systems": names,
        "scenes_asked": args.scenes,
        "pairs": len(scenes),
        "repeated_pairs": repeats,
        "left_out": vars(left_out),
    }


def _check_options(args: argparse.Namespace) -> None:
    if not 1 <= args.scenes <= _MAX_SCENES:
        raise BadInput(f"--scenes {args.scenes}: must be from 1 to {_MAX_SCENES}")
    most = most_repeats(args.scenes)
    if args.repeats is not None and not 0 <= args.repeats <= most:
        raise BadInput(f"--repeats {args.repeats}: must be from 0 to {most}, half of --scenes")
    check_seed(args.seed)
    if args.pictures:
        if args.systems is not None:
            raise BadInput("--pictures: shows what each run draws; leave out --systems")
        if args.other is None:
            raise BadInput("--pictures: compares the pictures of two runs; name --other RUN")
        if args.other == args.run:
            raise BadInput(
                f"--pictures: compares the pictures of two runs, and --other {args.other} is that "
                "of --run; name another"
            )
        return
    if args.other is not None and args.systems[1] != "learned":
        raise BadInput(
            f"--other {args.other}: only learned depends on the run; name it second in --systems, "
            "or compare what the runs draw with --pictures"
        )
    if args.other is None and args.systems[0] == args.systems[1]:
        raise BadInput(f"--systems {' '.join(args.systems)}: name two that differ, or --other RUN")


def _check_chooses(run: Run, option: str, name: str) -> None:
    """Refuses a run that has no choice of patches to compare."""
    system = run.config.training.system
    if system in RIVALS:
        raise BadInput(
            f"{option} {name}: is of {system}, which learns no choice of patches; compare what it "
            "draws: --pictures --other RUN"
        )
    check_learns_retrieval(run, name)


def _names(args: argparse.Namespace) -> list[str]:
    if args.pictures:
        return [args.run, args.other]
    if args.other is None:
        return list(args.systems)
    runs = (args.run, args.other)
    return [f"{name} of {run}" for name, run in zip(args.systems, runs, strict=True)]


def _counted(scenes, bar):
    for scene in scenes:
        bar.update()
        yield scene
