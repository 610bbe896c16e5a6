"""`rgan bank build` and `add`: cut patches out of images and embed them."""

from __future__ import annotations

import argparse
import contextlib
import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rgan_tf.annotations.json_object import is_text
from rgan_tf.backbones import load_backbone
from rgan_tf.bank.build import build_rows, discard, finished_bank, holds_work, put_in_place
from rgan_tf.bank.duplicates import leave_out_known
from rgan_tf.bank.edit import Copied, copy_banks
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.bank.lock import adding_folder, building_folder
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.sources import BankSource, coco_source, folder_source
from rgan_tf.bank.summary import patches_without_graph
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.places import open_place
from rgan_tf.spread import Engine
from rgan_tf.storage.files import atomic_folder, replaced_folder
from rgan_tf.vocabulary import Vocabulary
from training.bank.places import free_place, new_bank, own_bank
from training.engine import engine_of

_NONE_IN_BANK = "the bank has no patch of these categories whose graph it could lend"
_SHOWN_CATEGORIES = 5


def build(args: argparse.Namespace) -> dict[str, Any]:
    """Builds a new bank."""
    licences = LicenceFilter.parse(args.licence)
    free_place(args.out)
    engine = engine_of(args)  # before anything is read
    source = _source(args)
    if source is None:
        return _copy_of_data(args, licences)
    vocabulary = backbone = contexts = None
    if args.like:
        vocabulary, backbone, contexts = _like(args.like)
    if backbone and args.backbone and backbone != args.backbone:
        raise BadInput(f"--backbone {args.backbone}: {args.like} has features of {backbone}")
    vocabulary = vocabulary or Vocabulary.from_categories(source.categories)
    with new_bank(args.out) as out, _without_leftovers(building_folder(out)) as working:
        counts = build_rows(
            source,
            working,
            backbone=load_backbone(args.backbone or backbone or "mobilenet_v2", args.weights_dir),
            vocabulary=vocabulary,
            licences=licences,
            contexts=contexts,
            max_bad=args.max_bad,
            engine=engine,
        )
        put_in_place(working, out)
        alone = _warn_of_patches_without_graph(
            PatchBank.open(out), _why_none_lent(args.like, contexts)
        )
    return {"bank": str(args.out), **counts, **alone, **_left_out(source)}


def _why_none_lent(like: str | None, contexts: PatchBank | None) -> str:
    """Why `--like` lent no graph to a patch without one."""
    if like is None:
        return "no --like names a bank or data that could lend it one"
    if contexts is None:
        return f"--like {like} is a run whose data is not at hand, and has none to lend"
    return f"--like {like} has no patch of these categories whose graph it could lend"


def _warn_of_patches_without_graph(bank: PatchBank, reason: str, first: int = 0) -> dict[str, Any]:
    """Warns about patches without a graph of their own; returns their number."""
    alone = patches_without_graph(bank, first)
    if alone:
        shown = ", ".join(list(alone)[:_SHOWN_CATEGORIES])
        more = len(alone) - _SHOWN_CATEGORIES
        logging.getLogger(__name__).warning(
            "%d of %d patches have no scene graph of their own (%s%s), and %s. They are found by "
            "their category alone: all of one category are equally near, so a model only "
            "sees the first of many. If that matters, name a bank or prepared data of the same "
            "names with --like.",
            sum(alone.values()),
            len(bank) - first,
            shown,
            f" and {more} more" if more > 0 else "",
            reason,
        )
    return {"patches_without_graph": sum(alone.values())}


def _copy_of_data(args: argparse.Namespace, licences: LicenceFilter) -> dict[str, Any]:
    if args.backbone or args.like:
        raise BadInput("--data: keeps the backbone and the names of the data; leave the option out")
    if args.runner or args.runner_option:
        raise BadInput("--data: the bank of the data is copied in this process; leave out --runner")
    data = PreparedData.open(args.data)
    with new_bank(args.out) as out, atomic_folder(out) as partial:
        copied = copy_banks(
            [data.bank], partial, keep=lambda row, entry: licences.allows(entry.get("licence", ""))
        )
    return {
        "bank": str(args.out),
        **copied._asdict(),
        "refused": len(data.bank) - copied.patches,
    }


def add(args: argparse.Namespace) -> dict[str, Any]:
    """Adds patches to a bank; existing patches keep their rows."""
    licences = LicenceFilter.parse(args.licence)
    engine = engine_of(args)  # before anything is read
    with own_bank(args.bank) as bank:
        source = _source(args)
        if source is None:
            raise BadInput("--data: prepared data has a bank; build it and use rgan bank merge")
        fresh, known = leave_out_known(source, bank, licences, skip=args.skip_duplicates)
        if known and not any(licences.allows(image.licence) for image in fresh.images):
            counts = _nothing_added(bank, refused=len(fresh.images))
        else:
            counts = _add_rows(args, bank, fresh, licences, engine)
            added = PatchBank.open(bank.folder)
            counts |= _warn_of_patches_without_graph(added, _NONE_IN_BANK, first=len(bank))
        return {
            "bank": str(args.bank),
            **counts,
            **_left_out(source),
            "duplicates": counts["duplicates"] + known,
            "first_new_id": len(bank),
        }


def _add_rows(
    args: argparse.Namespace,
    bank: PatchBank,
    source: BankSource,
    licences: LicenceFilter,
    engine: Engine,
) -> dict[str, Any]:
    """Embeds the patches in a working folder, then replaces the bank by one with both."""
    with _without_leftovers(adding_folder(bank.folder)) as working:
        counts = build_rows(
            source,
            working,
            backbone=load_backbone(bank.manifest["backbone"], args.weights_dir),
            vocabulary=bank.vocabulary,
            licences=licences,
            contexts=bank,
            crop_size=bank.crop_size,
            max_bad=args.max_bad,
            engine=engine,
        )
        new = finished_bank(working)
        with replaced_folder(bank.folder) as partial:
            copied = copy_banks([bank, new], partial, skip_duplicates=args.skip_duplicates)
        discard(working)
    return {**counts, **copied._asdict(), "added": copied.patches - len(bank)}


def _nothing_added(bank: PatchBank, refused: int) -> dict[str, Any]:
    return {
        "images": 0,
        "refused_licence": refused,
        "borrowed_graphs": 0,
        "patches_without_graph": 0,
        "bad_images": [],
        "resumed_at": 0,
        **Copied(len(bank), 0, 0)._asdict(),
        "added": 0,
    }


def _source(args: argparse.Namespace) -> BankSource | None:
    """The source that the options name; None for prepared data."""
    named = [bool(args.data), bool(args.coco), bool(args.folders)]
    if sum(named) != 1 or bool(args.coco) != bool(args.images):
        raise BadInput("name one source: --data, --coco with --images, or --folders")
    for option, text in (("licence", args.source_licence), ("url", args.source_url)):
        if not is_text(text):
            raise BadInput(f"--source-{option} {text!r}: is not UTF-8; write it in UTF-8")
    if args.coco:
        return coco_source(
            args.coco,
            args.images,
            min_box_share=args.min_box_share,
            licence=args.source_licence,
            max_bad=args.max_bad,
        )
    if args.folders:
        return folder_source(
            args.folders,
            licence=args.source_licence,
            url=args.source_url,
            max_bad=args.max_bad,
        )
    return None


def _left_out(source: BankSource) -> dict[str, Any]:
    """What was left out before any image was opened."""
    return {"skipped": dict(source.left_out.counts), "skipped_first": source.left_out.first}


def _like(name: str):
    """Vocabulary and backbone of a bank, a data folder or a run, and its bank if available."""
    place = open_place(name, "--like ")
    if place.kind == "model":
        raise BadInput(
            f"--like {name}: is an exported model, which keeps no graphs and no backbone's name; "
            "name the run that it was exported from, or the bank"
        )
    return place.vocabulary, place.backbone, place.patches


@contextlib.contextmanager
def _without_leftovers(working: Path) -> Iterator[Path]:
    """Deletes a working folder that holds nothing to resume when its block fails.

    Only safe while holding the bank's lock; otherwise the folder may belong to another process.
    """
    try:
        yield working
    except BaseException:
        if not holds_work(working):
            shutil.rmtree(working, ignore_errors=True)
        raise
