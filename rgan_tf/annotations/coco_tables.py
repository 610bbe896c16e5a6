"""The tables of COCO files that images and objects refer to by id: categories and licences.

Entries that nothing refers to are not checked.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from rgan_tf.annotations.json_object import (
    Claims,
    JsonObject,
    is_missing,
    is_text,
    two_claims,
    whole_number,
)
from rgan_tf.annotations.left_out import Unusable
from rgan_tf.errors import BadInput
from rgan_tf.vocabulary import RESERVED_OBJECTS, composed


class CategoryTable:
    """Names by id, from one file or several with the same numbering."""

    def __init__(self) -> None:
        self._entries: dict[int, list[JsonObject]] = {}

    def add(self, file: JsonObject) -> None:
        """Adds the categories of a file."""
        entries = _by_id(file.list("categories", on_invalid=_ignore))
        for category_id, own in entries.items():
            self._entries.setdefault(category_id, []).extend(own)

    def check(self, used: Iterable[int]) -> None:
        """Refuses a table in which the category of an object is ambiguous.

        Args:
          used: ids that objects refer to.

        Raises:
          BadInput: if two entries claim one of these ids (unless they are in two files and agree),
            or two of these ids have the same name.
        """
        names = Claims("the category name")
        for category_id in sorted(set(used) & self._entries.keys()):
            first, *others = self._entries[category_id]
            for other in others:
                _refuse_other(category_id, first, other)
            if name := _name(first):
                names.add(name, first)

    def name(self, category_id: int) -> str:
        """The name of a category.

        Raises:
          Unusable: if the id is not listed, or its name cannot be in a vocabulary.
        """
        entries = self._entries.get(category_id)
        if entries is None:
            raise Unusable("object: its category is not listed", f"category_id {category_id}")
        name = _name(entries[0])
        if not name:
            raise Unusable("object: its category has no name", str(entries[0]))
        if name in RESERVED_OBJECTS:
            raise Unusable("object: its category has a name that the model uses itself", name)
        return name

    @property
    def entries(self) -> Iterable[tuple[int, str]]:
        """Ids and names that a vocabulary can hold, whether used or not."""
        for category_id, entries in self._entries.items():
            name = _name(entries[0])
            if name and name not in RESERVED_OBJECTS:
                yield category_id, name

    def entry(self, category_id: int) -> JsonObject | None:
        """The entry of a category; None if it is not listed."""
        entries = self._entries.get(category_id)
        return entries[0] if entries else None


class LicenceTable:
    """Licences by id.

    Args:
      file: may have a list `licenses`.
      images: their `license` ids are checked.

    Raises:
      BadInput: if two entries claim one licence id of an image.
    """

    def __init__(self, file: JsonObject, images: Iterable[JsonObject]):
        has_list = file.has_list("licenses")
        listed = file.list("licenses", on_invalid=_ignore) if has_list else []
        entries = _by_id(listed)
        for licence_id in {whole_number(image.value.get("license")) for image in images}:
            for first, other in itertools.pairwise(entries.get(licence_id, ())):
                raise two_claims("the licence id", licence_id, first, other)
        self._names = {
            licence_id: own[0].text_or_empty("name").strip() for licence_id, own in entries.items()
        }

    def name_of(self, image: JsonObject) -> str:
        """The name of an image's licence; "" if unknown."""
        value = image.value.get("license")
        if is_missing(value):
            return ""
        licence_id = whole_number(value)
        if licence_id is not None:
            return self._names.get(licence_id, "")
        return value.strip() if isinstance(value, str) and is_text(value) else ""


def _by_id(entries: list[JsonObject]) -> dict[int, list[JsonObject]]:
    """Entries by id; leaves out those without one, since nothing can refer to them."""
    table: dict[int, list[JsonObject]] = {}
    for entry in entries:
        number = whole_number(entry.value.get("id"))
        if number is not None:
            table.setdefault(number, []).append(entry)
    return table


def _refuse_other(category_id: int, first: JsonObject, other: JsonObject) -> None:
    if other.path == first.path:
        raise two_claims("the category id", category_id, first, other)
    if _name(first) != _name(other):
        raise BadInput(
            f"{other.source}: category {category_id} is {_name(other)!r} here and "
            f"{_name(first)!r} in {first}"
        )


def _name(category: JsonObject) -> str:
    return composed(category.text_or_empty("name").strip())


def _ignore(line: str) -> None:
    """Accepts entries that are not objects: nothing can refer to them."""
