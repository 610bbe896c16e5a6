"""From annotated images to the rows of a bank: cut, embed, append."""

from __future__ import annotations

import collections
import concurrent.futures
import math
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from rgan_tf.annotations.annotation import AnnotatedImage, stored_box
from rgan_tf.backbones import Backbone
from rgan_tf.bank.contexts import Contexts
from rgan_tf.bank.graphs import graph_of
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.errors import CorruptData
from rgan_tf.storage.image import read_image
from rgan_tf.vocabulary import Vocabulary

PATCH_SIZE = 64  # px, side of the crops in a bank
EMBEDDING_BATCH = 64

_AT_ONCE = 2  # batches embedded at the same time

_EPSILON = 1e-4  # px; a box that ends on a pixel's edge does not touch the next one
_ASPECT_TOLERANCE = 0.05  # of width / height, between an annotation and its image file


class PatchQueue:
    """Embeds patches in batches of one size, across images, and appends them to a bank.

    Workers embed two batches at a time (one alone leaves cores idle between its layers) while the
    caller cuts the next ones. Batches are appended in order. A `with` block appends the rest and
    ends the workers.

    Args:
      bank: where the patches go.
      backbone: embeds them.
      vocabulary: of the category ids.
      contexts: lends a graph to an object that is alone in its image; None lends none.

    Attributes:
      borrowed: how many patches were lent a graph.
    """

    def __init__(
        self,
        bank: PatchBankWriter,
        backbone: Backbone,
        vocabulary: Vocabulary,
        contexts: Contexts | None = None,
    ):
        self._bank = bank
        self._backbone = backbone
        self._vocabulary = vocabulary
        self._contexts = contexts
        self.borrowed = 0
        self._workers = concurrent.futures.ThreadPoolExecutor(_AT_ONCE)
        self._waiting: collections.deque[_Batch] = collections.deque()
        # One tall picture per batch: converted to an array once, not patch by patch.
        self._strip = Image.new("RGB", (PATCH_SIZE, EMBEDDING_BATCH * PATCH_SIZE))
        self._rows: list[dict[str, Any]] = []
        self._places: list[tuple[int, int]] = []

    def add(self, image: AnnotatedImage, pixels: np.ndarray) -> None:
        """Adds the graph of an image and the patches of its objects.

        Args:
          image: its names are in the vocabulary.
          pixels: uint8 [H, W, 3].
        """
        graph = graph_of(image, self._vocabulary)
        ids = graph.objects.tolist()
        positions = list(range(len(ids)))
        lent = None
        if self._contexts is not None and len(ids) == 1:
            lent = self._contexts.draw(ids[0], image.image_id)
        if lent is not None:
            graph, positions[0] = lent
            self.borrowed += 1
        number = self._bank.add_graph(graph)
        picture = Image.fromarray(pixels)
        for index, item in enumerate(image.objects):
            patch = cut_patch(picture, item.box, PATCH_SIZE)
            self._strip.paste(patch, (0, len(self._rows) * PATCH_SIZE))
            self._places.append((number, positions[index]))
            self._rows.append(
                {
                    "category": self._vocabulary.object_name(ids[index]),
                    "category_id": ids[index],
                    "image_id": int(image.image_id),  # may be NumPy's
                    "object_index": index,
                    "box": stored_box(item.box),
                    "licence": image.licence,
                    "url": image.url,
                    "source": image.source,
                    "style": item.style,
                }
            )
            if len(self._rows) == EMBEDDING_BATCH:
                self._submit()

    def __enter__(self) -> PatchQueue:
        return self

    def __exit__(self, kind, error, traceback) -> None:
        try:
            if kind is None:
                self._submit()
                self._collect(0)
        finally:
            self._workers.shutdown(cancel_futures=True)

    def _submit(self) -> None:
        if not self._rows:
            return
        self._collect(_AT_ONCE)
        shape = (EMBEDDING_BATCH, PATCH_SIZE, PATCH_SIZE, 3)
        crops = np.array(self._strip).reshape(shape)[: len(self._rows)]
        features = self._workers.submit(embed_patches, self._backbone, crops)
        self._waiting.append(_Batch(crops, features, self._rows, self._places))
        self._rows, self._places = [], []

    def _collect(self, left: int) -> None:
        """Appends the oldest submitted batches until only `left` remain."""
        while len(self._waiting) > left:
            batch = self._waiting.popleft()
            self._bank.append(batch.crops, batch.features.result(), batch.rows, batch.places)


class _Batch(NamedTuple):
    crops: np.ndarray
    features: concurrent.futures.Future
    rows: list[dict[str, Any]]
    places: list[tuple[int, int]]


def embed_patches(backbone: Backbone, crops: np.ndarray) -> np.ndarray:
    """Backbone features of at most `EMBEDDING_BATCH` patches: uint8 [n, S, S, 3] -> [n, Dx]."""
    # Always a full batch: another size would retrace the network.
    padded = np.zeros((EMBEDDING_BATCH, *crops.shape[1:]), np.uint8)
    padded[: len(crops)] = crops
    return np.asarray(backbone.features(padded))[: len(crops)]


def cut_patch(
    picture: Image.Image, box: tuple[float, float, float, float], size: int
) -> Image.Image:
    """Cuts a box out of an image and squashes it to a square, antialiased bilinear.

    Args:
      picture: RGB.
      box: (y0, x0, y1, x1) fractions.
      size: side of the result in px.
    """
    width, height = picture.size
    y0, x0, y1, x1 = box
    edges = (x0 * width, y0 * height, x1 * width, y1 * height)
    # Cut first, because the filter would reach beyond the box.
    left, top = math.floor(edges[0] + _EPSILON), math.floor(edges[1] + _EPSILON)
    right, bottom = math.ceil(edges[2] - _EPSILON), math.ceil(edges[3] - _EPSILON)
    part = picture.crop((left, top, right, bottom))
    inner = (
        max(edges[0] - left, 0.0),
        max(edges[1] - top, 0.0),
        min(edges[2] - left, part.width),
        min(edges[3] - top, part.height),
    )
    return part.resize((size, size), Image.Resampling.BILINEAR, box=inner)


def read_annotated(image: AnnotatedImage, *, turn: bool = False) -> np.ndarray:
    """The pixels of an annotated image.

    Args:
      image: names the file and, where known, its size.
      turn: apply the EXIF orientation. Annotated boxes refer to the pixels as stored, so without
        `turn` an image is turned only if its annotated size fits it turned and not as stored.

    Returns:
      uint8 [H, W, 3].

    Raises:
      BadInput: if the file is missing, or not a PNG or JPEG.
      CorruptData: if it is damaged, or its shape is not the annotated one.
    """
    pixels = read_image(image.path, apply_orientation=turn)
    if _has_annotated_shape(pixels, image):
        return pixels
    turned = pixels if turn else read_image(image.path)
    if _has_annotated_shape(turned, image):
        return turned
    height, width = pixels.shape[:2]
    stored = "" if turned.shape == pixels.shape else " as stored, the other way by its EXIF tag"
    raise CorruptData(
        f"image {image.path}: is {width}x{height}{stored}, its annotation says "
        f"{image.width}x{image.height}; not the annotated image"
    )


def _has_annotated_shape(pixels: np.ndarray, image: AnnotatedImage) -> bool:
    if not (image.width and image.height):
        return True
    height, width = pixels.shape[:2]
    stretch = width * image.height / (height * image.width)
    return abs(stretch - 1) <= _ASPECT_TOLERANCE
