"""The output of every dataset reader: images with objects and relationships between them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from rgan_tf.annotations.json_object import JsonObject
from rgan_tf.annotations.left_out import Unusable
from rgan_tf.arguments import whole_number
from rgan_tf.errors import BadInput
from rgan_tf.storage.image import image_size

MAX_IMAGE_ID = 2**63 - 1  # the columns of records and patch banks are int64


def check_limit(limit: int | None) -> None:
    """Refuses a value that is not a number of images per split.

    Raises:
      BadInput: if it is below 1; None sets no limit.
    """
    if limit is not None and whole_number(limit, "--limit") < 1:
        raise BadInput(f"--limit must be at least 1, got {limit}")


@dataclasses.dataclass(frozen=True, slots=True)
class AnnotatedObject:
    """One object of an image.

    Attributes:
      category: name, as in the vocabulary.
      box: (y0, x0, y1, x1), fractions of the image in [0, 1], y0 < y1 and x0 < x1.
      centre: (y, x) fractions; the mask's centroid if there is a mask, else the box's centre.
      style: hidden appearance label of the procedural world, for evaluation only.

    Example:
      ```python
      import rgan_tf

      dog = rgan_tf.AnnotatedObject("dog", box=(0.2, 0.1, 0.8, 0.6), centre=(0.5, 0.35))
      ```
    """

    category: str
    box: tuple[float, float, float, float]
    centre: tuple[float, float]
    style: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class AnnotatedImage:
    """One image with its scene graph.

    Attributes:
      image_id: the dataset's own number, in [0, `MAX_IMAGE_ID`]; no other image of any split may
        have it.
      path: the image file.
      objects: in the order of the dataset.
      relationships: (subject, predicate name, object) with positions in `objects`.
      licence: name of the image's licence; empty if unknown.
      url: origin of the image; empty if unknown.
      source: the file relative to the dataset's root, kept for provenance.
      width: px, as annotated; 0 if unknown.
      height: likewise.

    Example:
      ```python
      from pathlib import Path

      import rgan_tf

      objects = (
          rgan_tf.AnnotatedObject("dog", box=(0.4, 0.1, 0.8, 0.6), centre=(0.6, 0.35)),
          rgan_tf.AnnotatedObject("grass", box=(0.5, 0.0, 1.0, 1.0), centre=(0.75, 0.5)),
      )
      image = rgan_tf.AnnotatedImage(
          image_id=1,
          path=Path("photographs/1.jpg"),
          objects=objects,
          relationships=((0, "above", 1),),
          licence="CC0 1.0 Universal",
          url="",
          source="1.jpg",
      )
      ```
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
    """A dataset as `prepare` reads it, before any image is opened.

    Attributes:
      kind: of the data set, such as "coco"; recorded and shown.
      splits: images by split name, "train", "val" and "test".
      categories: every category an object may have.
      predicates: every predicate a relationship may have, in id order.
      skipped: per split, counts of left-out images and objects by reason.
      skipped_first: per split and reason, the names of the first few.
      bad_images: one line for each image whose entry is unusable.
      renumbered_images: how many got a new id because another image has theirs.
      geometric: the relationships are those of `geometric_relations`, so training may draw others.

    Example:
      ```python
      import rgan_tf

      dataset = rgan_tf.AnnotatedDataset(
          kind="mine",
          splits={"train": (), "val": (), "test": ()},  # tuples of `AnnotatedImage`
          categories=("dog", "grass"),
          predicates=("above", "below"),
          skipped={},
      )
      ```
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
    geometric: bool = False


def annotated_size(image: JsonObject, path: Callable[[], Path]) -> tuple[int, int]:
    """Width and height of an image in px; read from its file if the entry lacks them."""
    width, height = image.side("width"), image.side("height")
    return (width, height) if width and height else image_size(path())


def check_count(count: int, least: int, most: int, what: str) -> None:
    """Raises `Unusable` if an image has too few or too many of something."""
    if count < least:
        raise Unusable(f"image: under {least} {what}")
    if count > most:
        raise Unusable(f"image: over {most} {what}")


def box_in_image(
    x: float, y: float, width: float, height: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The part of a box (in px) inside its image of `size` (width, height), as fractions.

    Raises:
      Unusable: if almost none of it is inside.
    """
    x0, x1 = (min(max(edge / size[0], 0.0), 1.0) for edge in (x, x + width))
    y0, y1 = (min(max(edge / size[1], 0.0), 1.0) for edge in (y, y + height))
    if x1 - x0 < 1e-3 or y1 - y0 < 1e-3:
        raise Unusable("object: outside its image")
    return y0, x0, y1, x1


def centre_of(box: Sequence[float]) -> tuple[float, float]:
    """The centre (y, x) of a box (y0, x0, y1, x1)."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def stored_box(box: Sequence[float]) -> list[float]:
    """A box rounded as in the tables of a bank, where equal values mean the same box."""
    return [round(float(edge), 6) for edge in box]  # of NumPy's numbers too
