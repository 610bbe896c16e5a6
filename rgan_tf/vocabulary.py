"""Names and ids of objects and predicates, with their reserved entries."""

from __future__ import annotations

import collections
import dataclasses
import functools
import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

from rgan_tf.arguments import whole_number
from rgan_tf.errors import BadInput
from rgan_tf.near_names import near_names

PADDING = 0  # object id of an absent object
IMAGE = 1  # object id of the node of the whole image
IN_IMAGE = 0  # predicate id between every object and that node
MAX_NAME_CHARACTERS = 64  # of a name in a scene graph

RESERVED_OBJECTS = ("__padding__", "__image__")
RESERVED_PREDICATES = ("__in_image__",)
GEOMETRIC_PREDICATES = ("left of", "right of", "above", "below", "inside", "surrounding")


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Two tables from id to name; an id is a position in its table.

    Attributes:
      objects: `RESERVED_OBJECTS`, then the categories.
      predicates: `RESERVED_PREDICATES`, then the dataset's predicates.

    Raises:
      BadInput: if a table does not start with its reserved entries, or a name is empty, repeated
        or not text.
    """

    objects: tuple[str, ...]
    predicates: tuple[str, ...]

    def __post_init__(self):
        _check_table("objects", self.objects, RESERVED_OBJECTS)
        _check_table("predicates", self.predicates, RESERVED_PREDICATES)

    @classmethod
    def from_categories(
        cls, categories: Iterable[str], predicates: Sequence[str] = GEOMETRIC_PREDICATES
    ) -> Vocabulary:
        """Builds the tables: categories sorted by name from id 2, predicates as given from 1.

        Raises:
          BadInput: as the class, and if a name is too long for a scene graph.
        """
        categories = list(categories)
        for name in (*categories, *predicates):
            if isinstance(name, str) and len(name) > MAX_NAME_CHARACTERS:
                raise BadInput(
                    f"the name {name[:40]!r}... has {len(name)} characters; a scene graph can "
                    f"hold at most {MAX_NAME_CHARACTERS}; shorten it in the annotations"
                )
        return cls(
            objects=RESERVED_OBJECTS + tuple(sorted(categories)),
            predicates=RESERVED_PREDICATES + tuple(predicates),
        )

    def with_composed_names(self) -> Vocabulary:
        """The same ids with names as graphs have them (see `composed`); its `sha256` may differ."""
        return Vocabulary(
            objects=tuple(map(composed, self.objects)),
            predicates=tuple(map(composed, self.predicates)),
        )

    @property
    def categories(self) -> tuple[str, ...]:
        """The object names a user may write."""
        return self.objects[len(RESERVED_OBJECTS) :]

    @property
    def num_objects(self) -> int:
        """Size of the object table, including reserved entries."""
        return len(self.objects)

    @property
    def num_predicates(self) -> int:
        """Size of the predicate table, including reserved entries."""
        return len(self.predicates)

    def object_id(self, name: str) -> int:
        """The id of a category.

        Raises:
          BadInput: if the name is unknown (suggests near names) or reserved.
        """
        return self._lookup("object", name, self._object_ids, RESERVED_OBJECTS)

    def predicate_id(self, name: str) -> int:
        """The id of a predicate.

        Raises:
          BadInput: if the name is unknown (suggests near names) or reserved.
        """
        return self._lookup("relationship", name, self._predicate_ids, RESERVED_PREDICATES)

    def object_name(self, object_id: int) -> str:
        """The name of an object id, including reserved ids.

        Raises:
          BadInput: if there is no such id.
        """
        return self._name("object", object_id, self.objects)

    def predicate_name(self, predicate_id: int) -> str:
        """The name of a predicate id, including reserved ids.

        Raises:
          BadInput: if there is no such id.
        """
        return self._name("predicate", predicate_id, self.predicates)

    def to_json(self) -> dict[str, list[str]]:
        """Both tables as lists, for `from_json`."""
        return {"objects": list(self.objects), "predicates": list(self.predicates)}

    @classmethod
    def from_json(cls, value: Any, source: str = "vocabulary") -> Vocabulary:
        """Reads the value of `to_json`.

        Raises:
          BadInput: if it is anything else; the message starts with `source`.
        """
        if not isinstance(value, dict) or set(value) != {"objects", "predicates"}:
            raise BadInput(f'{source}: expected the keys "objects" and "predicates"')
        if not all(isinstance(table, list) for table in value.values()):
            raise BadInput(f"{source}: objects and predicates must be lists of names")
        try:
            return cls(objects=tuple(value["objects"]), predicates=tuple(value["predicates"]))
        except BadInput as error:
            raise BadInput(f"{source}: {error}") from error

    def sha256(self) -> str:
        """Fingerprint of both tables in order; equal exactly if all ids mean the same."""
        text = json.dumps(self.to_json(), ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    @functools.cached_property
    def _object_ids(self) -> dict[str, int]:
        return {composed(name): index for index, name in enumerate(self.objects)}

    @functools.cached_property
    def _predicate_ids(self) -> dict[str, int]:
        return {composed(name): index for index, name in enumerate(self.predicates)}

    @staticmethod
    def _name(kind: str, number: int, names: tuple[str, ...]) -> str:
        if not 0 <= whole_number(number, f"{kind} id") < len(names):
            raise BadInput(f"{kind} id {number}: must be in [0, {len(names)})")
        return names[number]

    @staticmethod
    def _lookup(kind: str, name: str, ids: dict[str, int], reserved: tuple[str, ...]) -> int:
        if not isinstance(name, str):
            raise BadInput(f"{kind} {name!r}: must be a name from the vocabulary")
        if name in reserved:
            raise BadInput(f"{kind} {name!r}: is added by the model itself; leave it out")
        if composed(name) in ids:
            return ids[composed(name)]
        advice = near_names(name, (other for other in ids if other not in reserved))
        shown = name if len(name) <= 64 else name[:61] + "..."
        raise BadInput(f"unknown {kind} {shown!r}; {advice}")


def composed(name: str) -> str:
    """A name with its letters and accents in one form; some systems take them apart.

    What macOS calls "Bäume" has five letters and one accent, what a keyboard writes five letters.
    A value that is not a text is returned as it is: the caller that needs a text checks it and says
    where it is from.
    """
    return unicodedata.normalize("NFC", name) if isinstance(name, str) else name


def _check_table(kind: str, names: tuple[str, ...], reserved: tuple[str, ...]) -> None:
    if not all(isinstance(name, str) and name.strip() == name != "" for name in names):
        raise BadInput(f"{kind}: every name must be text without blanks around it")
    if tuple(names[: len(reserved)]) != reserved:
        raise BadInput(f"{kind}: must start with the reserved {', '.join(reserved)}")
    same = collections.Counter(map(composed, names))
    if len(same) != len(names):
        twice = next(name for name, count in same.items() if count > 1)
        raise BadInput(f"{kind}: {twice!r} is listed twice")
