"""`rgan bank build` and `add`: patches cut out of images and embedded."""

from __future__ import annotations

import argparse
import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from training.bank.change import own_bank


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Makes a bank of its own."""
    from rgan_tf.backbones import load_backbone
    from rgan_tf.data.bank.build import build_rows, put_in_place, working_folder
    from rgan_tf.data.licences import LicenceFilter
    from rgan_tf.errors import BadInput
    from rgan_tf.vocabulary import Vocabulary

    licences = LicenceFilter.parse(args.licence)
    out = Path(args.out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BadInput(f"--out {out}: exists; name a new folder, or use rgan bank add")
    source = _source(args)
    if source is None:
        return _copy_of_data(args, out, licences)
    vocabulary = backbone = contexts = None
    if args.like:
        vocabulary, backbone, contexts = _like(args.like)
    if backbone and args.backbone and backbone != args.backbone:
        raise BadInput(f"--backbone {args.backbone}: {args.like} has features of {backbone}")
    working = working_folder(out)
    with _no_rubbish(working):
        counts = build_rows(
            source,
            working,
            backbone=load_backbone(args.backbone or backbone or "mobilenet_v2", args.weights_dir),
            vocabulary=vocabulary or Vocabulary.from_categories(source.categories),
            licences=licences,
            contexts=contexts,
            max_bad=args.max_bad,
        )
        put_in_place(working, out)
    return {"bank": str(out), **counts, "skipped": source.skipped}


def _copy_of_data(args: argparse.Namespace, out: Path, licences) -> dict[str, Any]:
    from rgan_tf.data.bank.edit import copy_banks
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.errors import BadInput
    from rgan_tf.files import atomic_folder

    if args.backbone or args.like:
        raise BadInput("--data: keeps the backbone and the names of the data; leave the option")
    data = PreparedData.open(args.data)
    with atomic_folder(out) as partial:
        copied = copy_banks(
            [data.bank], partial, keep=lambda row, entry: licences.allows(entry["licence"])
        )
    return {"bank": str(out), **copied._asdict(), "refused": len(data.bank) - copied.patches}


def add(args: argparse.Namespace) -> dict[str, Any]:
    """Adds patches to a bank; what was there keeps its rows."""
    from rgan_tf.backbones import load_backbone
    from rgan_tf.data.bank.build import build_rows
    from rgan_tf.data.bank.edit import copy_banks
    from rgan_tf.data.licences import LicenceFilter
    from rgan_tf.data.patch_bank import PatchBank
    from rgan_tf.errors import BadInput
    from rgan_tf.files import replaced_folder

    bank = own_bank(args.bank)
    licences = LicenceFilter.parse(args.licence)
    source = _source(args)
    if source is None:
        raise BadInput("--data: prepared data has a bank; build it and use rgan bank merge")
    working = bank.folder.with_name(f".{bank.folder.name}.adding")
    with _no_rubbish(working):
        counts = build_rows(
            source,
            working,
            backbone=load_backbone(bank.manifest["backbone"], args.weights_dir),
            vocabulary=bank.vocabulary,
            licences=licences,
            contexts=bank,
            crop_size=bank.crop_size,
            max_bad=args.max_bad,
        )
        new = PatchBank.open(working / "bank")
        try:
            with replaced_folder(bank.folder) as partial:
                copied = copy_banks([bank, new], partial, skip_duplicates=args.skip_duplicates)
        finally:
            shutil.rmtree(working)
    return {
        "bank": str(args.bank),
        **counts,
        "added": copied.patches - len(bank),
        "skipped": source.skipped,
        "duplicates": copied.duplicates,
        "renumbered_images": copied.renumbered_images,
        "first_new_id": len(bank),
        "patches": copied.patches,
    }


def _source(args: argparse.Namespace):
    """The `BankSource` that the options name; None for prepared data."""
    from rgan_tf.data.bank.sources import coco_source, folder_source
    from rgan_tf.errors import BadInput

    named = [bool(args.data), bool(args.coco), bool(args.folders)]
    if sum(named) != 1 or bool(args.coco) != bool(args.images):
        raise BadInput("name one source: --data, --coco with --images, or --folders")
    if args.coco:
        return coco_source(
            args.coco,
            args.images,
            min_box_share=args.min_box_share,
            licence=args.source_licence,
        )
    if args.folders:
        return folder_source(args.folders, licence=args.source_licence, url=args.source_url)
    return None


def _like(place: str):
    """Vocabulary and backbone of a bank, a data folder or a run, and its bank where it has one."""
    from rgan_tf.data.patch_bank import PatchBank
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.errors import BadInput
    from rgan_tf.files import read_json
    from rgan_tf.runs import RELEASED_PREFIX, open_run

    folder = Path(place)
    if place.startswith(RELEASED_PREFIX) or (folder / "run.json").is_file():
        run = open_run(place)
        is_there = run.data is not None and (run.data / "manifest.json").is_file()
        bank = PreparedData.open(run.data).bank if is_there else None
        return run.vocabulary, run.config.retrieval.backbone, bank
    if not (folder / "manifest.json").is_file():
        raise BadInput(f"--like {place}: is no bank, data folder or run")
    if read_json(folder / "manifest.json").get("kind") == "rgan_data":
        data = PreparedData.open(folder)
        return data.vocabulary, data.backbone, data.bank
    bank = PatchBank.open(folder)
    return bank.vocabulary, bank.manifest["backbone"], bank


@contextlib.contextmanager
def _no_rubbish(working: Path) -> Iterator[None]:
    """Deletes a working folder that holds nothing to go on from, when its block fails."""
    try:
        yield
    except BaseException:
        if not (working / "bank" / "progress.json").exists():
            shutil.rmtree(working, ignore_errors=True)
        raise
