"""Reading the fields of annotation files so that every complaint names its place."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rgan_tf.errors import BadInput


class JsonObject:
    """A JSON object with the place it comes from.

    Args:
      value: the parsed object.
      path: the file it is from.
      place: where in the file.

    Raises:
      BadInput: if `value` is not an object.
    """

    __slots__ = ("value", "_path", "_place")

    def __init__(self, value: Any, path: Path, place: str = ""):
        if not isinstance(value, Mapping):
            raise BadInput(f"{path}{place}: expected a JSON object, got {type(value).__name__}")
        self.value = value
        self._path = path
        self._place = place

    @property
    def source(self) -> str:
        """File and place, for messages."""
        return f"{self._path}{self._place}"

    def list(self, key: str) -> list[JsonObject]:
        """The objects of the list `key`; it must be there."""
        items = self.value.get(key)
        if not isinstance(items, list):
            raise BadInput(f"{self.source}: has no list {key!r}; not a file of this data set")
        return object_list(items, self._path, f"{self._place} {key}")

    def optional_list(self, key: str) -> list[JsonObject]:
        """The objects of the list `key`, or none."""
        return self.list(key) if key in self.value else []

    def child(self, key: str) -> JsonObject:
        """The object `key`; it must be there."""
        return JsonObject(self.value.get(key), self._path, f"{self._place} {key}")

    def number(self, key: str, default: int | None = None) -> int:
        """The integer `key`, or `default` where it is absent or null."""
        value = self._optional(key, default)
        if not isinstance(value, int):
            raise BadInput(f"{self.source}: {key!r} must be an integer, got {value!r:.60}")
        return int(value)

    def text(self, key: str, default: str | None = None) -> str:
        """The text `key`, or `default` where it is absent or null."""
        value = self._optional(key, default)
        if not isinstance(value, str) or not is_text(value):
            raise BadInput(f"{self.source}: {key!r} must be text, got {value!r:.60}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """The texts of the list `key`; it must be there."""
        value = self.value.get(key)
        if not isinstance(value, list) or not all(
            isinstance(item, str) and is_text(item) for item in value
        ):
            raise BadInput(f"{self.source}: {key!r} must be a list of text, got {value!r:.60}")
        return tuple(value)

    def _optional(self, key: str, default):
        value = self.value.get(key)
        return default if value is None else value  # files write null for "unknown"


def is_text(value: str) -> bool:
    """Whether UTF-8 can hold it; halves of a surrogate pair, as bad bytes of a name become, it
    cannot."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def object_list(items: Any, path: Path, place: str = "") -> list[JsonObject]:
    """The members of a JSON list of objects.

    Raises:
      BadInput: if it is not a list of objects.
    """
    if not isinstance(items, list):
        raise BadInput(f"{path}{place}: expected a JSON list, got {type(items).__name__}")
    return [JsonObject(item, path, f"{place}[{index}]") for index, item in enumerate(items)]
