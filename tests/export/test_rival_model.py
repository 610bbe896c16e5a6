"""A rival is exported, drawn with and served like any run, with the fields that its system has."""

from __future__ import annotations

import argparse
import functools
import json

import numpy as np
import pytest
import tensorflow as tf

from export import saved_model
from export.commands import export, generate, studio
from export.generate import read_requests
from export.model_folder import EXTRA, open_contract
from export.pipeline import RetrieveGAN
from export.saved_rival import build_served_rival
from export.server.loaded_version import LoadedVersion
from export.signatures import (
    GENERATE,
    MAX_BATCH,
    RIVAL_VERSION,
    endpoints_from_description,
    example_request,
)
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_sg2im_networks
from rgan_tf.places import open_place
from rgan_tf.registered_names import RIVALS
from rgan_tf.retrieval.bank_variables import licence_table
from rgan_tf.rivals import registry
from rgan_tf.rivals.rival import PATCHES, RivalNetworks
from rgan_tf.runs import Run, create_run, load_weights, open_run, save_weights
from rgan_tf.storage.image import decode_image
from tests.export.arguments import generate_arguments
from tests.export.conftest import TINY as TINY_RUN
from tests.rivals.conftest import TINY
from training.bank.inspection import info

GRAPH = {"objects": ["sky", "tree"], "relationships": [[0, "above", 1]]}
DRAWS_FROM_PATCHES = ("pastegan",)
DRAWS_IN_A_LAYOUT = ("sg2im", "layout2im", "pastegan")


def tiny_networks(config, vocabulary) -> RivalNetworks:
    """As `rival_networks`, of very small widths."""
    system = config.training.system
    networks = registry._NETWORKS[system]
    options = {"crop_size": config.data.crop_size} if networks.reads_patches else {}
    return networks(vocabulary, TINY[system], image_size=config.data.image_size, **options)


@pytest.fixture(scope="session")
def rival_run(licensed_world, tmp_path_factory):
    """Makes runs of tiny rivals with random weights: system -> run, each once."""
    from rgan_tf.config_files import config_from_dict

    made: dict[str, Run] = {}

    def make(system: str) -> Run:
        if system not in made:
            training = TINY_RUN["training"] | {"system": system}
            config = config_from_dict(TINY_RUN | {"training": training})
            tf.keras.utils.set_random_seed(5)
            folder = tmp_path_factory.mktemp("rivals") / system
            run = create_run(folder, config, licensed_world)
            save_weights(run, "sg2im", build_sg2im_networks(config, run.vocabulary), steps=0)
            save_weights(run, "retrievegan", tiny_networks(config, run.vocabulary), steps=0)
            made[system] = open_run(str(folder))
        return made[system]

    return make


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("export.saved_rival.rival_networks", tiny_networks)


@pytest.fixture(scope="session")
def served_of(rival_run, licensed_world):
    """Builds what is served of a rival: system -> model, licences, function; each once."""
    made = {}

    def make(system: str):
        if system not in made:
            bank = licensed_world.bank if system in DRAWS_FROM_PATCHES else None
            served, licences = build_served_rival(rival_run(system), bank)
            functions = served.functions()  # the export of `model_of` traces them no second time
            served.functions = lambda: functions
            made[system] = served, licences, served.function(GENERATE)
        return made[system]

    return make


@pytest.fixture(scope="module", autouse=True)
def each_loaded_once():
    """Commands and servers get a written model as it is loaded already: that takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.saved_model, "load", functools.cache(tf.saved_model.load))
        yield


@pytest.fixture(scope="session")
def model_of(rival_run, served_of, tmp_path_factory):
    """Exports a rival by the command, each once and not checked: system -> model folder.

    What is served is what `served_of` has built by the same function, and traced already.
    """
    made = {}

    def make(system: str):
        if system not in made:
            folder = tmp_path_factory.mktemp("models") / system
            run = rival_run(system)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("export.saved_rival.rival_networks", tiny_networks)
                patch.setattr(saved_model, "build_served_rival", lambda *_: served_of(system)[:2])
                patch.setattr(saved_model, "check_fresh", lambda *_: None)
                result = export.main(arguments(run.folder, folder))
            assert (result["version"], result["system"]) == (1, system)
            made[system] = folder
        return made[system]

    return make


def arguments(run, out, **others) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    export.add_arguments(parser)
    words = ["--run", str(run), "--out", str(out)]
    for name, value in others.items():
        words += [f"--{name}", str(value)]
    return parser.parse_args(words)


# One that draws in a layout and from patches stands for those that lack one or both.
richest_stands_for_all = pytest.mark.parametrize(
    "system",
    [
        pytest.param(name, marks=() if name == "pastegan" else pytest.mark.thorough)
        for name in RIVALS
    ],
)


def names_of(fields) -> set[str]:
    return {field.name for field in fields}


@richest_stands_for_all
def test_a_rival_has_the_fields_of_its_system(system, served_of):
    served, licences, ask = served_of(system)
    endpoints = served.endpoints
    assert list(endpoints.inputs) == list(endpoints.outputs) == [GENERATE]
    has, answers = names_of(endpoints.inputs[GENERATE]), names_of(endpoints.outputs[GENERATE])
    assert {"objects", "triples", "seed"} <= has and "image_bytes" in answers
    assert not {"mode", "temperature", "own_patches"} & has and "order" not in answers
    for names in (has, answers):
        assert ("boxes" in names) == (system in DRAWS_IN_A_LAYOUT)
        assert ("patch_ids" in names) == (system in DRAWS_FROM_PATCHES)
    assert bool(licences) == ("licences_refused" in has) == (system in DRAWS_FROM_PATCHES)

    request = example_request(GENERATE, served.sizes, 3, endpoints.inputs[GENERATE])
    request["objects"][1, 2:] = 0  # another number of objects in every row
    whole = ask(**request)
    assert set(whole) == answers
    for field in endpoints.outputs[GENERATE]:
        assert tuple(whole[field.name].shape[1:]) == served.sizes.shape_of(field)
    for row in range(3):  # alone, and among copies of itself
        for rows in ([row], [row] * 2):
            alone = ask(**{name: value[rows] for name, value in request.items()})
            for name, value in alone.items():
                np.testing.assert_array_equal(value[-1], whole[name][row])
    other = ask(**{**request, "seed": request["seed"] + 9})
    assert (other["image_bytes"].numpy() != whole["image_bytes"].numpy()).any()
    if system in DRAWS_IN_A_LAYOUT:
        np.testing.assert_array_equal(whole["boxes"][:, 0], request["boxes"][:, 0])
        assert not whole["boxes"].numpy()[1, 2:].any() and whole["boxes"].numpy()[:, 1].any()


@richest_stands_for_all
def test_the_served_picture_is_that_of_the_rival_itself(
    system, rival_run, served_of, licensed_world
):
    """Against `synthesise` on the first stage's layout and the bank's nearest patches."""
    run, bank = rival_run(system), licensed_world.bank
    served, _, ask = served_of(system)
    request = example_request(GENERATE, served.sizes, 1, served.endpoints.inputs[GENERATE])
    if "boxes_given" in request:
        request["boxes_given"][:] = False
    reply = ask(**request)

    networks = tiny_networks(run.config, run.vocabulary)
    load_weights(run, "retrievegan", networks, system=system)
    first = build_sg2im_networks(run.config, run.vocabulary)
    load_weights(run, "sg2im", first)
    graph = {name: tf.constant(request[name]) for name in ("objects", "triples")}
    encoding = first.encoder(graph)
    if system in DRAWS_FROM_PATCHES:
        features = served.bank.graph_features.numpy()
        queries = encoding.object_vectors[0].numpy().astype(np.float16).astype(np.float32)
        categories, objects = np.asarray(bank.category_ids), request["objects"][0]
        refused = tf.constant(request["licences_refused"][0])
        allowed = ~request["licences_refused"][0][licence_table(bank.rows)[1]]
        found = served.search.row_search()(tf.constant(queries), tf.constant(objects), refused)
        ids = np.maximum(found.ids.numpy(), 0)[np.newaxis]  # [1, O, 3]
        is_same = categories[ids[0]] == objects[:, np.newaxis]
        valid = (found.valid.numpy() & is_same & (objects > 0)[:, np.newaxis])[np.newaxis]
        for place, category in enumerate(objects[objects > 0]):  # counted out by hand
            rows = np.flatnonzero((categories == category) & allowed)
            far = np.sort(np.linalg.norm(features[rows] - queries[place], axis=1))[:3]
            assert valid[0, place].sum() == len(far)
            taken = features[ids[0, place, : len(far)]]
            np.testing.assert_allclose(
                np.linalg.norm(taken - queries[place], axis=1), far, atol=1e-3
            )
        crops = bank.crops_at(np.arange(len(bank)), run.config.data.crop_size)
        graph |= dict(zip(PATCHES, (tf.constant(crops[ids]), tf.constant(valid)), strict=True))
    boxes = first.predict_boxes(graph, encoding) if system == "layout2im" else None
    drawing = networks.synthesise(graph, boxes, tf.constant(request["seed"]))
    picture = decode_image(reply["image_bytes"].numpy()[0], "picture")
    expected = np.round((drawing.images[0].numpy() + 1.0) * 127.5)
    assert np.abs(picture - expected).max() <= 1
    if system in DRAWS_FROM_PATCHES:
        chosen = np.take_along_axis(
            ids, np.maximum(drawing.choice.numpy(), 0)[..., np.newaxis], axis=2
        )[0, :, 0]
        is_drawn = drawing.choice.numpy()[0] >= 0
        np.testing.assert_array_equal(reply["patch_ids"][0], np.where(is_drawn, chosen, -1))
        categories = np.asarray(bank.category_ids)[chosen]
        np.testing.assert_array_equal(
            reply["patch_categories"][0], np.where(is_drawn, categories, 0)
        )


@pytest.mark.parametrize(
    "system",
    [
        "pastegan",
        *(
            pytest.param(name, marks=pytest.mark.thorough)
            for name in ("attngan", "sg2im", "layout2im")
        ),
    ],
)
@pytest.mark.timeout(600)
def test_export_and_generate(system, model_of, tmp_path, write_graph, licensed_world):
    folder = model_of(system)
    model = open_contract(folder)
    assert (model.system, model.contract) == (system, RIVAL_VERSION)
    assert (model.reads_boxes, model.reads_patches) == (
        system in DRAWS_IN_A_LAYOUT,
        system in DRAWS_FROM_PATCHES,
    )
    card = (folder / "1" / EXTRA / "model_card.md").read_text()
    assert system in card and ("Licences of the patches" in card) == model.reads_patches
    place = open_place(str(folder))
    assert (place.patches is None) == (not model.reads_patches)

    graph = write_graph(GRAPH)
    draws = [
        generate.main(generate_arguments(graph, folder, tmp_path / name, samples=2, seed=7))
        for name in ("one", "two")
    ]
    files = {path.name for path in (tmp_path / "one").iterdir()}
    for path in (tmp_path / "one").iterdir():  # equal seeds, equal bytes
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()
    assert ("sample-0001-layout.png" in files) == model.reads_boxes
    assert ("sample-0001-patches.png" in files) == model.reads_patches
    assert len(draws[0]["images"]) == 2
    sample = json.loads((tmp_path / "one" / "sample-0002.json").read_text())
    assert (sample["system"], sample["seed"]) == (system, 8) and "mode" not in sample
    for item in sample["objects"]:
        assert ("box" in item) == model.reads_boxes
        assert ("patch" in item) == model.reads_patches
        if model.reads_patches and item["patch"]["id"] is not None:
            row = licensed_world.bank.rows[item["patch"]["id"]]
            assert item["patch"]["source"] == row["source"] and item["category_found"]
    # A sample is the graph that it was made from.
    again = tmp_path / "one" / "sample-0002.json"
    generate.main(generate_arguments(again, folder, tmp_path / "again", samples=1, seed=8))
    assert (tmp_path / "again" / "sample-0001.png").read_bytes() == (
        tmp_path / "one" / "sample-0002.png"
    ).read_bytes()

    version = LoadedVersion(folder / "1")  # as a server has it
    assert set(version.specs) == {GENERATE}
    inputs = version.model.inputs_of(GENERATE)
    reply = version.run(GENERATE, example_request(GENERATE, model.sizes, MAX_BATCH, inputs))
    assert set(reply) == names_of(version.model.outputs_of(GENERATE))


@pytest.mark.timeout(600)
def test_pastegan_keeps_a_patch(model_of, tmp_path, write_graph):
    folder = model_of("pastegan")
    generate.main(generate_arguments(write_graph(GRAPH), folder, tmp_path / "one", samples=1))
    drawn = tmp_path / "one" / "sample-0001.json"
    generate.main(
        generate_arguments(drawn, folder, tmp_path / "kept", samples=3, seed=50, keep=["sky"])
    )
    before = json.loads(drawn.read_text())["objects"][0]
    for number in (1, 2, 3):
        after = json.loads((tmp_path / "kept" / f"sample-000{number}.json").read_text())
        after = after["objects"][0]
        assert after["patch"]["id"] == before["patch"]["id"] and after["box"] == before["box"]
    # One of the user's own is refused.
    own = write_graph({**GRAPH, "patches": ["x.png", None]}, "own.json")
    with pytest.raises(BadInput, match="pastegan and takes no images of your own"):
        read_requests(own, open_contract(folder), LicenceFilter.parse(None))


@pytest.mark.thorough  # needs a second export; that of pastegan refuses above
@pytest.mark.timeout(600)
def test_what_a_system_lacks_is_refused_by_its_name(model_of, tmp_path, write_graph):
    folder = model_of("attngan")
    graph = write_graph(GRAPH)

    def refused(graph=graph, **options) -> str:
        with pytest.raises(BadInput) as caught:
            generate.main(generate_arguments(graph, folder, tmp_path / "out", **options))
        assert not (tmp_path / "out").exists() and "\n" not in str(caught.value)
        return str(caught.value)

    boxed = write_graph({**GRAPH, "boxes": [[0, 0, 1, 1], None]}, "boxed.json")
    assert "boxes" in refused(boxed) and "attngan, which draws in no layout" in refused(boxed)
    patched = write_graph({**GRAPH, "patches": [3, None]}, "patched.json")
    assert "attngan, which draws from no patches" in refused(patched)
    for options in (
        {"mode": "nearest"},
        {"temperature": 2.0},
        {"allow_repeats": True},
        {"licence": ["BY"]},
    ):
        assert "attngan" in refused(**options)
    generate.main(generate_arguments(graph, folder, tmp_path / "made", samples=1))
    drawn = tmp_path / "made" / "sample-0001.json"
    assert "attngan, which draws from none" in refused(drawn, keep=["sky"])

    parser = argparse.ArgumentParser()
    studio.add_arguments(parser)
    with pytest.raises(BadInput, match="draws from no patches; rgan vocabulary .* lists its names"):
        info(folder)  # it called the intact model damaged when it was to draw patches
    with pytest.raises(BadInput, match="a model of attngan, without the candidates"):
        studio.main(parser.parse_args(["--model", str(folder), "--port", "0"]))


def test_options_of_patches_are_refused_before_anything_is_built(rival_run, tmp_path):
    run = rival_run("sg2im")
    for option, value in (("bank", "B"), ("data", "D"), ("index", "scann")):
        with pytest.raises(BadInput, match=f"--{option}: .* is of sg2im, which draws from no"):
            export.main(arguments(run.folder, tmp_path / "model", **{option: value}))
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize(
    "system", ["pastegan", pytest.param("attngan", marks=pytest.mark.thorough)]
)
@pytest.mark.usefixtures("eagerly")  # the others trace what is served
def test_from_python(system, rival_run):
    model = RetrieveGAN.from_run(rival_run(system).folder)
    made = model.generate(GRAPH, samples=2, seed=3)
    assert made.images.shape == (2, 32, 32, 3) and (made.images[0] != made.images[1]).any()
    assert (made.boxes is None) == (made.patches is None) == (system == "attngan")
    assert (made.crops is None) == (system == "attngan")
    with pytest.raises(BadInput, match=f"is of {system}, which draws by its seed alone"):
        model.generate(GRAPH, mode="nearest")


@pytest.mark.thorough
@pytest.mark.parametrize("system", RIVALS)
def test_another_process_answers_alike(system, rival_run, tmp_path):
    """The check that exporting makes; `make test` has that of RetrieveGAN's model."""
    result = export.main(arguments(rival_run(system).folder, tmp_path / "model"))
    assert (result["version"], result["system"]) == (1, system)


@pytest.mark.thorough
def test_a_rival_that_answers_otherwise_is_not_published(served_of, model_of):
    served, *_ = served_of("attngan")
    drawn = served.functions()[GENERATE]
    other = {
        GENERATE: lambda *fields: {
            name: tf.map_fn(lambda file: tf.io.encode_png(255 - tf.io.decode_png(file)), value)
            for name, value in drawn(*fields).items()
        }
    }
    with pytest.raises(saved_model.CheckFailed, match="makes a different image"):
        saved_model.check_fresh(
            model_of("attngan") / "1", other, served.sizes, (), served.endpoints
        )
    description = json.loads((model_of("attngan") / "1" / EXTRA / "signature.json").read_text())
    assert endpoints_from_description(description, "s") == ("attngan", served.endpoints)
