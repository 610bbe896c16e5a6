"""Atomic writes under faults, safe names, strict JSON."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import math
import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rgan_tf.errors import BadInput
from rgan_tf.storage import files, renames


def test_write_replaces_whole_files_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "new" / "a.bin"
    files.write_bytes_atomic(path, b"old")
    files.write_bytes_atomic(path, b"new content")
    assert path.read_bytes() == b"new content"
    assert os.listdir(path.parent) == ["a.bin"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failing_write_keeps_the_old_file(tmp_path, monkeypatch, failing):
    path = tmp_path / "a.bin"
    files.write_bytes_atomic(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space"):
        files.write_bytes_atomic(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.bin"]


def test_written_files_have_the_usual_permissions(tmp_path):
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    files.write_bytes_atomic(tmp_path / "ours", b"")
    assert (tmp_path / "ours").stat().st_mode == plain.stat().st_mode


def test_write_refuses_a_folder_and_a_file_as_parent(tmp_path):
    with pytest.raises(BadInput, match="is a folder"):
        files.write_bytes_atomic(tmp_path, b"")
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match="cannot be made a folder"):
        files.write_bytes_atomic(tmp_path / "file" / "x", b"")


def test_json_keeps_order_and_refuses_nan(tmp_path):
    files.write_json_atomic(tmp_path / "a.json", {"z": 1, "a": "é"})
    assert (tmp_path / "a.json").read_text("utf-8") == '{\n "z": 1,\n "a": "é"\n}\n'
    with pytest.raises(ValueError):
        files.write_json_atomic(tmp_path / "a.json", {"z": float("nan")})
    assert files.read_json(tmp_path / "a.json") == {"z": 1, "a": "é"}


def test_json_holds_a_path_that_is_not_text(tmp_path):
    value = {"data": os.fsdecode("/é".encode() + b"\xff")}
    files.write_json_atomic(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value


def test_atomic_folder_appears_whole(tmp_path):
    target = tmp_path / "sub" / "data"
    with files.atomic_folder(target) as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "x").write_text("1")
        assert not target.exists()
    assert (target / "deep" / "x").read_text() == "1"
    assert os.listdir(target.parent) == ["data"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_atomic_folder_vanishes_on_error(tmp_path, error):
    with pytest.raises(error):
        with files.atomic_folder(tmp_path / "data") as folder:
            (folder / "x").write_text("1")
            raise error
    assert os.listdir(tmp_path) == []


def test_atomic_folder_takes_an_empty_folder_and_refuses_others(tmp_path):
    (tmp_path / "empty").mkdir()
    with files.atomic_folder(tmp_path / "empty") as folder:
        (folder / "x").write_text("1")
    for name in ("empty", "empty/x"):  # a folder with content, a file
        before = sorted(os.listdir(tmp_path))
        with pytest.raises(BadInput, match="exists"):
            with files.atomic_folder(tmp_path / name):
                pytest.fail("must refuse before the work starts")
        assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("name", [".", "", "../here", "../here/.", "inner/.."])
def test_atomic_folder_takes_the_empty_folder_one_is_in(tmp_path, monkeypatch, name):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    with files.atomic_folder(name) as folder:
        (folder / "x").write_text("1")
    assert os.listdir(tmp_path) == ["here"] and os.listdir(tmp_path / "here") == ["x"]
    monkeypatch.chdir(tmp_path / "here")  # it is another one now
    with pytest.raises(BadInput, match="here: folder exists and is not empty"):
        with files.atomic_folder(name):
            pytest.fail("must refuse before the work starts")


def test_sha256_of_a_file_of_several_blocks(tmp_path):
    data = bytes(range(256)) * 9000
    (tmp_path / "x").write_bytes(data)
    assert files.sha256_of(tmp_path / "x") == hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize(
    "name",
    [
        "../secret",
        "a/../../secret",
        "a/..",
        "/etc/passwd",
        "C:\\x",
        "C:x",
        "..\\x",
        "a\0b",
        "",
        "../rooted/x",
        "link/../../x",
        "x" * 5000,
        None,
        7,
    ],
)
def test_names_that_lead_out_are_refused(tmp_path, name):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(BadInput) as caught:
        files.name_inside(root, name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_names_inside_are_taken(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "inner").symlink_to(tmp_path / "real")
    for name in ("a/b.jpg", "inner/x", "..a"):
        assert files.name_inside(tmp_path, name) == name


def test_a_name_is_called_by_where_it_leads(tmp_path):
    root = tmp_path / "root"
    (root / "a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")  # its owner wants that
    (tmp_path / "other").symlink_to(root)
    for name, inside in {
        "a\\b.jpg": "a/b.jpg",
        ".\\b.jpg": "b.jpg",
        "a/../b.jpg": "b.jpg",
        "../root/b.jpg": "b.jpg",
        f"{root}/a/b.jpg": "a/b.jpg",
        f"{tmp_path}/other/a/b.jpg": "a/b.jpg",
        "link/b.jpg": "link/b.jpg",
    }.items():
        assert files.name_inside(root, name) == inside
    (root / "a\\c.jpg").write_bytes(b"")
    assert files.name_inside(root, "a\\c.jpg") == "a\\c.jpg"  # there is such a file


def test_a_name_with_an_accent_leads_to_either_form_of_it(tmp_path):
    together, apart = "b\u00e4ume.jpg", "ba\u0308ume.jpg"
    assert files.name_inside(tmp_path, apart) == apart  # there is neither
    (tmp_path / apart).write_bytes(b"")
    assert files.name_inside(tmp_path, together) == apart
    (tmp_path / together).write_bytes(b"")
    assert files.name_inside(tmp_path, together) == together
    assert files.name_inside(tmp_path, apart) == apart
    with pytest.raises(BadInput, match="leads out of"):
        files.name_inside(tmp_path / "inner", f"../{apart}")


def test_lenient_json_puts_off_what_is_wrong_until_it_is_read():
    text = '{"a": NaN, "b": [-Infinity], "c": %s, "d": 1, "d": 2, "e": 7}' % ("9" * 5000)
    value = files.parse_json(text, "x", lenient=True)
    assert math.isnan(value["a"]) and value["b"] == [-math.inf] and value["e"] == 7
    assert isinstance(value["c"], files.Unreadable) and repr(value["d"]) == "two values"
    with pytest.raises(BadInput, match="x: not JSON"):
        files.parse_json("{", "x", lenient=True)


@given(st.text(max_size=30))
@settings(max_examples=200)
def test_any_name_stays_inside_or_is_refused(tmp_path_factory, name):
    root = tmp_path_factory.getbasetemp()
    try:
        joined = root / files.name_inside(root, name)
    except BadInput:
        return
    assert joined.resolve().is_relative_to(root.resolve())


@pytest.mark.parametrize(
    "data, reason",
    [
        (b'{"a": 1,\n "b": }', "line 2 column 7"),
        (b"", "line 1"),
        (b"hello", "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b"[-Infinity]", "Infinity"),
        (b"\xff\xfe\x00", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" + b"9" * 10_000 + b"]", "not usable JSON"),
    ],
)
def test_read_json_says_in_one_line_what_is_wrong(tmp_path, data, reason):
    (tmp_path / "a.json").write_bytes(data)
    with pytest.raises(BadInput, match=reason) as caught:
        files.read_json(tmp_path / "a.json")
    assert str(caught.value).startswith(str(tmp_path / "a.json"))
    assert "\n" not in str(caught.value)


def test_read_json_missing_folder_limit_and_double_keys(tmp_path):
    with pytest.raises(BadInput, match="No such file"):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(BadInput, match="Is a directory"):
        files.read_json(tmp_path)
    (tmp_path / "a.json").write_text('{"a": 1, "a": 2}')
    assert files.read_json(tmp_path / "a.json", max_bytes=16) == {"a": 2}
    with pytest.raises(BadInput, match="larger than 15 bytes"):
        files.read_json(tmp_path / "a.json", max_bytes=15)
    with pytest.raises(BadInput, match="'a' is given twice"):
        files.read_json(tmp_path / "a.json", unique_keys=True)


def test_read_json_accepts_a_byte_order_mark(tmp_path):
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert files.read_json(tmp_path / "a.json") == [1]


def test_a_folder_is_replaced_whole_or_not_at_all(tmp_path):
    old = tmp_path / "old"
    old.mkdir()
    (old / "x").write_text("old")
    with pytest.raises(ValueError):
        with files.replaced_folder(old) as folder:
            (folder / "x").write_text("new")
            raise ValueError
    assert (old / "x").read_text() == "old" and os.listdir(tmp_path) == ["old"]
    with files.replaced_folder(old) as folder:
        (folder / "x").write_text("new")
        assert (old / "x").read_text() == "old"
    assert (old / "x").read_text() == "new" and os.listdir(tmp_path) == ["old"]


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV])
def test_a_mount_that_only_renaming_tells_is_refused(tmp_path, monkeypatch, code):
    """As a folder mounted on its own disk."""

    def busy(new, old):
        raise OSError(code, os.strerror(code), str(old))

    old = tmp_path / "old"
    old.mkdir()
    (old / "x").write_text("old")
    monkeypatch.setattr(os, "rename", busy)
    for written in (files.replaced_folder(old), files.atomic_folder(tmp_path / "new")):
        with pytest.raises(BadInput, match="is a mount point .* name a folder inside it"):
            with written as folder:
                (folder / "x").write_text("new")
    assert (old / "x").read_text() == "old" and os.listdir(tmp_path) == ["old"]


def test_a_mount_that_shows_is_refused_before_the_work(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: True)
    (tmp_path / "old").mkdir()
    for written in (files.replaced_folder, files.atomic_folder):
        with pytest.raises(BadInput, match="is a mount point"), written(tmp_path / "old"):
            pytest.fail("must refuse before the work starts")


def test_an_exchange_happens_or_leaves_the_old_folder(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "x").write_text(folder.name)
    with pytest.raises(FileNotFoundError):
        renames.exchange(tmp_path / "none", old)
    assert (old / "x").read_text() == "old"
    renames.exchange(new, old)
    assert (old / "x").read_text() == "new" and os.listdir(tmp_path) == ["old"]


@pytest.mark.parametrize("steps", [1, 2])
def test_an_exchange_that_was_killed_is_mended(tmp_path, monkeypatch, steps):
    """After its first step the old folder comes back; after its second it is deleted."""
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
        (folder / "x").write_text(folder.name)
    rename, done = os.rename, []

    def killed(*names):
        done.append(rename(*names)) if len(done) < steps else pytest.fail("is over")

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", killed)
        patch.setattr(renames.shutil, "rmtree", lambda *_, **__: None)
        with contextlib.suppress(pytest.fail.Exception):
            renames.exchange(new, old)
    assert len(renames.set_aside(old)) == 1 and old.exists() == (steps == 2)
    renames.undo_exchange(old)
    assert (old / "x").read_text() == ("old" if steps == 1 else "new")
    assert not renames.set_aside(old)


def test_places_are_absolute_and_a_link_stays_one_only_as_the_name(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "loop").symlink_to("loop")
    monkeypatch.chdir(tmp_path / "real")
    assert renames.new_place(".") == tmp_path / "real"
    assert renames.new_place("..") == tmp_path
    assert renames.new_place("../link/new") == tmp_path / "real" / "new"
    assert renames.new_place("../link") == tmp_path / "link"
    assert renames.real_place("../link") == tmp_path / "real"
    with pytest.raises(BadInput, match="cannot be followed"):
        renames.new_place("../loop/new")


def test_refusing_a_repeated_key_takes_no_longer_than_reading_it():
    keys = ",".join(f'"{i}":0' for i in range(20_000))
    started = time.perf_counter()
    whole = files.parse_json(f"{{{keys}}}", "a", unique_keys=True)
    reading_s = time.perf_counter() - started
    assert len(whole) == 20_000
    started = time.perf_counter()
    with pytest.raises(BadInput, match="key '19999' is given twice"):  # the last of the keys
        files.parse_json(f'{{{keys},"19999":1}}', "a", unique_keys=True)
    # Comparing each key with all others took half a minute.
    assert time.perf_counter() - started < 20 * reading_s + 1
