"""`rgan bank build` and `add`: cut patches out of images and embed them."""

from __future__ import annotations

import contextlib
import logging
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rgan_tf.annotations.json_object import is_text
from rgan_tf.arguments import path_text, shown
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
from rgan_tf.runs import Run, run_name
from rgan_tf.spread import HERE, Engine, check_engine
from rgan_tf.storage.files import atomic_folder, replaced_folder
from rgan_tf.vocabulary import Vocabulary
from training.bank.places import free_place, new_bank, own_bank

_NONE_IN_BANK = "the bank has no patch of these categories whose graph it could lend"
_SHOWN_CATEGORIES = 5


def build(
    out: str | Path,
    *,
    data: PreparedData | str | Path | None = None,
    coco: str | Path | None = None,
    images: str | Path | None = None,
    folders: str | Path | None = None,
    like: PatchBank | PreparedData | Run | str | Path | None = None,
    backbone: str | None = None,
    licences: Sequence[str] | None = None,
    source_licence: str = "",
    source_url: str = "",
    min_box_share: float = 0.0,
    max_bad: float = 0.0,
    weights_dir: str | Path | None = None,
    engine: Engine = HERE,
) -> dict[str, Any]:
    """Builds a new bank from one source: prepared data, a COCO file, or folders of images.

    Args:
      out: bank folder to make.
      data: folder made by `prepare`, or an opened one, whose bank is copied.
      coco: annotations in COCO's format.
      images: folder of the images of `coco`.
      folders: holds one folder per category, with one image per patch.
      like: bank, data or run, by its folder or opened, whose names and backbone are taken, and
        whose graphs patches without one borrow; None: the names are those of the source.
      backbone: network of the patch features: "mobilenet_v2", "resnet50", "squeezenet", or one
        that `register_backbone` added with feature layers; None takes that of `like`, or
        "mobilenet_v2".
      licences: codes such as "BY"; only patches under these are taken. None: all.
      source_licence: licence where the source names none.
      source_url: where `folders` are from.
      min_box_share: for `coco`, share of the image that a box must exceed.
      max_bad: share of images that may be missing, damaged or not as annotated.
      weights_dir: folder with backbone weight files.
      engine: where the patches are cut out and embedded.

    Returns:
      `bank`, `patches`, and counts of what was left out and why.

    Raises:
      BadInput: if the source is not one of these, the place is taken, or nothing is left.
      CorruptData: if a file is damaged.

    Example:
      ```python
      import rgan_tf

      counts = rgan_tf.build_bank("BANK", data="DATA")
      assert counts["patches"] == len(rgan_tf.PatchBank.open("BANK"))
      ```
    """
    allowed = LicenceFilter.parse(licences)
    out = path_text(out, "--out")
    free_place(out)
    check_engine(engine)  # before anything is read
    source = _source(
        data, coco, images, folders, source_licence, source_url, min_box_share, max_bad
    )
    if source is None:
        if backbone or like is not None:
            raise BadInput(
                "--data: keeps the backbone and the names of the data; leave the option out"
            )
        if engine.runner:
            raise BadInput(
                "--data: the bank of the data is copied in this process; leave out --runner"
            )
        return _copy_of_data(data, out, allowed)
    vocabulary = of_like = contexts = None
    if like is not None:
        like = run_name(like, "--like")
        vocabulary, of_like, contexts = _like(like)
    if of_like and backbone and of_like != backbone:
        raise BadInput(f"--backbone {backbone}: {like} has features of {of_like}")
    vocabulary = vocabulary or Vocabulary.from_categories(source.categories)
    with new_bank(out) as place, _without_leftovers(building_folder(place)) as working:
        counts = build_rows(
            source,
            working,
            backbone=load_backbone(backbone or of_like or "mobilenet_v2", weights_dir),
            vocabulary=vocabulary,
            licences=allowed,
            contexts=contexts,
            max_bad=max_bad,
            engine=engine,
        )
        put_in_place(working, place)
        alone = _warn_of_patches_without_graph(
            PatchBank.open(place), _why_none_lent(like, contexts)
        )
    return {"bank": out, **counts, **alone, **_left_out(source)}


def _why_none_lent(like: str | Path | None, contexts: PatchBank | None) -> str:
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


def _copy_of_data(
    data: PreparedData | str | Path, out: str | Path, licences: LicenceFilter
) -> dict[str, Any]:
    bank = PreparedData.open(path_text(data, "--data")).bank
    with new_bank(out) as place, atomic_folder(place) as partial:
        copied = copy_banks(
            [bank], partial, keep=lambda row, entry: licences.allows(entry.get("licence", ""))
        )
    return {"bank": out, **copied._asdict(), "refused": len(bank) - copied.patches}


def add(
    bank: PatchBank | str | Path,
    *,
    coco: str | Path | None = None,
    images: str | Path | None = None,
    folders: str | Path | None = None,
    skip_duplicates: bool = False,
    licences: Sequence[str] | None = None,
    source_licence: str = "",
    source_url: str = "",
    min_box_share: float = 0.0,
    max_bad: float = 0.0,
    weights_dir: str | Path | None = None,
    engine: Engine = HERE,
) -> dict[str, Any]:
    """Adds the patches of a COCO file or folders of images to a bank; old patches keep their rows.

    Args:
      bank: bank folder, or an opened one.
      coco: annotations in COCO's format.
      images: folder of the images of `coco`.
      folders: holds one folder per category, with one image per patch.
      skip_duplicates: leave out patches that are already there, instead of refusing them.
      licences: codes such as "BY"; only patches under these are taken. None: all.
      source_licence: licence where the source names none.
      source_url: where `folders` are from.
      min_box_share: for `coco`, share of the image that a box must exceed.
      max_bad: share of images that may be missing, damaged or not as annotated.
      weights_dir: folder with backbone weight files.
      engine: where the patches are cut out and embedded.

    Returns:
      `bank`, `patches`, `added`, `first_new_id`, and counts of what was left out and why.

    Raises:
      BadInput: if bank and source do not go together, or a patch is there already.
      CorruptData: if a file is damaged.

    Example:
      ```python
      import rgan_tf

      rgan_tf.build_bank("BANK", data="DATA")
      added = rgan_tf.add_to_bank("BANK", folders="MY_PATCHES", source_licence="CC BY 4.0")
      print(added["added"], "patches, from row", added["first_new_id"])
      ```
    """
    allowed = LicenceFilter.parse(licences)
    bank = path_text(bank, "bank")
    check_engine(engine)  # before anything is read
    with own_bank(bank) as opened:
        source = _source(
            None, coco, images, folders, source_licence, source_url, min_box_share, max_bad
        )
        fresh, known = leave_out_known(source, opened, allowed, skip=skip_duplicates)
        if known and not any(allowed.allows(image.licence) for image in fresh.images):
            counts = _nothing_added(opened, refused=len(fresh.images))
        else:
            counts = _add_rows(
                opened,
                fresh,
                allowed,
                skip_duplicates=skip_duplicates,
                max_bad=max_bad,
                weights_dir=weights_dir,
                engine=engine,
            )
            added = PatchBank.open(opened.folder)
            counts |= _warn_of_patches_without_graph(added, _NONE_IN_BANK, first=len(opened))
        return {
            "bank": bank,
            **counts,
            **_left_out(source),
            "duplicates": counts["duplicates"] + known,
            "first_new_id": len(opened),
        }


def _add_rows(
    bank: PatchBank,
    source: BankSource,
    licences: LicenceFilter,
    *,
    skip_duplicates: bool,
    max_bad: float,
    weights_dir: str | Path | None,
    engine: Engine,
) -> dict[str, Any]:
    """Embeds the patches in a working folder, then replaces the bank by one with both."""
    with _without_leftovers(adding_folder(bank.folder)) as working:
        counts = build_rows(
            source,
            working,
            backbone=load_backbone(bank.manifest["backbone"], weights_dir),
            vocabulary=bank.vocabulary,
            licences=licences,
            contexts=bank,
            crop_size=bank.crop_size,
            max_bad=max_bad,
            engine=engine,
        )
        new = finished_bank(working)
        with replaced_folder(bank.folder) as partial:
            copied = copy_banks([bank, new], partial, skip_duplicates=skip_duplicates)
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


def _source(
    data: PreparedData | str | Path | None,
    coco: str | Path | None,
    images: str | Path | None,
    folders: str | Path | None,
    licence: str,
    url: str,
    min_box_share: float,
    max_bad: float,
) -> BankSource | None:
    """The one source that is named; None for prepared data."""
    named = [bool(data), bool(coco), bool(folders)]
    if sum(named) != 1 or bool(coco) != bool(images):
        raise BadInput("name one source: --data, --coco with --images, or --folders")
    for option, text in (("licence", licence), ("url", url)):
        if not isinstance(text, str):
            raise BadInput(f"--source-{option} {shown(text)}: must be text, empty if unknown")
        if not is_text(text):
            raise BadInput(f"--source-{option} {text!r}: is not UTF-8; write it in UTF-8")
    own = "--data" if data else "--coco" if coco else "--folders"
    for option, is_given, readers in (
        ("--source-licence", licence, ("--coco", "--folders")),
        ("--source-url", url, ("--folders",)),
        ("--min-box-share", min_box_share, ("--coco",)),
        ("--max-bad", max_bad, ("--coco", "--folders")),
    ):
        if is_given and own not in readers:
            raise BadInput(
                f"{option}: is only read with {' or '.join(readers)}, not with {own}; leave it out"
            )
    if coco:
        coco, images = path_text(coco, "--coco"), path_text(images, "--images")
        return coco_source(
            coco, images, min_box_share=min_box_share, licence=licence, max_bad=max_bad
        )
    if folders:
        folders = path_text(folders, "--folders")
        return folder_source(folders, licence=licence, url=url, max_bad=max_bad)
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
