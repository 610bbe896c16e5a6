"""A model that searches with ScaNN: what loads it, what cannot, and that it answers alike."""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np
import pytest
import tensorflow as tf

from export import saved_model, saved_model_loading
from export.commands import export, generate
from export.signatures import (
    CANDIDATES,
    DETERMINISTIC,
    GENERATE,
    GENERATE_WITH_PATCHES,
    NEIGHBOURS,
    PATCHES,
    example_request,
)
from rgan_tf.errors import BadInput
from tests.export.arguments import generate_arguments


def requests(endpoint, sizes, batch=6):
    """Objects of every category by turns, some rows without noise, some with refused licences."""
    request = example_request(endpoint, sizes, batch)
    known = sizes.num_objects - 2
    for row in range(batch):
        request["objects"][row, :3] = [2 + (3 * row + i) % known for i in range(3)]
    if "mode" in request:
        request["mode"][::2] = DETERMINISTIC
    request["licences_refused"][:] = False
    request["licences_refused"][1, 0] = request["licences_refused"][2, 1:] = True
    return request


def ask(model, endpoint, request):
    tensors = {name: tf.constant(value) for name, value in request.items()}
    return {name: value.numpy() for name, value in model.signatures[endpoint](**tensors).items()}


@pytest.mark.thorough
@pytest.mark.parametrize("endpoint", [GENERATE, GENERATE_WITH_PATCHES])
def test_it_answers_as_the_exact_model(exported, exported_scann, endpoint):
    request = requests(endpoint, exported.model.sizes)
    expected, reply = (ask(model, endpoint, request) for model in (exported, exported_scann))
    assert set(reply) == set(expected)
    np.testing.assert_array_equal(reply["patch_ids"], expected["patch_ids"])
    np.testing.assert_array_equal(reply["order"], expected["order"])
    np.testing.assert_allclose(reply["patch_scores"], expected["patch_scores"], rtol=1e-4)


@pytest.mark.thorough
@pytest.mark.parametrize("endpoint", [CANDIDATES, PATCHES, NEIGHBOURS])
def test_it_tells_the_same_alternatives(exported, exported_scann, endpoint):
    sizes = exported.model.sizes
    make = requests if endpoint == CANDIDATES else example_request
    expected, reply = (
        ask(model, endpoint, make(endpoint, sizes, 6)) for model in (exported, exported_scann)
    )
    assert set(reply) == set(expected)
    for name, value in reply.items():
        if value.dtype.kind == "f":
            np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_array_equal(value, expected[name], err_msg=name)


@pytest.mark.thorough
def test_the_manifest_says_what_can_load_it(exported_scann):
    manifest = exported_scann.model.manifest
    assert manifest["index"] == "scann" and "Stock TensorFlow Serving" in manifest["note"]
    tuning = manifest["index_tuning"]
    assert tuning["recall"] >= tuning["recall_asked"] == 0.99
    assert 1 <= tuning["leaves_to_search"] <= tuning["leaves"]


@pytest.mark.thorough
def test_a_fresh_process_loads_it_with_scann_and_only_with_it(exported, exported_scann):
    served, functions = exported_scann.served, exported_scann.functions
    saved_model.check_fresh(exported_scann.version, functions, served.sizes, allow=("scann",))
    with pytest.raises(saved_model.CheckFailed, match="(?i)scann"):
        saved_model.check_fresh(exported_scann.version, functions, served.sizes)
    assert served.search.packages == ("scann",) and exported.served.search.packages == ()


@pytest.fixture
def arguments(exported_scann, tmp_path):
    graph = tmp_path / "graph.json"
    graph.write_text(json.dumps({"objects": ["sky", "grass"], "relationships": []}))
    return generate_arguments(graph, exported_scann.folder, tmp_path / "out", samples=1)


@pytest.mark.thorough
def test_generate_imports_scann_by_itself(arguments, tmp_path, monkeypatch):
    imported = []
    monkeypatch.setattr(saved_model_loading.importlib, "import_module", imported.append)
    result = generate.main(arguments)
    assert imported == ["rgan_tf.adapters.scann"]
    assert result["images"] == [str(tmp_path / "out" / "sample-0001.png")]


@pytest.mark.thorough
def test_generate_without_scann_says_so_in_one_line(arguments, tmp_path, monkeypatch):
    monkeypatch.delitem(sys.modules, "rgan_tf.adapters.scann", raising=False)
    for name in [name for name in sys.modules if name.split(".")[0] == "scann"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(BadInput, match="--model .*: index scann: ScaNN cannot be loaded") as caught:
        generate.main(arguments)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]


def test_the_command_names_the_index_and_refuses_what_misses_its_recall(
    exported, tmp_path, monkeypatch
):
    asked = []

    def build(*arguments, **options):
        asked.append(arguments[3])
        raise BadInput("--index scann: reaches a recall of 0.5")

    monkeypatch.setattr(saved_model, "build_served_model", build)
    arguments = argparse.Namespace(
        run=str(exported.run.folder),
        out=str(tmp_path / "model"),
        data=None,
        bank=None,
        weights_dir=None,
        index="scann",
        name="retrievegan",
    )
    with pytest.raises(BadInput, match="--index scann"):
        export.main(arguments)
    assert asked == ["scann"] and not (tmp_path / "model").exists()
