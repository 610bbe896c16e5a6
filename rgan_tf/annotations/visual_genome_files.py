"""The files of Visual Genome as tables: entries by image id, the splits, the aliases of names."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rgan_tf.annotations.annotation import MAX_IMAGE_ID
from rgan_tf.annotations.json_object import (
    Claims,
    JsonObject,
    StoredObject,
    each_object,
    is_list,
    is_missing,
    whole_number,
)
from rgan_tf.annotations.left_out import BadImages
from rgan_tf.annotations.stored_lists import read_stored
from rgan_tf.errors import BadInput
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.vocabulary import composed

SPLITS = ("train", "val", "test")


def entries_by_image(
    path: Path,
    wanted: set[int],
    bad: BadImages,
    on_entry: Callable[[int, JsonObject], None] = lambda image_id, entry: None,
) -> dict[int, StoredObject | JsonObject]:
    """Entries by image id, of the images in a split; records entries without an id as bad.

    Args:
      path: the file.
      wanted: ids of the images.
      bad: where entries without an id are recorded.
      on_entry: called with the image id and each entry that is kept.
    """
    table: dict[int, StoredObject | JsonObject] = {}
    claims = Claims("the image id")
    for kept, entry in each_object(read_stored(path), path, on_invalid=bad.add):
        image_id = first_number(entry, "image_id", "id")
        if image_id is None:
            bad.add(f"{entry.source}: 'image_id' must be an integer")
        elif image_id in wanted:
            claims.add(image_id, kept)
            table[image_id] = kept
            on_entry(image_id, entry)
    return table


def read_splits(path: Path, bad: BadImages) -> dict[str, list[int]]:
    """Image ids of each split; records entries that are no ids as bad.

    Raises:
      BadInput: if the file is missing or not JSON, lacks a split, or names an image twice.
    """
    file = read_stored(path)
    splits: dict[str, list[int]] = {}
    owners: dict[int, str] = {}
    for split in SPLITS:
        ids = file.get(split) if isinstance(file, dict) else None
        if not is_list(ids):
            raise BadInput(f"{path}: {split!r} must be a list of image ids")
        splits[split] = []
        for index, value in enumerate(ids):
            place = f"{split}[{index}]"
            image_id = whole_number(value)
            if image_id is None or not 0 <= image_id <= MAX_IMAGE_ID:
                bad.add(f"{path}: {place} must be an image id, got {value!r:.40}")
                continue
            if image_id in owners:
                raise BadInput(
                    f"{path}: image {image_id} is both {owners[image_id]} and {place}; an image "
                    "belongs to one split, once"
                )
            owners[image_id] = place
            splits[split].append(image_id)
    return splits


def read_aliases(path: Path) -> dict[str, str]:
    """Names by alias; of several names with one alias the first counts.

    Raises:
      BadInput: if the file is missing or not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        advice = spelled_otherwise(path) or (
            "; it is part of Visual Genome, and may be empty if no name has aliases"
        )
        raise BadInput(f"{path}: {reason}{advice}") from error
    aliases: dict[str, str] = {}
    for line in lines:
        name, *others = (_plain(part) for part in line.split(","))
        for other in others:
            if other and name:
                aliases.setdefault(other, name)
    return aliases


def first_number(item: JsonObject, *keys: str) -> int | None:
    """The first of these keys that is present; earlier releases call an id "id"."""
    for key in keys:
        if not is_missing(item.value.get(key)):
            return whole_number(item.value[key])
    return None


def canonical(name: str, aliases: dict[str, str]) -> str:
    """The name that stands for this one: in lower case, and by `read_aliases` if it is an alias."""
    plain = _plain(name)
    return aliases.get(plain, plain)


def _plain(name: str) -> str:
    return composed(" ".join(name.lower().split()))
