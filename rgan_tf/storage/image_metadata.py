"""Strips the metadata from PNG and JPEG files."""

from __future__ import annotations

from collections.abc import Iterator

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_PNG_ORIENTATION = (b"eXIf",)
_PNG_OVERHEAD = 12  # bytes of a chunk besides its data: length, type, checksum

_JPEG_EXIF = 0xE1
_JPEG_METADATA = {*range(0xE1, 0xF0), 0xFE} - {0xEE}  # APP0 is JFIF, APP14 gives the colour space
_JPEG_SCAN = 0xDA  # no metadata from here on


def without_metadata(data: bytes, *, keep_orientation: bool) -> bytes:
    """Removes texts, colour profiles, previews and the like from an image file.

    Args:
      data: of a PNG or JPEG file; unknown parts are kept.
      keep_orientation: keep the EXIF tags.

    Returns:
      A file with the same pixels.
    """
    if data.startswith(_PNG_SIGNATURE):
        kept = _PNG_PIXELS + (_PNG_ORIENTATION if keep_orientation else ())
        parts = [part for kind, part in _png_chunks(data) if kind in kept]
        return _PNG_SIGNATURE + b"".join(parts)
    dropped = _JPEG_METADATA - ({_JPEG_EXIF} if keep_orientation else set())
    return b"".join(part for kind, part in _jpeg_segments(data) if kind not in dropped)


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    start = len(_PNG_SIGNATURE)
    while start < len(data):
        length = int.from_bytes(data[start : start + 4], "big")
        end = start + _PNG_OVERHEAD + length
        yield data[start + 4 : start + 8], data[start:end]
        start = end


def _jpeg_segments(data: bytes) -> Iterator[tuple[int | None, bytes]]:
    """Marker and bytes of each segment up to the first scan, then the rest, without a marker."""
    start = 2
    yield None, data[:start]
    while data[start : start + 1] == b"\xff" and len(data) >= start + 4:
        marker = data[start + 1]
        if marker in (_JPEG_SCAN, 0xFF):
            break
        end = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
        yield marker, data[start:end]
        start = end
    yield None, data[start:]
