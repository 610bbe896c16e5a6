"""What every dataset reader produces: images with objects and relationships between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class AnnotatedObject:
    """One object of an image.

    Attributes:
      category: name, as in the vocabulary.
      box: (y0, x0, y1, x1), fractions of the image in [0, 1], y0 < y1 and x0 < x1.
      centre: (y, x) fractions; the mask's centroid where there is a mask, else the box's centre.
      style: hidden appearance label of the procedural world, for evaluation only.
    """

    category: str
    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    style: str = ""


@dataclasses.dataclass(frozen=True)
class AnnotatedImage:
    """One image with its scene graph.

    Attributes:
      image_id: the dataset's own number.
      path: the image file.
      objects: in the dataset's order.
      relationships: (subject, predicate name, object) with positions in `objects`.
      licence: name of the image's licence, empty where unknown.
      url: where the image comes from, empty where unknown.
      source: the file relative to the dataset's root, kept for provenance.
      width, height: px as annotated; 0 where unknown.
    """

    image_id: int
    path: Path
    objects: tuple[AnnotatedObject, ...]
    relationships: tuple[tuple[int, str, int], ...]
    licence: str
    url: str
    source: str
    width: int = 0
    height: int = 0


@dataclasses.dataclass(frozen=True)
class AnnotatedDataset:
    """All that preparing needs to know of a dataset before it opens the images.

    Attributes:
      kind: "coco", "procedural" or "visual_genome".
      splits: images by split name, "train", "val" and "test".
      categories: every category an object may have.
      predicates: every predicate a relationship may have, in id order.
      skipped: per split, why images and objects were left out, with counts.
      skipped_first: per split and reason, the first few by name.
      bad_images: one line for each image whose entry is of no use.
      renumbered_images: how many were given another id, because theirs is another image's.
    """

    kind: str
    splits: Mapping[str, tuple[AnnotatedImage, ...]]
    categories: tuple[str, ...]
    predicates: tuple[str, ...]
    skipped: Mapping[str, Mapping[str, int]]
    skipped_first: Mapping[str, Mapping[str, Sequence[str]]] = dataclasses.field(
        default_factory=dict
    )
    bad_images: tuple[str, ...] = ()
    renumbered_images: int = 0


def stored_box(box: Sequence[float]) -> list[float]:
    """A box as the tables of a bank hold it; equal ones are one box."""
    return [round(edge, 6) for edge in box]
