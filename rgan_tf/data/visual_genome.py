"""Reads Visual Genome 1.4, filtered the way sg2im and its successors do.

Layout of a root folder:

    image_data.json, objects.json, relationships.json
    object_alias.txt, relationship_alias.txt    one name per line, then its aliases, with commas
    vg_splits.json                              {"train": [image ids], "val": [], "test": []}
    images/VG_100K/, images/VG_100K_2/          as the urls in image_data.json end
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator
from pathlib import Path

from rgan_tf.data.annotation import AnnotatedDataset, AnnotatedImage, AnnotatedObject
from rgan_tf.data.json_object import JsonObject, object_list
from rgan_tf.errors import BadInput
from rgan_tf.files import read_json, safe_join

SPLITS = ("train", "val", "test")

_LICENCE = "CC BY 4.0"  # of the data set; each photograph keeps that of its author


@dataclasses.dataclass(frozen=True)
class GenomeFilter:
    """Which names, objects and images are kept; the defaults are those of the published split.

    Attributes:
      min_image_size: shorter side of an image in px.
      min_category_count: training objects that a category needs to enter the vocabulary.
      min_predicate_count: training relationships that a predicate needs.
      min_object_size: each side of an object's box in px.
      min_objects, max_objects: kept objects per image.
      min_relationships, max_relationships: kept relationships per image.
    """

    min_image_size: int = 200
    min_category_count: int = 2000
    min_predicate_count: int = 500
    min_object_size: int = 32
    min_objects: int = 3
    max_objects: int = 30
    min_relationships: int = 1
    max_relationships: int = 30


def read_visual_genome(
    root: str | Path, *, split: str, keep: GenomeFilter | None = None
) -> Iterator[AnnotatedImage]:
    """The kept images of one split; see `read_visual_genome_dataset`."""
    if split not in SPLITS:
        raise BadInput(f"split {split!r}: must be one of {', '.join(SPLITS)}")
    genome = _Genome(Path(root), keep or GenomeFilter())
    yield from genome.images(split)


def read_visual_genome_dataset(
    root: str | Path, *, keep: GenomeFilter | None = None, limit: int | None = None
) -> AnnotatedDataset:
    """Reads all three splits.

    Args:
      root: folder in the layout above.
      keep: the filter; by default the published one.
      limit: at most this many images of each split, the first by id.

    Raises:
      BadInput: if a file is missing, not JSON, or not what Visual Genome documents.
    """
    genome = _Genome(Path(root), keep or GenomeFilter())
    splits = {split: tuple(genome.images(split))[:limit] for split in SPLITS}
    for split, members in splits.items():
        if not members:
            raise BadInput(f"{root}: no image is left for {split} after filtering")
    return AnnotatedDataset(
        kind="visual_genome",
        splits=splits,
        categories=tuple(sorted(genome.categories)),
        predicates=tuple(sorted(genome.predicates)),
        skipped={split: dict(counts) for split, counts in genome.skipped.items()},
    )


class _Genome:
    """The annotation files, read once."""

    def __init__(self, root: Path, keep: GenomeFilter):
        if not root.is_dir():
            raise BadInput(f"{root}: no such folder; --root holds the Visual Genome JSON files")
        self._root = root
        self._keep = keep
        self._object_names = _read_aliases(root / "object_alias.txt")
        self._predicate_names = _read_aliases(root / "relationship_alias.txt")
        self._splits = _read_splits(root / "vg_splits.json")
        self._images = _by_image(root / "image_data.json")
        self._objects = _by_image(root / "objects.json")
        self._relationships = _by_image(root / "relationships.json")
        self.skipped = {split: collections.Counter() for split in SPLITS}
        train = [image_id for image_id in self._splits["train"] if self._is_large(image_id)]
        self.categories = self._count_categories(train)
        self.predicates = self._count_predicates(train)

    def images(self, split: str) -> Iterator[AnnotatedImage]:
        """The kept images of a split, sorted by id."""
        for image_id in sorted(self._splits[split]):
            image = self._annotated(image_id, self.skipped[split])
            if image is not None:
                yield image

    def _is_large(self, image_id: int) -> bool:
        image = self._images.get(image_id)
        if image is None:
            return False
        return min(image.number("width"), image.number("height")) >= self._keep.min_image_size

    def _count_categories(self, image_ids: list[int]) -> set[str]:
        counts: collections.Counter[str] = collections.Counter()
        for image_id in image_ids:
            for item in self._members(self._objects, image_id, "objects"):
                counts.update({_canonical(name, self._object_names) for name in _names(item)})
        return _frequent(counts, self._keep.min_category_count, "category", self._root)

    def _count_predicates(self, image_ids: list[int]) -> set[str]:
        counts: collections.Counter[str] = collections.Counter()
        for image_id in image_ids:
            for item in self._members(self._relationships, image_id, "relationships"):
                counts[_canonical(item.text("predicate"), self._predicate_names)] += 1
        return _frequent(counts, self._keep.min_predicate_count, "predicate", self._root)

    def _members(self, table: dict[int, JsonObject], image_id: int, key: str) -> list[JsonObject]:
        return table[image_id].list(key) if image_id in table else []

    def _annotated(self, image_id: int, skipped: collections.Counter[str]) -> AnnotatedImage | None:
        keep = self._keep
        image = self._images.get(image_id)
        if image is None or not self._is_large(image_id):
            skipped["image: not listed" if image is None else "image: too small"] += 1
            return None
        objects: dict[int, AnnotatedObject] = {}
        for item in self._members(self._objects, image_id, "objects"):
            kept = self._object(item, image, skipped)
            if kept is not None:
                objects[item.number("object_id")] = kept
        positions = {object_id: index for index, object_id in enumerate(objects)}
        triples = self._triples(image_id, positions)
        if not keep.min_objects <= len(objects) <= keep.max_objects:
            skipped["image: too few or too many objects"] += 1
            return None
        if not keep.min_relationships <= len(triples) <= keep.max_relationships:
            skipped["image: too few or too many relationships"] += 1
            return None
        url = image.text("url")
        name = "/".join(url.split("/")[-2:])
        return AnnotatedImage(
            image_id=image_id,
            path=safe_join(self._root / "images", name),
            objects=tuple(objects.values()),
            relationships=tuple(triples),
            licence=_LICENCE,
            url=url,
            source=f"images/{name}",
            width=image.number("width"),
            height=image.number("height"),
        )

    def _object(
        self, item: JsonObject, image: JsonObject, skipped: collections.Counter[str]
    ) -> AnnotatedObject | None:
        names = [_canonical(name, self._object_names) for name in _names(item)]
        category = next((name for name in names if name in self.categories), None)
        if category is None:
            skipped["object: rare name"] += 1
            return None
        x, y, w, h = (item.number(key) for key in ("x", "y", "w", "h"))
        if min(w, h) < self._keep.min_object_size:
            skipped["object: too small"] += 1
            return None
        width, height = image.number("width"), image.number("height")
        x0, x1 = (min(max(edge / width, 0.0), 1.0) for edge in (x, x + w))
        y0, y1 = (min(max(edge / height, 0.0), 1.0) for edge in (y, y + h))
        if x1 - x0 < 1e-3 or y1 - y0 < 1e-3:
            skipped["object: outside its image"] += 1
            return None
        return AnnotatedObject(category, (y0, x0, y1, x1), ((y0 + y1) / 2, (x0 + x1) / 2))

    def _triples(self, image_id: int, positions: dict[int, int]) -> list[tuple[int, str, int]]:
        triples: dict[tuple[int, str, int], None] = {}
        for item in self._members(self._relationships, image_id, "relationships"):
            predicate = _canonical(item.text("predicate"), self._predicate_names)
            subject = positions.get(item.child("subject").number("object_id"))
            target = positions.get(item.child("object").number("object_id"))
            known = predicate in self.predicates and subject is not None and target is not None
            if known and subject != target:
                triples[(subject, predicate, target)] = None
        return list(triples)


def _by_image(path: Path) -> dict[int, JsonObject]:
    entries = object_list(read_json(path), path)
    # The first release calls the id of an image "id" in some files.
    return {entry.number("image_id", entry.value.get("id")): entry for entry in entries}


def _read_splits(path: Path) -> dict[str, list[int]]:
    value = read_json(path)
    for split in SPLITS:
        ids = value.get(split) if isinstance(value, dict) else None
        if not isinstance(ids, list) or not all(isinstance(item, int) for item in ids):
            raise BadInput(f"{path}: {split!r} must be a list of image ids")
    return {split: list(dict.fromkeys(value[split])) for split in SPLITS}


def _read_aliases(path: Path) -> dict[str, str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise BadInput(f"{path}: {reason}; it is part of Visual Genome") from error
    aliases: dict[str, str] = {}
    for line in lines:
        name, *others = (_plain(part) for part in line.split(","))
        for other in others:
            if other and name:
                aliases.setdefault(other, name)
    return aliases


def _names(item: JsonObject) -> tuple[str, ...]:
    return item.texts("names") if "names" in item.value else (item.text("name"),)


def _canonical(name: str, aliases: dict[str, str]) -> str:
    plain = _plain(name)
    return aliases.get(plain, plain)


def _plain(name: str) -> str:
    return " ".join(name.lower().split())


def _frequent(counts: collections.Counter[str], at_least: int, kind: str, root: Path) -> set[str]:
    kept = {name for name, count in counts.items() if name and count >= at_least}
    if not kept:
        most = max(counts.values(), default=0)
        raise BadInput(
            f"{root}: no {kind} is used {at_least} times in training images (the most frequent: "
            f"{most}); lower --min-{kind}-count"
        )
    return kept
