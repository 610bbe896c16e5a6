"""What the machine refuses, told apart from mistakes of the program and from damaged files."""

from __future__ import annotations

import errno
import os
import tempfile

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.bank import patch_bank
from rgan_tf.errors import CorruptData
from rgan_tf.refusals import is_refused, naming, refusal_of
from rgan_tf.storage.files import append_line, atomic_folder, read_json, write_bytes_atomic


def system(number: int, *path: str) -> OSError:
    return OSError(number, os.strerror(number), *path)


@pytest.mark.parametrize(
    "error, told",
    [
        (system(errno.ENOSPC, "/d/x"), "/d/x: No space left on device; free some space and repeat"),
        (system(errno.EDQUOT, "/d/x"), "/d/x: Disk quota exceeded; free some space and repeat"),
        (system(errno.EMFILE, "/d/x"), "/d/x: Too many open files; allow more (ulimit -n) and"),
        (system(errno.EMFILE), "a file or connection: Too many open files; allow more"),
        (system(errno.EROFS, "/d/x"), "/d/x: Read-only file system"),
        (system(errno.EACCES, "/d/x"), "/d/x: Permission denied"),
        (system(errno.EPIPE), "a file or connection: Broken pipe"),
        (system(errno.EIO), "a file or connection: Input/output error"),
        (system(errno.EADDRINUSE), "a file or connection: Address already in use"),
        (system(errno.ENOENT, "/d/x"), "/d/x: No such file or directory"),
        (TimeoutError("timed out"), "a connection: no answer in time"),
        (MemoryError(), "the memory of this machine is not enough"),
        (
            tf.errors.ResourceExhaustedError(None, None, "/d/x; No space\nleft"),
            "/d/x; No space left",
        ),
        (tf.errors.PermissionDeniedError(None, None, "/d/x; denied"), "/d/x; denied"),
    ],
)
def test_what_the_machine_refuses_is_one_line(error, told):
    line = refusal_of(error)
    assert told in line and "\n" not in line


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        system(errno.ENOENT),  # nobody named that path: a mistake of the program
        system(errno.EBADF),
        system(errno.EINVAL, "/d/x"),
        OSError("no number"),
        tf.errors.InvalidArgumentError(None, None, "x"),
        tf.errors.InternalError(None, None, "x"),
    ],
)
def test_a_bug_stays_a_bug(error):
    assert refusal_of(error) is None and not is_refused(error)


def test_no_place_for_temporary_files_is_told(monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: ["/no/such"])
    with pytest.raises(FileNotFoundError) as caught:
        tempfile.mkdtemp()
    assert refusal_of(caught.value).endswith("name one by TMPDIR")


@pytest.fixture
def full(monkeypatch):
    """Every write to disk finds it full."""

    def refuse(*_):
        raise system(errno.ENOSPC)

    monkeypatch.setattr(os, "fsync", refuse)


def test_a_full_disk_names_path_and_bytes_and_leaves_nothing(full, tmp_path):
    for write in (
        lambda: write_bytes_atomic(tmp_path / "file", b"x"),
        lambda: write_bytes_atomic(tmp_path / "new" / "file", b"x"),
    ):
        with pytest.raises(OSError) as caught:
            write()
        told = refusal_of(caught.value)
        assert str(tmp_path) in told and "bytes are free); free some space" in told
    with pytest.raises(OSError) as caught, atomic_folder(tmp_path / "folder") as partial:
        (partial / "whole").write_bytes(b"x" * 10)
        raise system(errno.ENOSPC)
    assert refusal_of(caught.value).startswith(f"{tmp_path / 'folder'}: No space left on device (")
    assert [path.name for path in tmp_path.iterdir() if path.name != "new"] == []


def test_the_bytes_are_counted_once_and_by_the_innermost_name(tmp_path):
    with pytest.raises(OSError) as caught, naming(tmp_path), naming(tmp_path / "inner"):
        raise system(errno.ENOSPC)
    assert refusal_of(caught.value).count("bytes are free") == 1
    assert caught.value.filename == str(tmp_path / "inner")


def test_a_line_that_does_not_fit_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "lines"
    append_line(path, "one")
    append_line(path, "two\n")
    assert path.read_text() == "one\ntwo\n"
    monkeypatch.setattr("builtins.open", lambda *_, **__: _HalfWritten(path))
    with pytest.raises(OSError, match="No space"):
        append_line(path, "three")
    assert path.read_text() == "one\ntwo\n"


class _HalfWritten:
    """A file on a disk that has room for two more bytes."""

    def __init__(self, path):
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
        self._room = 2

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.close(self._descriptor)

    def seek(self, *where):
        return os.lseek(self._descriptor, *where)

    def truncate(self, size):
        os.ftruncate(self._descriptor, size)

    def write(self, data):
        if not self._room:
            raise system(errno.ENOSPC)
        count = os.write(self._descriptor, data[: self._room])
        self._room -= count
        return count


def test_what_may_not_be_read_is_not_called_damaged(tmp_path, monkeypatch):
    path = tmp_path / "manifest.json"
    path.write_text("{}")
    array = tmp_path / "array.npy"
    np.save(array, np.zeros([2, 2]))

    def refuse(name, *_, **__):
        raise system(errno.EACCES, str(name))

    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", refuse)
        with pytest.raises(PermissionError):
            read_json(path)
        with pytest.raises(PermissionError):
            patch_bank._map_array(array, np.float64, (2, 2))
    array.write_bytes(b"no array")
    with pytest.raises(CorruptData, match="not a numpy array"):
        patch_bank._map_array(array, np.float64, (2, 2))
