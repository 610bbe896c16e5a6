"""Reads images within bounds; resizes them; writes PNG and contact sheets. All are uint8 RGB."""

from __future__ import annotations

import contextlib
import io
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.near_names import spelled_otherwise
from rgan_tf.storage.image_metadata import without_metadata

_Result = TypeVar("_Result")

MAX_FILE_BYTES = 20 * 2**20
MAX_PIXELS = 40_000_000
MIN_SIDE = 16  # px

_SIGNATURES = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_TURNS = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def read_image(path: str | Path, *, apply_orientation: bool = True) -> np.ndarray:
    """Reads a PNG or JPEG file as a viewer would show it.

    The header is checked before any pixel is decoded. EXIF rotation is applied; grey, palette,
    CMYK and 16-bit images are converted; transparent pixels are shown on white.

    Args:
      path: a file of at most `MAX_FILE_BYTES`, `MAX_PIXELS`, and `MIN_SIDE` on either side.
      apply_orientation: apply the EXIF orientation; False leaves the pixels as stored, to which
        annotated boxes refer.

    Returns:
      uint8 [H, W, 3], RGB.

    Raises:
      BadInput: if the file is missing, of another type, or outside the bounds.
      CorruptData: if it is a PNG or JPEG that cannot be decoded.
    """
    return decode_image(_read(Path(path)), str(path), apply_orientation=apply_orientation)


def image_size(path: str | Path) -> tuple[int, int]:
    """Width and height of a PNG or JPEG file as stored, in px, from its header alone.

    Raises:
      BadInput, CorruptData: see `read_image`.
    """
    return size_of(_read(Path(path)), str(path))


def size_of(data: bytes, source: str) -> tuple[int, int]:
    """Like `image_size`, for the bytes of a whole file; see `decode_image`."""
    return _decode(data, source, lambda image: image.size)


def _read(path: Path) -> bytes:
    try:
        kind = os.stat(path).st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # reading a pipe would block
            raise BadInput(f"image {path}: is not a regular file; name a PNG or JPEG file")
        with open(path, "rb") as file:
            # `read` allocates what it is asked for: the limit would cost 20 MiB per small file.
            size = os.fstat(file.fileno()).st_size
            return file.read(min(size, MAX_FILE_BYTES) + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        advice = spelled_otherwise(path) or "; name a PNG or JPEG file"
        raise BadInput(f"image {path}: {reason}{advice}") from error


def decode_image(data: bytes, source: str, *, apply_orientation: bool = True) -> np.ndarray:
    """Decodes the bytes of a PNG or JPEG file; see `read_image`.

    Args:
      data: the whole file.
      source: its name in messages.
      apply_orientation: as for `read_image`.

    Returns:
      uint8 [H, W, 3], RGB.
    """

    def pixels(image: Image.Image) -> np.ndarray:
        return np.asarray(_to_rgb(_turned(image) if apply_orientation else image))

    return _decode(data, source, pixels)


def _decode(data: bytes, source: str, use: Callable[[Image.Image], _Result]) -> _Result:
    """Opens an image within bounds; whatever `use` raises counts as damage.

    Damaged images are tried again without metadata: damage there does not count.
    """
    if len(data) > MAX_FILE_BYTES:
        raise BadInput(f"image {source}: larger than {MAX_FILE_BYTES // 2**20} MiB")
    if not data:
        raise CorruptData(f"image {source}: the file is empty")
    if not data.startswith(_SIGNATURES):
        raise BadInput(f"image {source}: not a PNG or JPEG file")
    try:
        return _decode_once(data, source, use)
    except CorruptData:
        for keep_orientation in (True, False):
            plain = without_metadata(data, keep_orientation=keep_orientation)
            if plain != data:
                with contextlib.suppress(CorruptData):
                    return _decode_once(plain, source, use)
        raise


def _decode_once(data: bytes, source: str, use: Callable[[Image.Image], _Result]) -> _Result:
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadInput(f"image {source}: more than {MAX_PIXELS} pixels") from error
    except Exception as error:  # damaged headers raise whatever the decoder stumbles over
        raise CorruptData(f"image {source}: damaged ({_reason(error)})") from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise BadInput(f"image {source}: {width}x{height} is more than {MAX_PIXELS} pixels")
    if min(width, height) < MIN_SIDE:
        raise BadInput(f"image {source}: {width}x{height} is smaller than {MIN_SIDE} px a side")
    try:
        return use(image)
    except Exception as error:  # as above; a truncated file fails only here
        raise CorruptData(f"image {source}: damaged ({_reason(error)})") from error


def _turned(image: Image.Image) -> Image.Image:
    """The image in its EXIF orientation; as stored if that cannot be read."""
    image.load()  # damaged pixels raise here, so that only the tag can fail below
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # a damaged tag can raise anything
        return image
    turn = _TURNS.get(orientation) if isinstance(orientation, int) else None
    return image if turn is None else image.transpose(turn)


def resize_image(image: np.ndarray, size: int) -> np.ndarray:
    """Squashes an image to a square; antialiased bilinear, as everywhere in the project.

    Args:
      image: uint8 [H, W, 3].
      size: side of the result in px.

    Returns:
      uint8 [size, size, 3].
    """
    if image.shape[:2] == (size, size):
        return image
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(resized)


def encode_png(image: np.ndarray, *, level: int = 6) -> bytes:
    """Encodes uint8 [H, W, 3] as PNG; equal pixels give equal bytes.

    Args:
      image: the pixels.
      level: 0 to 9, of the compression.
    """
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG", optimize=False, compress_level=level)
    return buffer.getvalue()


def grid(images: Sequence[np.ndarray], columns: int, gap: int = 2) -> np.ndarray:
    """Lays images out in rows on a white ground.

    Args:
      images: at least one uint8 [h, w, 3]; smaller ones are centred in cells of the largest.
      columns: images per row, >= 1.
      gap: px between cells and around the grid.

    Returns:
      uint8 [H, W, 3].

    Raises:
      ValueError: if there is no image or no column.
    """
    if not images or columns < 1:
        raise ValueError(f"need images and columns >= 1, got {len(images)} and {columns}")
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = max(image.shape[0] for image in images)
    width = max(image.shape[1] for image in images)
    sheet = np.full((gap + rows * (height + gap), gap + columns * (width + gap), 3), 255, np.uint8)
    for index, image in enumerate(images):
        top = gap + (index // columns) * (height + gap) + (height - image.shape[0]) // 2
        left = gap + (index % columns) * (width + gap) + (width - image.shape[1]) // 2
        sheet[top : top + image.shape[0], left : left + image.shape[1]] = image
    return sheet


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips it to white
        grey = np.clip(np.asarray(image, np.int64), 0, 65535)
        return Image.fromarray(((grey + 128) // 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, (255, 255, 255, 255))
        image = Image.alpha_composite(white, image)
    return image.convert("RGB")


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "its header cannot be read"  # Pillow's text contains a memory address
    return " ".join(str(error).split())[:120] or type(error).__name__


def float_to_uint8(images: np.ndarray) -> np.ndarray:
    """Converts images in [-1, 1] to bytes, rounded and clipped."""
    scaled = np.round((np.asarray(images, np.float32) + 1.0) * 127.5)
    return np.clip(scaled, 0, 255).astype(np.uint8)
