"""A model that was exported by contract 3, which lets patches repeat and names no categories."""

from __future__ import annotations

import json
import shutil

import pytest

from export.model_folder import EXTRA, open_contract
from export.requests import Draw
from export.signatures import DETERMINISTIC, ENCODE, NEAREST, OUTPUTS, RETRIEVE_ONLY, SAMPLE
from rgan_tf.storage.manifest import describe_files


@pytest.fixture
def earlier(exported, tmp_path):
    """The contract of the tests' model as version 3 had it."""
    folder = tmp_path / "model" / "1"
    shutil.copytree(exported.version / EXTRA, folder / EXTRA)
    path = folder / EXTRA / "signature.json"
    signature = json.loads(path.read_text())
    signature |= {"version": 3, "modes": signature["modes"][:3]}
    path.write_text(json.dumps(signature))
    manifest = json.loads((folder / EXTRA / "manifest.json").read_text())
    manifest["files"] |= describe_files(folder, [f"{EXTRA}/signature.json"])
    (folder / EXTRA / "manifest.json").write_text(json.dumps(manifest))
    return open_contract(folder)


def test_it_is_read_and_expected_to_answer_what_it_can(exported, earlier):
    assert earlier.contract == 3 and not earlier.avoids_repeats
    assert earlier.sizes == exported.model.sizes
    names = {field.name for field in earlier.outputs_of(RETRIEVE_ONLY)}
    assert {field.name for field in OUTPUTS[RETRIEVE_ONLY]} - names == {"patch_categories"}
    assert earlier.outputs_of(ENCODE) == OUTPUTS[ENCODE]
    assert exported.model.contract == 5 and exported.model.avoids_repeats
    assert exported.model.outputs_of(RETRIEVE_ONLY) == OUTPUTS[RETRIEVE_ONLY]


@pytest.mark.parametrize("mode", [SAMPLE, DETERMINISTIC, NEAREST])
@pytest.mark.parametrize("repeats", [False, True])
def test_it_is_asked_in_the_modes_that_it_knows(exported, earlier, mode, repeats):
    draw = Draw(mode, repeats=repeats)
    new, old = draw.for_model(exported.model), draw.for_model(earlier)
    assert new.fields["mode"] == mode + 3 * repeats
    assert new.describe()["repeats_allowed"] is repeats
    assert old.fields["mode"] == mode
    assert old.describe()["repeats_allowed"] is True  # whatever was asked for
    assert old.describe()["mode"] == new.describe()["mode"]
