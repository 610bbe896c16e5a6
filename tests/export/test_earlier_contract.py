"""Models of earlier contracts: 3 lets patches repeat and names no categories; both it and 4 have
no candidates, patches and neighbours.
"""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export import saved_model_loading
from export.client import Client, connect
from export.commands import generate
from export.model_folder import EXTRA, open_contract, open_model
from export.requests import Draw
from export.server import loaded_version
from export.server.loaded_version import LoadedVersion
from export.signatures import (
    CANDIDATES,
    DETERMINISTIC,
    ENCODE,
    INPUTS,
    NEAREST,
    NEIGHBOURS,
    OUTPUTS,
    PATCHES,
    RETRIEVE_ONLY,
    SAMPLE,
    endpoints_of,
    example_request,
)
from rgan_tf.errors import BadInput
from rgan_tf.exported import SAVED_MODEL_FILE
from rgan_tf.storage.manifest import describe_files
from tests.export.arguments import generate_arguments

NEW = {CANDIDATES, PATCHES, NEIGHBOURS}


def describe_as(folder, version) -> None:
    """Rewrites the contract of a model as that version had it."""
    path = folder / EXTRA / "signature.json"
    signature = json.loads(path.read_text())
    signature |= {"version": version}
    if version < 4:
        signature["modes"] = signature["modes"][:3]
    del signature["scale"], signature["sizes"]["candidates"]
    for name in NEW:
        del signature["endpoints"][name]
    path.write_text(json.dumps(signature))
    manifest = json.loads((folder / EXTRA / "manifest.json").read_text())
    manifest["files"] |= describe_files(folder, [f"{EXTRA}/signature.json"])
    (folder / EXTRA / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture(params=[3, 4])
def earlier(exported, tmp_path, request):
    """The contract of the tests' model as that version had it."""
    folder = tmp_path / "model" / "1"
    shutil.copytree(exported.version / EXTRA, folder / EXTRA)
    describe_as(folder, request.param)
    return open_contract(folder)


@pytest.fixture(scope="module")
def of_version_4(exported, tmp_path_factory):
    """A whole model of contract 4: its SavedModel has the four signatures of that time."""
    folder = tmp_path_factory.mktemp("of_version_4") / "1"
    shutil.copytree(exported.version, folder)
    content = saved_model_pb2.SavedModel()
    content.ParseFromString((folder / SAVED_MODEL_FILE).read_bytes())
    (graph,) = content.meta_graphs
    nodes = graph.object_graph_def.nodes
    (place,) = (child.node_id for child in nodes[0].children if child.local_name == "signatures")
    kept = [child for child in nodes[place].children if child.local_name not in NEW]
    assert len(kept) == 4 == len(nodes[place].children) - len(NEW)
    del nodes[place].children[:]
    nodes[place].children.extend(kept)
    for name in NEW:
        del graph.signature_def[name]
    (folder / SAVED_MODEL_FILE).write_bytes(content.SerializeToString())
    manifest = json.loads((folder / EXTRA / "manifest.json").read_text())
    manifest["files"] |= describe_files(folder, [SAVED_MODEL_FILE])
    (folder / EXTRA / "manifest.json").write_text(json.dumps(manifest))
    describe_as(folder, 4)
    return folder


@pytest.fixture(scope="module")
def loaded_of_version_4(of_version_4):
    return saved_model_loading.load_saved_model(open_model(of_version_4))


def test_it_is_read_and_expected_to_answer_what_it_can(exported, earlier):
    assert earlier.avoids_repeats is (earlier.contract == 4)
    sizes = vars(exported.model.sizes)
    assert vars(earlier.sizes) == {**sizes, "candidates": 0} and sizes["candidates"] == 5
    assert (earlier.candidates, earlier.scale, earlier.has_candidates) == (0, None, False)
    assert earlier.endpoints == tuple(name for name in INPUTS if name not in NEW)
    names = {field.name for field in earlier.outputs_of(RETRIEVE_ONLY)}
    missing = {"patch_categories"} if earlier.contract == 3 else set()
    assert {field.name for field in OUTPUTS[RETRIEVE_ONLY]} - names == missing
    assert earlier.outputs_of(ENCODE) == OUTPUTS[ENCODE]
    model = exported.model
    assert model.contract == 5 and model.avoids_repeats and model.has_candidates
    assert model.candidates == 5 and model.scale > 0 and model.endpoints == tuple(INPUTS)
    assert model.outputs_of(RETRIEVE_ONLY) == OUTPUTS[RETRIEVE_ONLY]


@pytest.mark.parametrize("mode", [SAMPLE, DETERMINISTIC, NEAREST])
@pytest.mark.parametrize("repeats", [False, True])
def test_it_is_asked_in_the_modes_that_it_knows(exported, earlier, mode, repeats):
    draw = Draw(mode, repeats=repeats)
    new, old = draw.for_model(exported.model), draw.for_model(earlier)
    assert new.fields["mode"] == mode + 3 * repeats
    assert new.describe()["repeats_allowed"] is repeats
    if earlier.contract == 3:
        assert old.fields["mode"] == mode
        assert old.describe()["repeats_allowed"] is True  # whatever was asked for
    else:
        assert old.fields["mode"] == new.fields["mode"]
    assert old.describe()["mode"] == new.describe()["mode"]


def test_a_client_does_not_send_what_it_cannot_answer(exported, earlier):
    sent = []
    transport = SimpleNamespace(call=lambda *call: sent.append(call) or {}, close=lambda: None)
    with Client(transport, earlier) as client:
        for endpoint in NEW:
            request = example_request(endpoint, exported.model.sizes, 1)
            with pytest.raises(BadInput, match="of an earlier version; must be one of") as caught:
                client.predict(endpoint, request)
            assert endpoint in str(caught.value) and "\n" not in str(caught.value)
        assert not sent
        client.predict(ENCODE, example_request(ENCODE, earlier.sizes, 1))
        assert len(sent) == 1
        with pytest.raises(BadInput, match="'other': must be one of serving_default"):
            client.predict("other", {})
    with connect("http://127.0.0.1:1", earlier.folder) as client:
        assert client.contract == earlier


@pytest.mark.thorough  # reading and asking of both stay
def test_a_server_offers_the_endpoints_that_it_has_and_no_others(
    exported, of_version_4, loaded_of_version_4, monkeypatch
):
    monkeypatch.setattr(loaded_version, "load_saved_model", lambda model: loaded_of_version_4)
    version = LoadedVersion(of_version_4)
    four = set(endpoints_of(4).inputs)
    assert set(version.specs) == set(version.signature_defs) == four and len(four) == 4
    version.warm_up()
    fields = example_request(RETRIEVE_ONLY, exported.model.sizes, 2)
    reply = version.run(RETRIEVE_ONLY, fields)
    tensors = {name: tf.constant(value) for name, value in fields.items()}
    expected = exported.signatures[RETRIEVE_ONLY](**tensors)
    np.testing.assert_array_equal(reply["patch_ids"], expected["patch_ids"])
    assert set(loaded_of_version_4.signatures) == four  # the model really lacks the others


def test_a_server_offers_all_endpoints_of_a_new_one(exported, monkeypatch):
    """The control: the same code, and the model of today."""
    loaded = SimpleNamespace(signatures=exported.signatures)
    monkeypatch.setattr(loaded_version, "load_saved_model", lambda model: loaded)
    version = LoadedVersion(exported.version)
    assert set(version.specs) == set(version.signature_defs) == set(INPUTS)
    reply = version.run(NEIGHBOURS, example_request(NEIGHBOURS, exported.model.sizes, 2))
    assert reply["neighbour_ids"].shape == (2, 5)


@pytest.mark.thorough  # reading and asking of both contracts stay
def test_rgan_generate_makes_the_same_pictures_with_it(
    exported, of_version_4, loaded_of_version_4, loaded_once, write_graph, tmp_path, monkeypatch
):
    load = saved_model_loading.load_saved_model
    monkeypatch.setattr(
        saved_model_loading,
        "load_saved_model",
        lambda model: loaded_of_version_4 if model.folder == of_version_4 else load(model),
    )
    graph = write_graph({"objects": ["sky", "grass"], "relationships": [[0, "above", 1]]})
    pictures = []
    for model in (of_version_4, exported.folder):
        out = tmp_path / f"of-{model.name}"
        generate.main(generate_arguments(graph, model, out, samples=1))
        pictures.append((out / "sample-0001.png").read_bytes())
    assert pictures[0] == pictures[1]
    assert open_model(of_version_4).contract == 4
