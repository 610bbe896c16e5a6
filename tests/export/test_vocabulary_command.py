"""`rgan vocabulary`, and `rgan bank info` of an exported model."""

from __future__ import annotations

import collections
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from export.commands.vocabulary import table
from rgan_tf import cli
from rgan_tf.bank.summary import draw_patches
from rgan_tf.errors import BadInput
from rgan_tf.exported import ExportedPatches

CATEGORIES = 20  # of the built-in world


@pytest.fixture
def rgan(capfd):
    """Runs a command; its exit code, its result and what it says."""

    def run(*words):
        capfd.readouterr()
        code = cli.main([str(word) for word in words])
        out, err = capfd.readouterr()
        return code, json.loads(out) if out else None, err

    return run


def places(exported) -> dict:
    return {
        "model": exported.folder,
        "model/1": exported.version,
        "run": exported.run.folder,
        "data": exported.data.folder,
        "bank": exported.data.bank.folder,
    }


@pytest.mark.parametrize("kind", ["model", "model/1", "run", "data", "bank"])
def test_names_with_numbers_of_patches(exported, rgan, kind):
    code, result, err = rgan("vocabulary", places(exported)[kind])
    counts = collections.Counter(row["category"] for row in exported.data.bank.rows)
    assert code == 0 and result["kind"] == kind.split("/")[0]
    assert result["relationships"] == list(exported.run.vocabulary.predicates[1:])
    assert {name: count for name, count in result["categories"].items() if count} == counts
    assert set(result["categories"]) == set(exported.run.vocabulary.categories)
    assert result["patches"] == len(exported.data.bank)
    assert f"sky {counts['sky']}" in err and "left of" in err


def test_a_released_run_has_names_and_no_patches(rgan):
    code, result, err = rgan("vocabulary", "released:procedural_64")
    assert code == 0 and len(result["categories"]) == CATEGORIES
    assert set(result["categories"].values()) == {None} and result["patches"] is None
    assert "without counts" in err


def test_a_contract_is_enough(exported, rgan, tmp_path):
    """As for a client of a server, who has no SavedModel."""
    shutil.copytree(exported.version / "assets.extra", tmp_path / "c" / "1" / "assets.extra")
    assert rgan("vocabulary", tmp_path / "c")[1]["patches"] == len(exported.data.bank)
    code, _, err = rgan(
        "bank", "info", tmp_path / "c", "--category", "sky", "--picture", tmp_path / "a.png"
    )
    assert code == 2 and "has no variables, so the patches cannot be drawn" in err


def test_a_place_that_is_not_one_of_these_is_one_line(rgan, tmp_path):
    (tmp_path / "here").mkdir()
    for place, reason in (
        (tmp_path / "Here", ", but 'here' is there; write the name as the file has it"),
        (tmp_path / "gone", "is not an exported model, run, prepared data or bank"),
        (tmp_path, "is not an exported model, run, prepared data or bank"),
        ("released:none", "there is procedural_64"),
    ):
        code, result, err = rgan("vocabulary", place)
        assert (code, result, err.count("\n")) == (2, None, 1) and reason in err
    with pytest.raises(BadInput, match="no exported model, but 'here' is there; write"):
        ExportedPatches.open(tmp_path / "Here")


def test_damage_is_corrupt_data(exported, rgan, tmp_path):
    shutil.copytree(exported.version / "assets.extra", tmp_path / "c" / "1" / "assets.extra")
    (tmp_path / "c" / "1" / "assets.extra" / "vocabulary.json").write_text("{}")
    code, _, err = rgan("vocabulary", tmp_path / "c")
    assert code == 4 and "vocabulary.json" in err and err.count("\n") == 1


def test_the_table_goes_down_its_columns():
    lines = table({"b": 1, "a": 12, "d": 0, "c": 3}, ["on"])
    assert lines[1:3] == ["  a 12   c 3", "  b 1    d 0"]
    assert lines[3:] == ["1 relationships:", "  on"]
    assert table({"a": 1}, [])[-1] == "  none"


def test_the_patches_of_a_model_are_counted_and_drawn(exported, rgan, tmp_path):
    code, counted, _ = rgan("bank", "info", exported.folder)
    assert code == 0 and counted["model"] == str(exported.version)
    assert counted["patches"] == len(exported.data.bank) and "backbone" not in counted
    assert set(counted["licence_codes"]) == set(exported.codes)
    path = tmp_path / "sky.png"
    _, result, _ = rgan("bank", "info", exported.version, "--category", "sky", "--picture", path)
    patches = ExportedPatches.open(exported.folder)
    skies = [i for i, row in enumerate(exported.data.bank.rows) if row["category"] == "sky"]
    assert result["ids"] == {"sky": skies} and result["shown_patches"] == len(skies)
    with Image.open(path) as picture:
        np.testing.assert_array_equal(np.asarray(picture), draw_patches(patches, skies))
    size = exported.model.sizes.crop
    ids = np.arange(len(patches))
    np.testing.assert_array_equal(patches.crops, exported.data.bank.crops_at(ids, size))


def test_no_picture_goes_into_the_model(exported, rgan):
    path = exported.version / "a.png"
    code, _, err = rgan("bank", "info", exported.folder, "--picture", path)
    assert code == 2 and "lies in" in err and not path.exists()
