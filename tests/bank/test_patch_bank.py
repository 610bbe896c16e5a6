from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rgan_tf.bank.patch_bank import PatchBank, resize_crops
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage.seal import sealed
from rgan_tf.vocabulary import Vocabulary

NAMES = Vocabulary.from_categories(["a", "b", "c"])
ROWS = 11


def row(index: int) -> dict:
    return {"category_id": 2 + index % 3, "image_id": 2**35 + index // 2, "style": f"s{index % 2}"}


def write_bank(folder, rows=ROWS, features=None):
    rng = np.random.default_rng(0)
    crops = rng.integers(0, 256, [rows, 8, 8, 3], np.uint8)
    features = rng.normal(size=[rows, 5]) if features is None else features
    with PatchBankWriter(
        folder, crop_size=8, feature_size=5, backbone="none", vocabulary=NAMES
    ) as writer:
        for start in range(0, rows, 4):
            part = slice(start, start + 4)
            table = [row(index) for index in range(rows)[part]]
            writer.append(crops[part], features[part], table)
    return crops, features


@pytest.fixture
def folder(tmp_path):
    write_bank(tmp_path / "bank")
    return tmp_path / "bank"


def test_what_is_written_is_read(tmp_path):
    crops, features = write_bank(tmp_path / "bank")
    bank = PatchBank.open(tmp_path / "bank")
    assert (len(bank), bank.crop_size, bank.feature_size) == (ROWS, 8, 5)
    np.testing.assert_array_equal(bank.crops, crops)
    np.testing.assert_array_equal(bank.features, features.astype(np.float16))
    assert list(bank.rows) == [row(index) for index in range(ROWS)]
    assert [bank.rows[index] for index in (3, -1, 0)] == [row(3), row(ROWS - 1), row(0)]
    assert bank.rows[2:9:3] == [row(2), row(5), row(8)]
    assert bank.category_ids.tolist() == [2 + index % 3 for index in range(ROWS)]
    assert bank.image_ids.tolist() == [2**35 + index // 2 for index in range(ROWS)]
    assert bank.image_ids.dtype == np.int64
    assert bank.styles[:3] == ["s0", "s1", "s0"]
    assert isinstance(bank.crops, np.memmap)


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_banks_of_any_length(tmp_path, rows):
    # The header is written before the length is known.
    write_bank(tmp_path / "bank", rows)
    assert len(PatchBank.open(tmp_path / "bank").rows) == rows


def test_absent_rows_are_zero(folder):
    bank = PatchBank.open(folder)
    ids = np.array([[3, -1], [-1, 0]])
    crops = bank.crops_at(ids, 8)
    np.testing.assert_array_equal(crops[0, 0], bank.crops[3])
    np.testing.assert_array_equal(crops[1, 1], bank.crops[0])
    assert not crops[0, 1].any() and not crops[1, 0].any()
    features = bank.features_at(ids)
    assert features.dtype == np.float32
    np.testing.assert_array_equal(features[0, 0], bank.features[3].astype(np.float32))
    assert not features[0, 1].any()
    assert bank.crops_at(np.full([2], -1), 4).shape == (2, 4, 4, 3)
    assert bank.crops_at([], 4).shape == (0, 4, 4, 3)
    assert bank.features_at([]).shape == (0, bank.feature_size)


@pytest.mark.parametrize("size", [4, 8, 6, 16])
def test_crops_do_not_depend_on_the_cache(folder, size, monkeypatch):
    ids = np.array([2, 9, -1, 2])
    cached = PatchBank.open(folder).crops_at(ids, size)
    monkeypatch.setattr("rgan_tf.bank.patch_bank._CACHE_BYTES", 0)
    monkeypatch.setattr("rgan_tf.bank.patch_bank._CROPS_AT_ONCE", 2)
    bank = PatchBank.open(folder)
    np.testing.assert_array_equal(bank.crops_at(ids, size), cached)
    np.testing.assert_array_equal(bank.crops_at(ids.reshape(2, 2), size)[1, 1], cached[3])
    np.testing.assert_array_equal(bank.features_at(ids)[0], bank.features[2].astype(np.float32))
    everything = bank.all_crops(size)
    np.testing.assert_array_equal(everything, bank.crops_at(np.arange(len(bank)), size))
    assert isinstance(everything, np.memmap) == (size == bank.crop_size)


def test_smaller_crops_are_averages_of_areas():
    crop = np.zeros([1, 4, 4, 3], np.uint8)
    crop[0, :2, :2, 0] = [[10, 20], [30, 43]]  # mean 25.75
    crop[0, 2, 2] = 2  # mean 0.5 of its area, rounded up
    small = resize_crops(crop, 2)
    assert small[0, 0, 0].tolist() == [26, 0, 0]
    assert small[0, 1, 1].tolist() == [1, 1, 1]
    assert small[0, 0, 1].tolist() == [0, 0, 0]


@pytest.mark.parametrize("name", ["crops.npy", "features.npy", "table.jsonl", "columns.npy"])
def test_damage_is_found_and_named(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CorruptData, match=f"{name}: damaged"):
        PatchBank.open(folder)
    path.write_bytes(data[:-1])
    with pytest.raises(CorruptData, match=f"{name}: .* bytes"):
        PatchBank.open(folder, verify=False)
    path.unlink()
    with pytest.raises(CorruptData, match=f"{name}: is missing"):
        PatchBank.open(folder)


def test_manifests_that_lie(folder):
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps(sealed(manifest | {"rows": 5})))
    with pytest.raises(CorruptData, match="crops.npy"):
        PatchBank.open(folder)
    path.write_text(json.dumps(sealed(manifest | {"version": 99})))
    with pytest.raises(BadInput, match="version 99"):
        PatchBank.open(folder)
    path.write_text(json.dumps(sealed(manifest | {"files": {}})))
    with pytest.raises(CorruptData, match="does not list"):
        PatchBank.open(folder)
    path.write_text("[]")
    with pytest.raises(BadInput, match="not a patch bank"):
        PatchBank.open(folder)


def test_the_bank_inside_a_folder_is_named(folder, tmp_path):
    data = tmp_path / "prepared"
    data.mkdir()
    with pytest.raises(BadInput, match=r"prepared: has no manifest.json; name a patch bank$"):
        PatchBank.open(data)
    (data / "manifest.json").write_text('{"kind": "rgan_prepared_data"}')
    with pytest.raises(BadInput, match=r"prepared: not a patch bank; name one$"):
        PatchBank.open(data)
    folder.rename(data / "bank")
    with pytest.raises(BadInput, match=r"not a patch bank, but holds one; name .*prepared/bank$"):
        PatchBank.open(data)


def test_blocks_of_crops_are_resized_as_all_at_once(monkeypatch):
    crops = np.random.default_rng(0).integers(0, 256, [7, 8, 8, 3], np.uint8)
    whole = resize_crops(crops, 4)
    monkeypatch.setattr("rgan_tf.bank.patch_bank._ROWS_AT_ONCE", 3)
    np.testing.assert_array_equal(resize_crops(crops, 4), whole)
    means = crops.reshape(7, 4, 2, 4, 2, 3).mean(axis=(2, 4))
    np.testing.assert_array_equal(whole, np.floor(means + 0.5))


def test_two_readers_resize_a_bank_once(folder, monkeypatch):
    calls = []

    def slow(crops, size):
        calls.append(size)
        time.sleep(0.2)
        return resize_crops(crops, size)

    monkeypatch.setattr("rgan_tf.bank.patch_bank.resize_crops", slow)
    bank = PatchBank.open(folder)
    size = bank.crop_size // 2
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: bank.crops_at(np.arange(len(bank)), size), range(2))
    np.testing.assert_array_equal(first, second)
    assert calls == [size]


def _resident_kilobytes(path: Path) -> int:
    """How much of a mapped file is counted as memory of this process."""
    total, is_of_file = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split(" ", 1)[0]:  # begins a mapping
            is_of_file = line.endswith(str(path))
        elif is_of_file and line.startswith("Rss:"):
            total += int(line.split()[1])
    return total


@pytest.mark.skipif(not Path("/proc/self/smaps").is_file(), reason="needs Linux")
def test_a_resized_bank_does_not_hold_the_file_in_memory(folder):
    bank = PatchBank.open(folder)
    path = folder / "crops.npy"
    before = bank.crops_at(np.arange(len(bank)), bank.crop_size)  # in its own size it is read
    assert _resident_kilobytes(path) > 0
    bank.crops_at(np.arange(len(bank)), bank.crop_size // 2)
    assert _resident_kilobytes(path) == 0
    np.testing.assert_array_equal(bank.crops[:], before[:])  # and can be read again


def test_no_pickle_is_ever_loaded(folder):
    # Well-described, of the right size and kind, but an object array.
    evil = np.empty([2], object)
    np.save(folder / "crops.npy", evil, allow_pickle=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    from rgan_tf.storage.manifest import describe_files

    manifest["files"].update(describe_files(folder, ["crops.npy"]))
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest)))
    with pytest.raises(CorruptData, match="not a numpy array"):
        PatchBank.open(folder)


def test_what_cannot_be_stored_is_refused(tmp_path):
    features = np.zeros([ROWS, 5])
    features[3, 2] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        write_bank(tmp_path / "nan", features=features)
    features[3, 2] = 1e6  # beyond float16
    write_bank(tmp_path / "large", features=features)
    assert PatchBank.open(tmp_path / "large").features[3, 2] == np.finfo(np.float16).max
    with PatchBankWriter(
        tmp_path / "c", crop_size=8, feature_size=5, backbone="b", vocabulary=NAMES
    ) as writer:
        with pytest.raises(ValueError, match="crops must be"):
            writer.append(np.zeros([1, 9, 9, 3], np.uint8), np.zeros([1, 5]), [row(0)])
        with pytest.raises(ValueError, match="features must be"):
            writer.append(np.zeros([1, 8, 8, 3], np.uint8), np.zeros([1, 6]), [row(0)])


def test_a_row_that_is_not_there_and_a_line_that_is_not_json(folder):
    bank = PatchBank.open(folder)
    for index in (ROWS, -ROWS - 1):
        with pytest.raises(IndexError, match=str(index)):
            bank.rows[index]
    text = (folder / "table.jsonl").read_bytes()
    (folder / "table.jsonl").write_bytes(text.replace(b"{", b"(", 1))
    with pytest.raises(CorruptData, match=r"table\.jsonl"):
        bank.rows[0]
    assert bank.rows[1] == row(1)  # only what is read can be damaged
    (folder / "table.jsonl").write_bytes(text[: text.index(b"\n") + 1])
    with pytest.raises(CorruptData, match=f"1 rows for {ROWS}"):
        list(bank.rows)


def test_text_of_any_language_keeps_its_place(tmp_path):
    rows = [{"category_id": 2, "image_id": index, "url": "Grüße 木 " * index} for index in range(5)]
    with PatchBankWriter(
        tmp_path / "bank", crop_size=8, feature_size=5, backbone="b", vocabulary=NAMES
    ) as writer:
        writer.append(np.zeros([5, 8, 8, 3], np.uint8), np.zeros([5, 5]), rows)
    bank = PatchBank.open(tmp_path / "bank")
    assert [bank.rows[index] for index in reversed(range(5))] == rows[::-1]


def test_a_large_bank_is_verified_only_when_asked(folder, monkeypatch):
    data = bytearray((folder / "crops.npy").read_bytes())
    data[-5] ^= 1
    (folder / "crops.npy").write_bytes(data)
    monkeypatch.setattr("rgan_tf.bank.patch_bank._VERIFIED_BYTES", 10)
    assert len(PatchBank.open(folder)) == ROWS
    with pytest.raises(CorruptData, match=r"crops\.npy: damaged"):
        PatchBank.open(folder, verify=True)
