"""Reads the tensors of a PyTorch weight file without PyTorch and without running its code.

Such a file is a pickle, which can call anything. This unpickler accepts only the opcodes and names
that a dict of tensors needs, and never imports the names. It reads both layouts: that of before
PyTorch 1.6 (pickles, then the raw numbers) and the later one (a zip archive).

It is not `torch.load` because PyTorch 2.14 for Linux is 0.6 GB and asks for 2.4 GB of CUDA and
Triton beside it, to read heads of 6 to 11 kB and networks of 5 to 550 MB once.
"""

from __future__ import annotations

import dataclasses
import io
import math
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rgan_tf.errors import CorruptData

_BEGINNING = [0x1950A86A20F9469CFC6C, 1001]  # magic number and protocol of the older layout
_MAX_PICKLE = 1 << 16  # bytes of all pickles; VGG16 has 5 kB, and tuples in more nest too deeply
_TYPES = dict(Double="<f8", Float="<f4", Half="<f2", Long="<i8", Int="<i4", Short="<i2")
_TYPES |= dict(Char="<i1", Byte="<u1", Bool="?")
_OPCODES = (
    "PROTO STOP MARK GLOBAL REDUCE BINPERSID BINPUT LONG_BINPUT BINGET LONG_BINGET NONE NEWTRUE "
    "NEWFALSE BININT BININT1 BININT2 LONG1 SHORT_BINSTRING BINSTRING BINUNICODE EMPTY_DICT SETITEM "
    "SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3"
).split()


def read_tensors(path: str | Path, prefix: str = "") -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict.

    Args:
      path: a dict of tensors saved by `torch.save`, such as a torchvision model's.
      prefix: only tensors whose names begin with it are read.

    Returns:
      name -> array with the tensor's type and shape, in file order.

    Raises:
      CorruptData: if the file is damaged, is not such a file, or holds anything but tensors.
    """
    try:
        with open(path, "rb") as file:
            is_archive = file.read(4) == b"PK\x03\x04"
        return (_read_archive if is_archive else _read_sequence)(path, prefix)
    except Exception as error:  # damage can raise anything
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise CorruptData(f"{path}: not a usable torch file ({detail}); fetch it again") from error


def _read_archive(path: str | Path, prefix: str) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(path) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        (root,) = (name[: -len("data.pkl")] for name in entries if name.endswith("/data.pkl"))
        if any(info.compress_type != zipfile.ZIP_STORED for info in entries.values()):
            raise ValueError("a compressed entry")
        if root + "byteorder" in entries and archive.read(root + "byteorder") != b"little":
            raise ValueError("not little-endian")
        if entries[root + "data.pkl"].file_size > _MAX_PICKLE:
            raise ValueError("a pickle too large for a dict of tensors")
        state = _Unpickler(io.BytesIO(archive.read(root + "data.pkl"))).load()
        return _arrays(state, prefix, lambda key: archive.read(f"{root}data/{key}"))


def _read_sequence(path: str | Path, prefix: str) -> dict[str, np.ndarray]:
    data = np.memmap(path, np.uint8, "r")
    pickled = io.BytesIO(data[:_MAX_PICKLE].tobytes())
    if [_Unpickler(pickled).load() for _ in _BEGINNING] != _BEGINNING:
        raise ValueError("its beginning is not that of a torch file")
    if _Unpickler(pickled).load()["little_endian"] is not True:
        raise ValueError("not little-endian")
    unpickler = _Unpickler(pickled)
    state, keys = unpickler.load(), _Unpickler(pickled).load()
    if sorted(keys) != sorted(unpickler.storages):
        raise ValueError("the list of storages does not agree with the tensors")
    blocks, at = {}, pickled.tell()
    for key in keys:  # for each a count, then the numbers
        storage = unpickler.storages[key]
        if int(data[at : at + 8].view("<i8")[0]) != storage.count:
            raise ValueError(f"a storage without its {storage.count} numbers")
        blocks[key] = data[at + 8 : at + 8 + storage.size]
        at += 8 + storage.size
    if at > len(data):
        raise ValueError(f"{len(data)} bytes, which is too few for its tensors")
    return _arrays(state, prefix, lambda key: blocks[key].tobytes())


def _arrays(state: Any, prefix: str, read: Callable[[str], bytes]) -> dict[str, np.ndarray]:
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, _Tensor) for name, tensor in state.items()
    ):
        raise ValueError("not a dict of tensors")
    arrays = {}
    for name, tensor in state.items():
        if name.startswith(prefix):
            data = read(tensor.storage.key)
            if len(data) != tensor.storage.size:
                raise ValueError(f"the numbers of {name!r:.60} are cut short")
            numbers = np.frombuffer(data, tensor.storage.dtype)[tensor.offset :]
            arrays[name] = numbers[: math.prod(tensor.shape)].reshape(tensor.shape)
    return arrays


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    count: int

    @property
    def size(self) -> int:
        return self.count * np.dtype(self.dtype).itemsize


@dataclasses.dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]


class _Unpickler(pickle._Unpickler):  # the Python one, where an index does not allocate memory
    dispatch = {
        code: pickle._Unpickler.dispatch[code]
        for code in (getattr(pickle, name)[0] for name in _OPCODES)
    }

    def __init__(self, file: io.BytesIO):
        super().__init__(file, encoding="latin-1")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name.endswith("Storage"):
            return _TYPES[name.removesuffix("Storage")]
        return _CALLS[f"{module}.{name}"]

    def persistent_load(self, reference: Any) -> _Storage:
        kind, dtype, key, _, count, *view = reference
        if kind != "storage" or dtype not in _TYPES.values() or view not in ([], [None]):
            raise ValueError("a reference that is not a storage")
        if not isinstance(key, str) or not _is_size(count):
            raise ValueError("a storage without key and count")
        storage = _Storage(key, dtype, count)
        if self.storages.setdefault(key, storage) != storage:
            raise ValueError("a storage of two types")
        return storage

    def load_build(self) -> None:
        self.stack.pop()  # torch's notes about versions and gradients

    dispatch[pickle.BUILD[0]] = load_build


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any, *notes: Any) -> _Tensor:
    if not isinstance(storage, _Storage) or not all(map(_is_size, (offset, *shape, *stride))):
        raise ValueError("a tensor without storage and shape")
    if len(shape) > 8 or len(shape) != len(stride):
        raise ValueError("a tensor whose shape and strides disagree")
    expected = 1
    for side, step in zip(reversed(shape), reversed(stride), strict=True):
        if side != 1 and step != expected:
            raise ValueError("a tensor that is not contiguous")
        expected *= side
    if offset + math.prod(shape) > storage.count:
        raise ValueError("a tensor that reaches beyond its storage")
    return _Tensor(storage, offset, tuple(shape))


def _is_size(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 40


_CALLS = {
    "collections.OrderedDict": dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": lambda tensor, *notes: tensor,
    "torch.nn.parameter.Parameter": lambda tensor, *notes: tensor,
}
