"""Reads the tensors of a PyTorch weight file without PyTorch, and without running what it holds.

Such a file is a pickle, which may call anything. Here its opcodes are only read: the few that a
file of tensors needs are interpreted, the names in it are compared and never imported, and all
else is refused. Both layouts are understood: the one of before PyTorch 1.6 (pickles, then the raw
numbers) and the later one (an uncompressed zip archive).
"""

from __future__ import annotations

import dataclasses
import io
import math
import pickletools
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rgan_tf.errors import CorruptData

_MAGIC = 0x1950A86A20F9469CFC6C  # first value of the older layout
_PROTOCOL = 1001  # second value
_MAX_OPCODES = 200_000  # of a pickle; VGG16 needs fewer than 2000
_MAX_PICKLE = 1 << 24  # bytes of all pickles

_STORAGE_TYPES = {
    "torch DoubleStorage": "<f8",
    "torch FloatStorage": "<f4",
    "torch HalfStorage": "<f2",
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "<i1",
    "torch ByteStorage": "<u1",
    "torch BoolStorage": "?",
}
_ORDERED_DICT = "collections OrderedDict"
_TENSORS = ("torch._utils _rebuild_tensor", "torch._utils _rebuild_tensor_v2")
_PARAMETERS = ("torch._utils _rebuild_parameter", "torch.nn.parameter Parameter")


def read_tensors(path: str | Path, prefix: str = "") -> dict[str, np.ndarray]:
    """Reads the tensors of a state dict.

    Args:
      path: a file that `torch.save` made of a dict of tensors, such as a torchvision model's.
      prefix: only tensors whose name begins with it are read.

    Returns:
      name -> array in the type and shape of the tensor, in the order of the file.

    Raises:
      CorruptData: if the file is damaged, is no such file, or holds anything but tensors.
    """
    try:
        with open(path, "rb") as file:
            is_archive = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_archive(file, prefix) if is_archive else _read_sequence(file, prefix)
    except (
        *(OSError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError),
        *(OverflowError, MemoryError, RuntimeError, struct.error, zipfile.BadZipFile),
    ) as error:
        detail = " ".join(str(error).split())[:120] or type(error).__name__
        raise CorruptData(f"{path}: not a usable torch file ({detail}); fetch it again") from error


@dataclasses.dataclass(frozen=True)
class _Name:
    """A class or function that the file names; it is compared with known names only."""

    text: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: np.dtype
    count: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]

    def cut_from(self, numbers: np.ndarray) -> np.ndarray:
        size = math.prod(self.shape)
        return numbers[self.offset : self.offset + size].reshape(self.shape)


def _read_archive(file: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        roots = [name[: -len("data.pkl")] for name in entries if name.endswith("/data.pkl")]
        if len(roots) != 1:
            raise ValueError(f"{len(roots)} entries data.pkl instead of 1")
        if any(info.compress_type != zipfile.ZIP_STORED for info in entries.values()):
            raise ValueError("a compressed entry")
        order = roots[0] + "byteorder"
        if order in entries and archive.read(order) != b"little":
            raise ValueError("not little-endian")
        if entries[roots[0] + "data.pkl"].file_size > _MAX_PICKLE:
            raise ValueError("a pickle too large for a dict of tensors")
        pickled = io.BytesIO(archive.read(roots[0] + "data.pkl"))
        tensors = _chosen(_interpret(pickled), prefix)

        def read(storage: _Storage) -> bytes:
            return archive.read(f"{roots[0]}data/{storage.key}")

        return _with_numbers(tensors, read)


def _read_sequence(file: BinaryIO, prefix: str) -> dict[str, np.ndarray]:
    pickled = io.BytesIO(file.read(_MAX_PICKLE))  # a length in it is no reason to claim memory
    if _interpret(pickled) != _MAGIC or _interpret(pickled) != _PROTOCOL:
        raise ValueError("its beginning is not that of a torch file")
    system = _interpret(pickled)
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise ValueError("not little-endian")
    known: dict[str, _Storage] = {}
    tensors = _chosen(_interpret(pickled, known), prefix)
    keys = _interpret(pickled)
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise ValueError("no list of storages")
    if sorted(keys) != sorted(known):
        raise ValueError("the list of storages does not agree with the tensors")
    wanted = {tensor.storage.key for tensor in tensors.values()}
    blocks: dict[str, bytes] = {}
    end = file.seek(0, io.SEEK_END)
    file.seek(pickled.tell())
    for key in keys:
        storage = known[key]
        size = storage.count * storage.dtype.itemsize
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise ValueError(f"a storage of {count} numbers instead of {storage.count}")
        if file.tell() + size > end:
            raise ValueError(f"{end} bytes, which is too few for its tensors")
        if key in wanted:
            blocks[key] = file.read(size)
        else:
            file.seek(size, io.SEEK_CUR)
    return _with_numbers(tensors, lambda storage: blocks[storage.key])


def _with_numbers(
    tensors: dict[str, _Tensor], read: Callable[[_Storage], bytes]
) -> dict[str, np.ndarray]:
    arrays = {}
    for name, tensor in tensors.items():
        data = read(tensor.storage)
        if len(data) != tensor.storage.count * tensor.storage.dtype.itemsize:
            raise ValueError(f"the numbers of {name!r:.60} are cut short")
        arrays[name] = tensor.cut_from(np.frombuffer(data, tensor.storage.dtype))
    return arrays


def _chosen(value: Any, prefix: str) -> dict[str, _Tensor]:
    if not isinstance(value, dict):
        raise ValueError("not a dict of tensors")
    for name, tensor in value.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise ValueError("not a dict of tensors")
    return {name: tensor for name, tensor in value.items() if name.startswith(prefix)}


def _interpret(file: BinaryIO, storages: dict[str, _Storage] | None = None) -> Any:
    """The value of one pickle made of numbers, strings, containers and tensors.

    Args:
      file: at its beginning; it is left behind its end.
      storages: takes in the storages that the tensors refer to.
    """
    machine = _Machine({} if storages is None else storages)
    for done, (opcode, argument, _) in enumerate(pickletools.genops(file)):
        if done >= _MAX_OPCODES:
            raise ValueError("a pickle too long for a dict of tensors")
        if opcode.name == "STOP":
            return machine.stack.pop()
        machine.step(opcode.name, argument)
    raise ValueError("no end")


class _Machine:
    """The part of a pickle machine that tensors need."""

    _CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
    _LITERALS = frozenset(
        ("BININT", "BININT1", "BININT2", "LONG1", "SHORT_BINSTRING", "BINSTRING", "BINUNICODE")
    )
    _OTHERS = frozenset(
        ("EMPTY_DICT", "EMPTY_LIST", "TUPLE", "APPEND", "APPENDS", "SETITEM", "SETITEMS")
        + ("BINPERSID", "REDUCE", "BUILD")
    )
    _TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}

    def __init__(self, storages: dict[str, _Storage]):
        self.stack: list[Any] = []
        self._outer: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}
        self._storages = storages

    def step(self, name: str, argument: Any) -> None:
        if name in self._LITERALS:
            self.stack.append(argument)
        elif name in self._CONSTANTS:
            self.stack.append(self._CONSTANTS[name])
        elif name in self._TUPLES:
            self.stack.append(tuple(self._pop(self._TUPLES[name])))
        elif name in ("BINPUT", "LONG_BINPUT"):
            self._memo[argument] = self.stack[-1]
        elif name in ("BINGET", "LONG_BINGET"):
            self.stack.append(self._memo[argument])
        elif name == "GLOBAL":
            self.stack.append(_Name(argument))
        elif name == "MARK":
            self._outer.append(self.stack)
            self.stack = []
        elif name in self._OTHERS:
            getattr(self, f"_{name.lower()}")()
        elif name != "PROTO":
            raise ValueError(f"opcode {name}, which no dict of tensors needs")

    def _empty_dict(self) -> None:
        self.stack.append({})

    def _empty_list(self) -> None:
        self.stack.append([])

    def _tuple(self) -> None:
        items = self._unmark()
        self.stack.append(tuple(items))

    def _append(self) -> None:
        self._extend(self._pop(1))

    def _appends(self) -> None:
        self._extend(self._unmark())

    def _setitem(self) -> None:
        self._update(self._pop(2))

    def _setitems(self) -> None:
        self._update(self._unmark())

    def _binpersid(self) -> None:
        kind, storage_type, key, _, count, *view = self.stack.pop()
        if kind != "storage" or not isinstance(storage_type, _Name) or view not in ([], [None]):
            raise ValueError("a reference that is no storage")
        dtype = np.dtype(_STORAGE_TYPES[storage_type.text])
        if not isinstance(key, str) or not _is_size(count):
            raise ValueError("a storage without key and count")
        storage = _Storage(key, dtype, count)
        if self._storages.setdefault(key, storage) != storage:
            raise ValueError("a storage of two types")
        self.stack.append(storage)

    def _reduce(self) -> None:
        called, arguments = self._pop(2)
        if not isinstance(called, _Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of something that is no name")
        if called.text == _ORDERED_DICT:
            pairs = arguments[0] if arguments else []
            self.stack.append({})
            self._update([item for key, value in pairs for item in (key, value)])
        elif called.text in _TENSORS:
            self.stack.append(_tensor(*arguments[:4]))
        elif called.text in _PARAMETERS and isinstance(arguments[0], _Tensor):
            self.stack.append(arguments[0])
        else:
            raise ValueError(f"a call of {called.text!r:.60}, which is refused")

    def _build(self) -> None:
        # Notes of torch about versions and gradients, which are not needed.
        built, _ = self._pop(2)
        if not isinstance(built, dict | _Tensor):
            raise ValueError("a state of something that is no tensor")
        self.stack.append(built)

    def _pop(self, count: int) -> list[Any]:
        if len(self.stack) < count:
            raise ValueError("an operand is missing")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def _unmark(self) -> list[Any]:
        items, self.stack = self.stack, self._outer.pop()
        return items

    def _extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("an item for something that is no list")
        self.stack[-1].extend(items)

    def _update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise ValueError("items for something that is no dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            if not isinstance(key, str | int):  # a deep tuple would exhaust the stack when hashed
                raise ValueError("a key that is no string")
            target[key] = value


def _tensor(storage: Any, offset: Any, shape: Any, stride: Any) -> _Tensor:
    sizes = (offset, *shape, *stride)
    if not isinstance(storage, _Storage) or not all(_is_size(size) for size in sizes):
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
