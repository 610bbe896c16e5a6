"""Prepared data is the same to the byte on any engine, and as it was before there were any."""

from __future__ import annotations

import json

import pytest

from rgan_tf.data.prepare import prepare_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.spread import Engine

# First digits of the checksums of `small_dataset`, written by commit db494b2, which read one image
# after the other. The records are those of commit 9f83291, which compresses their images less.
BEFORE = {
    "vocabulary.json": "95df9e2cd470",
    "scene_graph.pbtxt": "8d8ae21a1d84",
    "records/test-00000-of-00001.tfrecord": "9cb1e4f2ed83",
    "records/train-00000-of-00001.tfrecord": "1e115bdf5b1b",
    "records/val-00000-of-00001.tfrecord": "1a3a149f869c",
    "bank/columns.npy": "6190c4372bbd",
    "bank/crops.npy": "dc9be61cfd16",
    "bank/features.npy": "85323dd1bd2b",
    "bank/graph_ends.npy": "d1d57b7063d1",
    "bank/graph_objects.npy": "e33a6f9d74c6",
    "bank/graph_triples.npy": "b848293fb275",
    "bank/manifest.json": "1710300cd23b",
    "bank/table.jsonl": "5a9c88d3177b",
    "bank/vocabulary.json": "95df9e2cd470",
    "truth/test/columns.npy": "72ee1d5d17c9",
    "truth/test/crops.npy": "08331a8b33d2",
    "truth/test/features.npy": "a07701e22474",
    "truth/test/graph_ends.npy": "2931d5a4322b",
    "truth/test/graph_objects.npy": "42dd2055dc56",
    "truth/test/graph_triples.npy": "8cab5b71433b",
    "truth/test/manifest.json": "3a42d310716a",
    "truth/test/table.jsonl": "2903740096a4",
    "truth/test/vocabulary.json": "95df9e2cd470",
    "truth/val/columns.npy": "d7b637133994",
    "truth/val/crops.npy": "0a7e9aff249f",
    "truth/val/features.npy": "999b0b436098",
    "truth/val/graph_ends.npy": "7c4f23436ff9",
    "truth/val/graph_objects.npy": "b98d30a4aa47",
    "truth/val/graph_triples.npy": "17a0533a9b11",
    "truth/val/manifest.json": "4b776904ec05",
    "truth/val/table.jsonl": "07ea1b5312ef",
    "truth/val/vocabulary.json": "95df9e2cd470",
}


def checksums(folder):
    files = json.loads((folder / "manifest.json").read_text())["files"]
    return {name: entry["sha256"][:12] for name, entry in files.items()}


def test_the_bytes_are_those_of_one_image_after_the_other(prepared_folder):
    assert checksums(prepared_folder) == BEFORE


@pytest.mark.parametrize("patches", [pytest.param(1, marks=pytest.mark.thorough), 7, 10])
def test_the_bytes_do_not_depend_on_the_pieces(
    prepared, small_dataset, backbone, tmp_path, monkeypatch, patches
):
    monkeypatch.setattr("rgan_tf.bank.pieces.PIECE_PATCHES", patches)
    prepare_dataset(
        small_dataset, tmp_path / "data", image_size=32, backbone=backbone, progress=False
    )
    assert PreparedData.open(tmp_path / "data").fingerprint == prepared.fingerprint


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.thorough), 3])
def test_the_bytes_do_not_depend_on_runner_and_workers(
    prepared, small_dataset, backbone, tmp_path, monkeypatch, workers
):
    monkeypatch.setattr("rgan_tf.bank.pieces.PIECE_PATCHES", 10)
    options = ("direct_running_mode=multi_threading", f"direct_num_workers={workers}")
    prepare_dataset(
        small_dataset,
        tmp_path / "data",
        image_size=32,
        backbone=backbone,
        engine=Engine("DirectRunner", options),
        progress=False,
    )
    assert PreparedData.open(tmp_path / "data").fingerprint == prepared.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["data"]
