"""A bank that grows after training: add patches, export anew, and they are retrieved."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.model_folder import open_model
from export.signatures import GENERATE, MAX_BATCH, example_request
from rgan_tf import cli
from rgan_tf.bank.patch_bank import PatchBank

CATEGORY = "house"
NEW = 3


@pytest.fixture
def rgan(capfd):
    """Runs a command that is to succeed and returns its result."""

    def run(*words) -> dict:
        capfd.readouterr()
        code = cli.main([str(word) for word in words])
        out, err = capfd.readouterr()
        assert code == 0, err
        return json.loads(out)

    return run


@pytest.fixture
def folders(tmp_path):
    """Three pictures of one category, in one colour each."""
    folder = tmp_path / "mine" / CATEGORY
    folder.mkdir(parents=True)
    for number in range(NEW):
        pixels = np.full([40, 56, 3], (250, 80 * number, 10), np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "mine"


@pytest.mark.thorough
def test_a_new_patch_is_retrieved_without_training(exported, tiny_world, folders, tmp_path, rgan):
    bank, model = tmp_path / "bank", tmp_path / "model"
    rgan("bank", "build", "--data", tiny_world.folder, "--out", bank)
    houses = [r for r, row in enumerate(PatchBank.open(bank).rows) if row["category"] == CATEGORY]
    # Few are left, so that every one of the category is a candidate.
    rgan("bank", "remove", bank, "--ids", ",".join(map(str, houses[1:])))
    added = rgan("bank", "add", bank, "--folders", folders, "--source-licence", "CC BY 4.0")
    assert added["added"] == added["borrowed_graphs"] == NEW
    first = added["first_new_id"]
    made = rgan("export", "--run", exported.run.folder, "--bank", bank, "--out", model)
    assert made["patches"] == added["patches"] == first + NEW

    opened = open_model(model)
    assert opened.provenance[first]["source"] == f"mine/{CATEGORY}/0.png"
    assert opened.provenance[first]["licence"] == "CC BY 4.0"
    request = example_request(GENERATE, opened.sizes, MAX_BATCH)
    request["objects"][:, 0] = opened.vocabulary.object_id(CATEGORY)
    signature = tf.saved_model.load(str(opened.folder)).signatures[GENERATE]
    patch_ids, crops = [], []
    for _ in range(5):
        reply = signature(**{name: tf.constant(value) for name, value in request.items()})
        patch_ids.append(reply["patch_ids"].numpy())
        crops.append(reply["patch_crops_bytes"].numpy())
        request["seed"] += MAX_BATCH
    patch_ids, crops = np.concatenate(patch_ids), np.concatenate(crops)  # [40, O] each
    new = set(range(first, first + NEW))
    assert set(patch_ids[:, 0].tolist()) & new, "no new patch was retrieved"
    row, column = np.argwhere(np.isin(patch_ids, list(new)))[0]
    number = int(patch_ids[row, column]) - first
    crop = tf.io.decode_png(crops[row, column]).numpy()
    np.testing.assert_array_equal(crop, np.broadcast_to((250, 80 * number, 10), crop.shape))

    out = tmp_path / "out"
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps({"objects": [CATEGORY], "relationships": []}))
    rgan("generate", graph, "--model", model, "--out", out, "--samples", 3, "--licence", "BY")
    used = json.loads((out / "sample-0001.json").read_text())["objects"][0]["patch"]
    assert used["id"] in new and used["licence"] == "CC BY 4.0"


@pytest.mark.parametrize("what", ["vocabulary", pytest.param("both", marks=pytest.mark.thorough)])
def test_a_bank_that_does_not_fit_is_refused(exported, folders, tmp_path, capfd, what):
    bank = tmp_path / "bank"
    assert cli.main(["bank", "build", "--folders", str(folders), "--out", str(bank)]) == 0
    words = ["export", "--run", str(exported.run.folder), "--bank", str(bank)]
    words += ["--out", str(tmp_path / "model")]
    words += ["--data", "anywhere"] if what == "both" else []
    capfd.readouterr()
    assert cli.main(words) == 2
    error = capfd.readouterr().err.strip().splitlines()[-1]
    assert ("both name a bank" if what == "both" else "another vocabulary than run") in error
    assert not (tmp_path / "model").exists()
