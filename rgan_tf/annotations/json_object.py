"""Reads the fields of annotation files; every error names file and place."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rgan_tf.annotations.stored_lists import StoredList
from rgan_tf.errors import BadInput
from rgan_tf.progress import followed

_DIGITS = re.compile(r"-?[0-9]{1,30}")  # no real number has more digits
_MAX_SIDE = 10**6  # px; far beyond any readable image
_EXACT = 2**53  # up to here a float holds every integer exactly


class JsonObject:
    """A JSON object with the place where it was read.

    Args:
      value: the parsed object.
      path: its file.
      place: its place in the file.

    Raises:
      BadInput: if `value` is not an object.
    """

    __slots__ = ("value", "path", "_place")

    def __init__(self, value: Any, path: Path, place: str = ""):
        if not isinstance(value, Mapping):
            kind = "list" if is_list(value) else type(value).__name__
            raise BadInput(f"{path}{place}: expected a JSON object, got {kind}")
        self.value = value
        self.path = path
        self._place = place

    @property
    def source(self) -> str:
        """File and place, for messages."""
        return f"{self.path}{self._place}"

    def __str__(self) -> str:
        """Like `source`, with only the file's name."""
        return f"{self.path.name}{self._place}"

    def load(self) -> JsonObject:
        """Itself; see `StoredObject.load`."""
        return self

    def has_list(self, key: str) -> bool:
        """Whether there is a list `key`."""
        return is_list(self.value.get(key))

    def list(self, key: str, on_invalid: Callable[[str], Any] | None = None) -> list[JsonObject]:
        """The objects of the list `key`, which must exist.

        Args:
          key: of the list.
          on_invalid: called with a line for each member that is not an object; None raises.
        """
        return [entry for _, entry in self.each(key, on_invalid)]

    def each(
        self, key: str, on_invalid: Callable[[str], Any] | None = None
    ) -> Iterator[tuple[StoredObject | JsonObject, JsonObject]]:
        """The objects of the list `key` one after the other; see `each_object`."""
        if not self.has_list(key):
            raise BadInput(f"{self.source}: has no list {key!r}; not a file of this data set")
        return each_object(self.value[key], self.path, f"{self._place} {key}", on_invalid)

    def child(self, key: str) -> JsonObject:
        """The object `key`, which must exist."""
        return JsonObject(self.value.get(key), self.path, f"{self._place} {key}")

    def number(self, key: str, default: int | None = None) -> int:
        """The integer `key`, or `default` if it is missing; see `whole_number`."""
        value = self.value.get(key)
        number = whole_number(default if is_missing(value) else value)
        if number is None:
            raise BadInput(f"{self.source}: {key!r} must be an integer, got {value!r:.60}")
        return number

    def real(self, key: str) -> float:
        """The finite number `key`."""
        number = finite_number(self.value.get(key))
        if number is None:
            raise BadInput(
                f"{self.source}: {key!r} must be a number, got {self.value.get(key)!r:.60}"
            )
        return number

    def side(self, key: str) -> int:
        """The side `key` of an image in px; 0 if unknown (missing or -1)."""
        value = self.value.get(key)
        side = 0 if is_missing(value) else whole_number(value)
        if side is None or side > _MAX_SIDE:
            raise BadInput(
                f"{self.source}: width and height must be in [1, {_MAX_SIDE}], {key} is "
                f"{value!r:.40}"
            )
        return max(side, 0)

    def flag(self, key: str) -> bool:
        """The boolean `key`, written as true, false or a number; false if missing."""
        value = self.value.get(key)
        return value if isinstance(value, bool) else self.number(key, 0) != 0

    def text(self, key: str) -> str:
        """The text `key`, which must exist."""
        value = self.value.get(key)
        if not isinstance(value, str) or not is_text(value):
            raise BadInput(f"{self.source}: {key!r} must be text, got {value!r:.60}")
        return value

    def text_or_empty(self, key: str) -> str:
        """The text `key`, or "" if missing."""
        value = self.value.get(key)
        return value if isinstance(value, str) and is_text(value) else ""

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts of the list `key`, which must exist."""
        value = self.value.get(key)
        if not isinstance(value, list) or not all(
            isinstance(item, str) and is_text(item) for item in value
        ):
            raise BadInput(f"{self.source}: {key!r} must be a list of text, got {value!r:.60}")
        return tuple(value)


def is_missing(value: Any) -> bool:
    """Whether a value is missing: absent, null, NaN or an empty text."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def whole_number(value: Any) -> int | None:
    """An integer, also if written as 1.0 or "1"; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() and abs(value) <= _EXACT else None
    if isinstance(value, str) and _DIGITS.fullmatch(value):
        return int(value)
    return None


def finite_number(value: Any) -> float | None:
    """A finite number as a float; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def is_text(value: str) -> bool:
    """Whether UTF-8 can encode it: lone surrogates (bad bytes of a name) it cannot."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


class StoredObject:
    """A JSON object that stays in its file, with its place there.

    Args:
      items: the list that it is a member of.
      index: its number in the list.
      path: its file.
      place: the place of the list in the file.
    """

    __slots__ = ("_items", "_index", "path", "_list_place")

    def __init__(self, items: StoredList, index: int, path: Path, place: str):
        self._items = items
        self._index = index
        self.path = path
        self._list_place = place

    def load(self) -> JsonObject:
        """Reads it again.

        Raises:
          ChangedFile: if the file has changed.
        """
        place = f"{self._list_place}[{self._index}]"
        return JsonObject(self._items[self._index], self.path, place)

    @property
    def source(self) -> str:
        """File and place, for messages."""
        return f"{self.path}{self._list_place}[{self._index}]"

    def __str__(self) -> str:
        """Like `source`, with only the file's name."""
        return f"{self.path.name}{self._list_place}[{self._index}]"


def each_object(
    items: Any, path: Path, place: str = "", on_invalid: Callable[[str], Any] | None = None
) -> Iterator[tuple[StoredObject | JsonObject, JsonObject]]:
    """The members of a JSON list of objects, one after the other.

    Args:
      items: the list, a `StoredList` or an ordinary one.
      path: its file.
      place: its place in the file.
      on_invalid: called with a line for each member that is not an object; None raises.

    Yields:
      What a caller may keep of a member, and the member. Of one in a file only the place is kept.

    Raises:
      BadInput: if it is not a list, or has other members and `on_invalid` is None.
    """
    if not is_list(items):
        raise BadInput(f"{path}{place}: expected a JSON list, got {type(items).__name__}")
    is_stored = isinstance(items, StoredList)
    # Lists inside of a member are short, and there are hundreds of thousands of them.
    for index, item in enumerate(followed(items, f"{path.name}{place}") if is_stored else items):
        try:
            entry = JsonObject(item, path, f"{place}[{index}]")
        except BadInput as error:
            if on_invalid is None:
                raise
            on_invalid(str(error))
            continue
        yield (StoredObject(items, index, path, place) if is_stored else entry), entry


def is_list(value: Any) -> bool:
    """Whether a value is a JSON list, in memory or in its file."""
    return isinstance(value, (list, StoredList))


class TwoClaims(BadInput):
    """Two entries claim one id or name, so a reference to it is ambiguous."""


class Claims:
    """Refuses the second entry of an annotation file that claims an id or name.

    Entries are compared by identity.

    Args:
      what: name of the claimed thing in messages.
    """

    def __init__(self, what: str):
        self._what = what
        self._owners: dict[Any, JsonObject | StoredObject] = {}

    def add(self, key: Any, entry: JsonObject | StoredObject) -> None:
        """Records a claim.

        Raises:
          TwoClaims: if another entry has claimed the key; names both.
        """
        owner = self._owners.setdefault(key, entry)
        if owner is not entry:
            raise two_claims(self._what, key, owner, entry)


def two_claims(
    what: str, key: Any, owner: JsonObject | StoredObject, entry: JsonObject | StoredObject
) -> TwoClaims:
    """The error that names both entries; `what` names the claimed thing."""
    return TwoClaims(
        f"{entry.source}: {what} {key!r:.80} is also that of {owner}; two entries cannot share it: "
        "remove or change one"
    )
