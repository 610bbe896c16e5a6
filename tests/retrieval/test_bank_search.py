"""What is kept with a bank is used again, and what cannot be is made again with a line."""

from __future__ import annotations

import json

import numpy as np
import pytest

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.writer import PatchBankWriter
from rgan_tf.retrieval.index.bank_search import BankSearch
from rgan_tf.vocabulary import Vocabulary

ROWS = 5
ENCODER = "e" * 64


@pytest.fixture
def bank(tmp_path) -> PatchBank:
    names = Vocabulary.from_categories(["a"])
    sizes = {"crop_size": 4, "feature_size": 2, "backbone": "none"}
    with PatchBankWriter(tmp_path / "bank", **sizes, vocabulary=names) as writer:
        rows = [{"category_id": 2, "image_id": image} for image in range(ROWS)]
        writer.append(np.zeros([ROWS, 4, 4, 3], np.uint8), np.zeros([ROWS, 2]), rows)
    return PatchBank.open(tmp_path / "bank")


@pytest.fixture
def search(bank, tiny_config, monkeypatch):
    """Opens the search of the bank; returns the lines that it said, and how often it encoded."""
    made = []

    def features(networks, bank, config):
        made.append(1)
        rows = np.arange(len(bank))[:, None]
        return np.repeat(rows, config.graph.width, axis=1).astype(np.float16)

    monkeypatch.setattr("rgan_tf.retrieval.index.bank_search.graph_features", features)

    def run() -> tuple[list[str], int]:
        lines, before = [], len(made)
        found = BankSearch(bank, None, ENCODER, tiny_config, progress=lines.append)
        assert found.features.shape == (ROWS, tiny_config.graph.width)
        return lines, len(made) - before

    return run


def folder_of(bank: PatchBank):
    return bank.folder / "search" / ENCODER[:16]


def test_features_are_made_once_and_without_a_word(search):
    assert search() == ([], 1)
    assert search() == ([], 0)


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def edit(path, **change):
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda folder: flip(folder / "features.npy"), "features.npy: damaged"),
        (lambda folder: (folder / "features.npy").unlink(), "features.npy: is missing"),
        (lambda folder: (folder / "manifest.json").unlink(), "has no manifest.json"),
        (lambda folder: flip(folder / "manifest.json"), ""),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "not the graph features"),
        (lambda folder: edit(folder / "manifest.json", of={}), "manifest.json: is of another bank"),
        (lambda folder: edit(folder / "manifest.json", files=3), "does not list its files"),
        (
            lambda folder: edit(folder / "manifest.json", files={"features.npy": {}}),
            "does not describe 'features.npy'",
        ),
    ],
)
def test_what_is_damaged_is_made_again_with_a_line(search, bank, damage, what):
    search()
    damage(folder_of(bank))
    lines, made = search()
    assert made == 1 and len(lines) == 1
    assert str(folder_of(bank)) in lines[0] and what in lines[0]
    assert lines[0].endswith("; making it again") and "prepare" not in lines[0]
    assert search() == ([], 0)
