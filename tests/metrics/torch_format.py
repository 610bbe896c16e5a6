"""Writes weight files as `torch.save` does, in both layouts, opcode by opcode."""

from __future__ import annotations

import io
import math
import struct
import zipfile
from pathlib import Path

import numpy as np

MAGIC = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19."
PROTOCOL = b"\x80\x02M\xe9\x03."
_STORAGES = {"float32": "FloatStorage", "float16": "HalfStorage", "int64": "LongStorage"}


def text(value: str) -> bytes:
    data = value.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def name(value: str) -> bytes:
    module, attribute = value.rsplit(".", 1)
    return f"c{module}\n{attribute}\n".encode()


def mark(*items: bytes, end: bytes = b"t") -> bytes:
    return b"(" + b"".join(items) + end


def storage(array: np.ndarray, key: str, view: bytes = b"") -> bytes:
    kind = name(f"torch.{_STORAGES[array.dtype.name]}")
    return mark(text("storage"), kind, text(key), text("cpu"), number(array.size), view) + b"Q"


def tensor(
    array: np.ndarray, key: str, *, offset: int = 0, strides=None, view: bytes = b""
) -> bytes:
    """A call of torch's function that makes a tensor of a storage."""
    if strides is None:
        strides = [math.prod(array.shape[axis + 1 :]) for axis in range(array.ndim)]
    arguments = mark(
        storage(array, key, view),
        number(offset),
        mark(*map(number, array.shape)),
        mark(*map(number, strides)),
        b"\x89",
        name("collections.OrderedDict") + b")R",
    )
    return name("torch._utils._rebuild_tensor_v2") + arguments + b"R"


def state(items: dict[str, bytes]) -> bytes:
    """The pickle of a state dict of pickled values, with the notes torch adds to it."""
    pairs = b"".join(text(key) + value for key, value in items.items())
    metadata = b"}" + text("_metadata") + b"}sb"
    return b"\x80\x02" + name("collections.OrderedDict") + b")R(" + pairs + b"u" + metadata + b"."


def write_sequence(path: Path, pickled: bytes, arrays: list[np.ndarray]) -> None:
    """The layout of before PyTorch 1.6; array i has the key str(i)."""
    system = b"\x80\x02}" + text("little_endian") + b"\x88s."
    keys = b"\x80\x02](" + b"".join(text(str(i)) for i in range(len(arrays))) + b"e."
    blocks = [struct.pack("<q", array.size) + array.tobytes() for array in arrays]
    path.write_bytes(MAGIC + PROTOCOL + system + pickled + keys + b"".join(blocks))


def write_archive(path: Path, pickled: bytes, arrays: list[np.ndarray], **options) -> None:
    """The layout since PyTorch 1.6."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        archive.writestr("net/data.pkl", pickled)
        archive.writestr("net/byteorder", b"little")
        for index, array in enumerate(arrays):
            archive.writestr(f"net/data/{index}", array.tobytes())
    path.write_bytes(buffer.getvalue())


def write_state(path: Path, tensors: dict[str, np.ndarray], layout: str = "archive") -> None:
    """A whole state dict."""
    arrays = list(tensors.values())
    items = {key: tensor(array, str(i)) for i, (key, array) in enumerate(tensors.items())}
    write = write_archive if layout == "archive" else write_sequence
    write(path, state(items), arrays)
