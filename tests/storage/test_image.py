"""Every kind of good and bad image file, resizing, PNG bytes, grids."""

from __future__ import annotations

import io
import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage import image as images

RGB = np.random.default_rng(0).integers(0, 256, [20, 30, 3], dtype=np.uint8)


def _bytes(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def _png_bomb(width: int, height: int) -> bytes:
    """A few bytes that claim to be a picture of that size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels)


def test_png_round_trip_is_exact_and_deterministic(tmp_path):
    data = images.encode_png(RGB)
    assert data == images.encode_png(RGB.copy())
    (tmp_path / "a.png").write_bytes(data)
    read = images.read_image(tmp_path / "a.png")
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read, RGB)


def test_sixteen_bit_grey_keeps_its_brightness():
    levels = np.tile(np.array([0, 257 * 100, 65535, 257 * 7], np.uint16), (16, 4))
    read = images.decode_image(_bytes(Image.fromarray(levels)), "x")
    np.testing.assert_array_equal(read[0, :4, 0], [0, 100, 255, 7])
    np.testing.assert_array_equal(read[..., 0], read[..., 2])


def test_transparency_is_shown_on_white():
    rgba = np.zeros([16, 16, 4], np.uint8)
    rgba[:, 8:] = (200, 0, 0, 255)
    read = images.decode_image(_bytes(Image.fromarray(rgba)), "x")
    assert read[0, 0].tolist() == [255, 255, 255] and read[0, 15].tolist() == [200, 0, 0]


def test_palette_with_transparent_entry():
    palette = Image.fromarray(np.zeros([16, 16], np.uint8), "P")
    palette.putpalette([10, 20, 30] + [0] * 765)
    assert images.decode_image(_bytes(palette), "x")[0, 0].tolist() == [10, 20, 30]
    shown = images.decode_image(_bytes(palette, transparency=0), "x")
    assert shown[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["L", "1", "CMYK"])
def test_other_modes_become_rgb(mode):
    kind = "JPEG" if mode == "CMYK" else "PNG"
    white = Image.new("RGB", (16, 20), (255, 255, 255)).convert(mode)
    read = images.decode_image(_bytes(white, kind), "x")
    assert read.shape == (20, 16, 3) and read.min() >= 254


def test_exif_rotation_is_applied():
    picture = Image.new("RGB", (40, 20), (0, 0, 0))
    picture.paste((255, 255, 255), (0, 0, 20, 20))  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter clockwise
    read = images.decode_image(_bytes(picture, "JPEG", exif=exif, quality=95), "x")
    assert read.shape == (40, 20, 3)
    assert read[:18].min() > 200 and read[22:].max() < 50  # left has become top


def _with_chunks(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """Puts chunks behind the header of a PNG file."""
    end = 8 + 25
    return png[:end] + b"".join(_chunk(*chunk) for chunk in chunks) + png[end:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    crc = struct.pack(">I", zlib.crc32(kind + data))
    return struct.pack(">I", len(data)) + kind + data + crc


_LONG = zlib.compress(b"about nothing " * 200_000)  # 2.8 MB in a few kB


@pytest.mark.parametrize(
    "chunk",
    [
        (b"zTXt", b"Comment\0\0" + _LONG),
        (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + _LONG),
        (b"iCCP", b"profile\0\0" + _LONG),
        (b"iCCP", b"profile\0\7" + b"no deflate stream"),
        (b"iCCP", b""),
        (b"eXIf", b"neither II nor MM"),
        (b"pHYs", b"short"),
        (b"acTL", b"\0"),
    ],
)
def test_an_intact_png_is_read_whatever_is_written_beside_its_pixels(chunk):
    data = _with_chunks(images.encode_png(RGB), chunk)
    np.testing.assert_array_equal(images.decode_image(data, "x"), RGB)
    # Bombs are refused all the same, and so is what is damaged.
    with pytest.raises(BadInput, match="pixels"):
        images.decode_image(_with_chunks(_png_bomb(20000, 20000), chunk), "x")
    with pytest.raises(CorruptData, match="damaged"):
        images.decode_image(data[:-200], "x")


def test_a_png_with_long_texts_is_still_turned(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    tall = _bytes(Image.fromarray(RGB), exif=exif)
    data = _with_chunks(tall, (b"zTXt", b"Comment\0\0" + _LONG))
    np.testing.assert_array_equal(images.decode_image(data, "x"), np.rot90(RGB, -1))
    (tmp_path / "a.png").write_bytes(data)
    assert images.image_size(tmp_path / "a.png") == (30, 20)  # as stored


@pytest.mark.parametrize(
    "marker, content",
    [
        (0xE2, b"ICC_PROFILE\0"),
        (0xE2, b"ICC_PROFILE\0\2\3rest"),
        (0xE2, b"MPF\0II*\0\xff\xff\xff\xff"),
        (0xE1, b"Exif\0\0neither II nor MM"),
        (0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"),
        (0xE1, b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta tiff:Orientation='"),
        (0xED, b"Photoshop 3.0\08BIM\xff\xff\xff"),
        (0xFE, b"\xff" * 60_000),
    ],
)
def test_an_intact_jpeg_is_read_whatever_is_written_beside_its_pixels(marker, content):
    plain = _bytes(Image.fromarray(RGB), "JPEG", quality=95)
    segment = bytes([0xFF, marker]) + struct.pack(">H", len(content) + 2) + content
    data = plain[:2] + segment + plain[2:]
    expected = images.decode_image(plain, "x")
    np.testing.assert_array_equal(images.decode_image(data, "x"), expected)
    with pytest.raises(CorruptData, match="damaged"):
        images.decode_image(data[: len(data) - len(plain) // 3], "x")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_orientations(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _bytes(Image.fromarray(RGB), exif=exif)
    turned = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(images.decode_image(data, "x"), np.asarray(turned))


def test_missing_folder_and_wrong_kinds(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        images.read_image(tmp_path / "none.png")
    with pytest.raises(BadInput, match="Is a directory"):
        images.read_image(tmp_path)
    with pytest.raises(BadInput, match="not a PNG or JPEG"):
        images.decode_image(b"just text, renamed to .jpg", "a.jpg")
    with pytest.raises(BadInput, match="not a PNG or JPEG"):
        images.decode_image(_bytes(Image.fromarray(RGB), "GIF"), "a.gif")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_every_truncation_is_reported_as_damage(kind):
    data = _bytes(Image.fromarray(RGB), kind)
    assert images.decode_image(data, "x").shape == RGB.shape
    end = len(data) - (12 if kind == "PNG" else 8)  # what follows the last pixel may be missing
    for length in range(8, end, 37):
        with pytest.raises(CorruptData, match="^image x: damaged"):
            images.decode_image(data[:length], "x")
    with pytest.raises(CorruptData, match="empty"):
        images.decode_image(b"", "x")


def test_flipped_bytes_never_escape_as_other_errors():
    data = bytearray(_bytes(Image.fromarray(RGB)))
    rng = np.random.default_rng(1)
    damaged = 0
    for _ in range(150):
        broken = bytearray(data)
        for position in rng.integers(8, len(data), 3):
            broken[position] ^= 1 << int(rng.integers(8))
        try:
            images.decode_image(bytes(broken), "x")
        except (BadInput, CorruptData) as error:
            damaged += 1
            assert "\n" not in str(error)
    assert damaged > 100


@pytest.mark.parametrize("size", [(8000, 6000), (12000, 10000), (20000, 20000), (2**31 - 1, 1)])
@pytest.mark.filterwarnings("ignore:Image size")
def test_bombs_are_refused_from_their_header(size):
    with pytest.raises(BadInput, match="pixels"):
        images.decode_image(_png_bomb(*size), "bomb")


def test_small_sides_and_large_files():
    with pytest.raises(BadInput, match="40x15 is smaller than 16"):
        images.decode_image(_bytes(Image.new("RGB", (40, 15))), "x")
    with pytest.raises(BadInput, match="20 MiB"):
        images.decode_image(b"\xff\xd8\xff" + bytes(20 * 2**20), "x")


def test_resize_averages_what_it_shrinks():
    checks = np.zeros([64, 32, 3], np.uint8)
    checks[::2, 1::2] = checks[1::2, ::2] = 255
    small = images.resize_image(checks, 8)
    assert small.shape == (8, 8, 3) and small.dtype == np.uint8
    # Without antialiasing the result would be black or white.
    assert 110 < small.min() and small.max() < 145
    np.testing.assert_array_equal(images.resize_image(small, 8), small)


def test_grid_places_images_in_reading_order():
    cells = [np.full([4, 6, 3], value, np.uint8) for value in (10, 20, 30)]
    sheet = images.grid(cells, columns=2, gap=1)
    assert sheet.shape == (1 + 2 * 5, 1 + 2 * 7, 3)
    assert [sheet[2, 2, 0], sheet[2, 9, 0], sheet[7, 2, 0]] == [10, 20, 30]
    assert (sheet[6:, 8:] == 255).all() and (sheet[0] == 255).all()
    with pytest.raises(ValueError, match="0 and 2"):
        images.grid([], 2)


def test_what_is_not_a_regular_file_is_refused_unopened(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")  # opened, it would be waited for
    for path in (tmp_path / "pipe.png", "/dev/null"):
        with pytest.raises(BadInput, match="is not a regular file"):
            images.read_image(path)
