"""`rgan bank verify`, `info` and `tune`: they tell of damage and do none."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.summary import draw_patches
from rgan_tf.storage.seal import SEAL


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"backbone"', '"backbonf"'),
        ('"mobilenet_v2"', '"mobilenet_v3"'),
        ('"rows": 5', '"rows": 7'),
        ('"bytes"', '"cytes"'),
        ('"sha256"', '"sha257"'),
    ],
)
def test_damage_to_the_manifest_is_found(bank, refused, old, new):
    path = bank / "manifest.json"
    path.write_text(path.read_text().replace(old, new, 1))
    assert f"{path}: damaged" in refused("bank", "verify", bank, code=4)
    assert f"{path}: damaged" in refused("bank", "info", bank, code=4)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda m: m.pop("backbone"), "does not name the backbone"),
        (lambda m: m.update(backbone=" "), "does not name the backbone"),
        (lambda m: m["files"]["crops.npy"].pop("bytes"), "does not describe 'crops.npy'"),
        (lambda m: m["files"]["crops.npy"].pop("sha256"), "does not describe 'crops.npy'"),
        (lambda m: m["files"].update({"table.jsonl": 3}), "does not describe 'table.jsonl'"),
    ],
)
def test_a_manifest_without_a_checksum_must_still_be_whole(bank, refused, change, reason):
    """As banks of earlier versions have none."""
    path = bank / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[SEAL]
    change(manifest)
    path.write_text(json.dumps(manifest))
    assert f"{path}: {reason}" in refused("bank", "verify", bank, code=4)


def test_a_bank_of_an_earlier_version_is_read(bank, rgan):
    path = bank / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest[SEAL]
    path.write_text(json.dumps(manifest))
    assert rgan("bank", "verify", bank).code == 0


def test_a_picture_says_how_many_categories_it_shows(bank, rgan, tmp_path, monkeypatch):
    monkeypatch.setattr("rgan_tf.bank.summary._MOST_CATEGORIES", 1)
    result = json.loads(rgan("bank", "info", bank, "--picture", tmp_path / "a.png").out)
    assert (result["shown_categories"], result["present_categories"]) == (1, 2)
    assert (tmp_path / "a.png").is_file()


def test_all_patches_of_a_category_are_drawn_with_their_ids(bank, rgan, tmp_path):
    path = tmp_path / "houses.png"
    result = json.loads(rgan("bank", "info", bank, "--category", "house", "--picture", path).out)
    opened = PatchBank.open(bank)
    houses = [row for row, entry in enumerate(opened.rows) if entry["category"] == "house"]
    assert result["ids"] == {"house": houses} and result["shown_patches"] == 3
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), draw_patches(opened, houses))
    both = rgan("bank", "info", bank, "--category", "house", "--category", "tree")
    assert sorted(sum(json.loads(both.out)["ids"].values(), [])) == [0, 1, 2, 3, 4]


def test_a_picture_of_too_many_patches_says_so(bank, rgan, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("training.bank.inspection.MOST_DRAWN", 2)
    done = rgan("bank", "info", bank, "--category", "house", "--picture", tmp_path / "a.png")
    assert json.loads(done.out)["shown_patches"] == 2
    assert "shows the first 2 of 3 patches" in caplog.text


def test_an_unknown_category_names_near_ones_and_where_all_are(bank, refused):
    for words in (("info", bank), ("remove", bank)):
        line = refused("bank", *words, "--category", "Hous")
        assert "did you mean 'house'?" in line and f"rgan vocabulary {bank} lists all" in line


@pytest.mark.parametrize("name", ["bank/crops.npy", "bank/new.png", "link", "bank/../bank/x/y.png"])
def test_no_picture_goes_into_the_bank(bank, refused, content_of, tmp_path, name):
    before = content_of(bank)
    (tmp_path / "link").symlink_to(bank / "table.jsonl")
    line = refused("bank", "info", bank, "--picture", f"{tmp_path}/{name}")
    assert "lies in the bank" in line and content_of(bank) == before


@pytest.mark.parametrize("asked", [6, 10**9])
def test_more_candidates_than_patches_are_refused(bank, refused, monkeypatch, tiny_config, asked):
    run = SimpleNamespace(config=tiny_config)
    monkeypatch.setattr("training.bank.tune.open_run", lambda name: run)
    monkeypatch.setattr("training.bank.tune.check_bank_fits", lambda *_: None)
    line = refused("bank", "tune", bank, "--run", "any", "--candidates", asked)
    assert f"--candidates {asked}: {bank} has 5 patches" in line
