"""One opener of folders: what, where and what to do, for every way in which one can be wrong."""

from __future__ import annotations

import dataclasses
import json

import pytest

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage import manifest as manifests
from rgan_tf.storage.manifest import ManifestKind, describe_files
from rgan_tf.storage.seal import SEAL, sealed

KIND = ManifestKind("things", 2, "a box of things", advice="pack it again", needs=("of", "files"))
SEALED = dataclasses.replace(KIND, seal="required")
DAMAGE = dataclasses.replace(KIND, error=CorruptData)


@pytest.fixture
def box(tmp_path):
    """Writes a folder of two files and its manifest."""

    def write(kind=KIND, **content):
        folder = tmp_path / "box"
        folder.mkdir(exist_ok=True)
        (folder / "a").write_bytes(b"one")
        (folder / "b").write_bytes(b"three")
        kind.write(folder, {"of": "x", "files": describe_files(folder, ["a", "b"]), **content})
        return folder

    return write


def change(folder, sealing=False, **entries):
    path = folder / "manifest.json"
    content = {**json.loads(path.read_text()), **entries}
    path.write_text(json.dumps(sealed(content) if sealing else content))


def test_what_was_written_is_opened(box):
    opened = KIND.open(box())
    assert list(opened.content) == ["kind", "version", "of", "files"]
    assert opened.content["files"]["b"]["bytes"] == 5
    opened.check_files(["a"], verify=True)
    assert opened.fingerprint() == manifests.sha256_of(opened.path)
    assert SEAL in SEALED.open(box(SEALED)).content
    assert list(dataclasses.replace(SEALED, seal="optional").open(box()).content)[-1] == "files"


def test_a_folder_of_another_kind(box, tmp_path):
    for kind, error, advice in ((KIND, BadInput, "name"), (DAMAGE, CorruptData, "pack it again")):
        with pytest.raises(error, match=f"^--box x: has no manifest.json; {advice}"):
            kind.open(tmp_path, "--box x")
        box(kind)
        found = ", but 'box' is there; write" if error is BadInput else f"; {advice}"
        with pytest.raises(error, match=f"^{tmp_path}/Box: has no manifest.json{found}"):
            kind.open(tmp_path / "Box")
        change(box(), kind="others")
        with pytest.raises(error, match=f"{tmp_path}/box: not a box of things; {advice}"):
            kind.open(tmp_path / "box")
        (tmp_path / "box" / "manifest.json").write_text("[]")
        with pytest.raises(error, match="not a box of things"):
            kind.open(tmp_path / "box")


@pytest.mark.parametrize("version", [1, "2", None, [2] * 1000])
def test_another_version(box, tmp_path, version):
    change(box(), version=version)
    with pytest.raises(BadInput, match="this program reads 2; pack it again") as caught:
        KIND.open(tmp_path / "box")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", ["", "{", '{"kind": NaN}', "[" * 9999, '{"a": "' + "x" * 3000])
def test_a_manifest_that_cannot_be_read(box, text, monkeypatch):
    folder = box()
    monkeypatch.setattr(manifests, "_MAX_BYTES", 2000)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(CorruptData, match=r"manifest\.json: damaged; pack it again"):
        KIND.open(folder)


def test_a_key_that_is_missing_is_named(box):
    path = box() / "manifest.json"
    path.write_text(json.dumps({"kind": "things", "version": 2, "files": {}}))
    with pytest.raises(CorruptData, match=r"manifest\.json: lacks of; pack it again"):
        KIND.open(path.parent)


def test_the_seal_is_compared_wherever_there_is_one(box, tmp_path):
    for kind in (KIND, SEALED):
        change(box(SEALED), of="y")
        with pytest.raises(CorruptData, match="its own checksum differs.*; pack it again"):
            kind.open(tmp_path / "box")
    change(box(SEALED), sealing=True, version=3)
    with pytest.raises(BadInput, match="version 3"):
        SEALED.open(tmp_path / "box")
    with pytest.raises(CorruptData, match="its own checksum"):
        SEALED.open(box())


@pytest.mark.parametrize(
    "entry", [None, 3, {}, {"bytes": 1}, {"sha256": ""}, {"bytes": "1", "sha256": ""}]
)
def test_a_description_that_is_not_one_is_damage(box, entry):
    opened = KIND.open(box(files={"x": entry}))
    with pytest.raises(CorruptData, match=r"manifest\.json: does not describe 'x'; pack it again"):
        opened.check_files(verify=False)
    for files in (None, [], {"x": entry}):
        with pytest.raises(CorruptData, match=r"manifest\.json: does not list its files"):
            KIND.open(box(files=files)).check_files(["y"], verify=False)


def test_files_are_compared_as_far_as_is_asked(box):
    opened = KIND.open(box())
    (opened.folder / "b").write_bytes(b"THREE")
    opened.check_files(verify=False)
    opened.check_files(verify=lambda name: name != "b")
    opened.check_files(verify=True, below="a")
    with pytest.raises(CorruptData, match=r"box/b: damaged \(checksum differs\); pack it again"):
        opened.check_files(verify=True)
    (opened.folder / "b").write_bytes(b"four")
    with pytest.raises(CorruptData, match=r"box/b: 4 bytes, 5 were written; pack it again"):
        opened.check_files(verify=False)
    (opened.folder / "b").unlink()
    with pytest.raises(CorruptData, match=r"box/b: is missing; pack it again"):
        opened.check_files(verify=False)


def test_a_file_of_the_folder_is_read_or_damaged(box):
    opened = KIND.open(box())
    (opened.folder / "a").write_text("[3]")
    assert opened.read("a", sum) == 3

    def refuse(content):
        raise BadInput("no")

    for name, parse in (("a", refuse), ("b", sum)):
        with pytest.raises(CorruptData, match=f"box/{name}: damaged; pack it again"):
            opened.read(name, parse)
