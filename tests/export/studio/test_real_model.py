"""`rgan studio` over a real, small model: the pictures of `rgan generate`, and its versions.

The last tests change the model of the process and end it, after those of `test_page_real.py`.
"""

from __future__ import annotations

import base64
import io
import json
import shutil
import signal
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.model_folder import EXTRA
from export.signatures import CANDIDATES, NEIGHBOURS, PATCHES, RETRIEVE, empty_request
from rgan_tf import cli
from rgan_tf.scene_graph import encode_scene_graph, parse_scene_graph
from rgan_tf.storage.manifest import describe_files
from tests.export.studio.process import StudioProcess

GRAPH = {
    "objects": ["sky", "grass", "tree", "house"],
    "relationships": [[0, "above", 1], [2, "left of", 3]],
    "boxes": [None, None, [0.1, 0.2, 0.4, 0.9], None],
    "patches": [None, None, None, None],
}
_SWAP_S = 240.0  # a loaded machine is slow, not wrong


@pytest.fixture
def client(studio_process, connect):
    return connect(studio_process.port)


@pytest.fixture
def generate(exported, loaded_once, tmp_path, capfd):
    """Runs `rgan generate` with the same model; the folder of its pictures."""
    runs = iter(range(100))

    def run(graph: Path, *words) -> Path:
        out = tmp_path / f"out-{next(runs)}"
        words = ["generate", graph, "--model", exported.version, "--out", out, *words]
        assert cli.main([str(word) for word in words]) == 0, capfd.readouterr().err
        return out

    return run


def _image(sample) -> bytes:
    return base64.b64decode(sample["image"])


def _ids(sample) -> list:
    return [item["patch"]["id"] for item in sample["objects"]]


def test_composed_pictures_are_those_of_rgan_generate(client, generate, exported, write_graph):
    out = generate(write_graph(GRAPH), "--samples", 3, "--seed", 5, "--temperature", 2)
    draws = [{"seed": seed, "temperature": 2} for seed in (5, 6, 7)]
    reply = client.post("/api/compose", {"graph": GRAPH, "draws": draws}).json
    assert reply["version"] == 1 and len(reply["samples"]) == 3
    for number, sample in enumerate(reply["samples"], start=1):
        assert _image(sample) == (out / f"sample-{number:04d}.png").read_bytes()
        expected = json.loads((out / f"sample-{number:04d}.json").read_text())
        for item in sample["objects"]:  # what it says beyond: the licence's code
            assert item["patch"].pop("code") == exported.code_of(item["patch"]["id"])
        assert expected == {"image": expected["image"]} | {
            key: value for key, value in sample.items() if key not in ("image", "order")
        }
    nearest = generate(write_graph(GRAPH), "--mode", "nearest", "--licence", "BY,BY-NC")
    body = {"graph": GRAPH, "draws": [{"mode": "nearest"}], "licences": ["BY", "BY-NC"]}
    (sample,) = client.post("/api/compose", body).json["samples"]
    assert _image(sample) == (nearest / "sample-0001.png").read_bytes()


def test_an_upload_is_what_rgan_generate_reads(client, generate, write_graph, tmp_path):
    rng = np.random.default_rng(3)
    photograph = Image.fromarray(rng.integers(0, 256, [90, 70, 3], np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph.save(tmp_path / "mine.jpg", exif=exif)
    graph = GRAPH | {"patches": [None, None, "mine.jpg", None]}
    out = generate(write_graph(graph), "--samples", 1, "--seed", 4)
    data = (tmp_path / "mine.jpg").read_bytes()
    own = {"2": client.post("/api/own", data, Content_Type="image/jpeg").json["png"]}
    body = {"graph": GRAPH, "own": own, "draws": [{"seed": 4}]}
    (sample,) = client.post("/api/compose", body).json["samples"]
    assert _image(sample) == (out / "sample-0001.png").read_bytes()
    assert base64.b64decode(own["2"]) == (out / "sample-0001-own-2.png").read_bytes()


def test_an_export_is_drawn_again_by_rgan_generate(client, generate, picture, tmp_path):
    own = {"1": client.post("/api/own", picture(40, 30), Content_Type="image/png").json["png"]}
    body = {"graph": GRAPH, "own": own, "draw": {"seed": 8}, "locks": [0]}
    reply = client.post("/api/export", body)
    folder = tmp_path / "zip"
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        archive.extractall(folder)
    image = (folder / "image.png").read_bytes()
    (sample,) = client.post(
        "/api/compose", {"graph": GRAPH, "own": own, "draws": [{"seed": 8}]}
    ).json["samples"]
    assert image == _image(sample)
    # The patches and boxes are fixed, so the seed does not matter.
    out = generate(folder / "graph.json", "--samples", 2, "--seed", 99)
    assert (out / "sample-0001.png").read_bytes() == image
    assert (out / "sample-0002.png").read_bytes() == image
    # And the sample can be edited like any that rgan generate wrote.
    edited = generate(folder / "sample.json", "--samples", 1, "--keep", "0", "1", "2", "3")
    assert (edited / "sample-0001.png").read_bytes() == image
    assert client.post("/api/export", body).body == reply.body


def test_what_rgan_generate_wrote_opens_as_the_same_picture(client, generate, write_graph):
    out = generate(write_graph(GRAPH), "--samples", 1, "--seed", 21)
    document = json.loads((out / "sample-0001.json").read_text())
    opened = client.post("/api/open", {"document": document}).json
    assert opened["messages"] == []
    assert opened["graph"]["boxes"] == GRAPH["boxes"]
    body = {"graph": opened["graph"], "draws": [opened["draw"]]}
    (sample,) = client.post("/api/compose", body).json["samples"]
    assert _image(sample) == (out / "sample-0001.png").read_bytes()
    assert sample["order"] == []  # nothing was drawn


def test_candidates_patches_and_neighbours_are_the_models(client, ask, exported):
    sizes = exported.model.sizes
    (sample,) = client.post("/api/compose", {"graph": GRAPH, "draws": [{}]}).json["samples"]
    graph = GRAPH | {"patches": _ids(sample)}
    body = {"graph": graph, "position": 2, "licences": None}
    found = client.post("/api/candidates", body).json["candidates"]

    request = empty_request(CANDIDATES, sizes, 1)
    fields = encode_scene_graph(
        parse_scene_graph(graph), exported.model.vocabulary, sizes.objects, sizes.triples
    )
    for name in ("objects", "triples", "boxes", "boxes_given", "patch_ids"):
        request[name][0] = fields[name]
    request["patch_ids"][0, 2] = RETRIEVE
    reply = ask(CANDIDATES, **request)
    ids = [int(i) for i in reply["candidate_ids"][0, 2] if i >= 0]
    assert [item["id"] for item in found] == ids and ids
    distances = reply["candidate_distances"][0, 2, : len(ids)]
    groups = reply["candidate_group_distances"][0, 2, : len(ids)]
    np.testing.assert_allclose([item["distance"] for item in found], distances, rtol=1e-5)
    np.testing.assert_allclose([item["group_distance"] for item in found], groups, rtol=1e-5)
    assert _ids(sample)[2] in ids and {item["category"] for item in found} == {"tree"}
    assert [item["code"] for item in found] == [exported.code_of(i) for i in ids]

    request = empty_request(PATCHES, sizes, 1)
    request["ids"][0, : len(ids)] = ids
    crops = ask(PATCHES, **request)["patch_crops_bytes"][0]
    for number, crop in zip(ids, crops, strict=False):
        assert client.get(f"/api/versions/1/patches/{number}.png").body == crop

    request = empty_request(NEIGHBOURS, sizes, 1)
    request["patch_id"][0] = ids[0]
    near = ask(NEIGHBOURS, **request)["neighbour_ids"][0]
    neighbours = client.get(f"/api/versions/1/patches/{ids[0]}/neighbours").json["neighbours"]
    assert [item["id"] for item in neighbours] == [int(i) for i in near if i >= 0]


def test_the_layout_is_that_of_the_picture(client):
    (sample,) = client.post("/api/compose", {"graph": GRAPH, "draws": [{}]}).json["samples"]
    boxes = client.post("/api/layout", {"graph": GRAPH}).json["boxes"]
    np.testing.assert_allclose(boxes, [item["box"] for item in sample["objects"]], atol=1e-6)
    assert boxes[2] == GRAPH["boxes"][2]


def test_what_the_model_refuses_is_the_callers_fault(client, exported):
    number = next(i for i in range(99) if exported.code_of(i) == "BY-NC")
    graph = GRAPH | {"patches": [number, None, None, None]}
    body = {"graph": graph, "draws": [{}], "licences": ["BY"]}
    client.post("/api/compose", body).refused(400, "graph.patches[0]")


def _eventually(condition) -> None:
    end = time.monotonic() + _SWAP_S
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.2)


def _publish(studio: StudioProcess, number: int, contract: int | None = None) -> None:
    """A copy of version 1, perhaps as an earlier contract describes it."""
    hidden = studio.model / f".{number}"
    shutil.copytree(studio.model / "1", hidden)
    if contract is not None:
        path = hidden / EXTRA / "signature.json"
        signature = json.loads(path.read_text())
        signature["version"] = contract
        del signature["scale"], signature["sizes"]["candidates"]
        for name in (CANDIDATES, PATCHES, NEIGHBOURS):
            del signature["endpoints"][name]
        path.write_text(json.dumps(signature))
        manifest = json.loads((hidden / EXTRA / "manifest.json").read_text())
        manifest["files"] |= describe_files(hidden, [f"{EXTRA}/signature.json"])
        (hidden / EXTRA / "manifest.json").write_text(json.dumps(manifest))
    hidden.rename(studio.model / str(number))


@pytest.mark.thorough
def test_versions_are_swapped_and_the_page_is_told(client, studio_process):
    body = {"graph": GRAPH, "draws": [{"seed": 1}]}
    first = client.post("/api/compose", body).json
    _publish(studio_process, 2)
    replies = []

    def is_swapped() -> bool:
        replies.append(client.post("/api/compose", body).json)  # answered all the time
        return replies[-1]["version"] == 2

    _eventually(is_swapped)
    assert {reply["version"] for reply in replies} <= {1, 2}
    assert _image(replies[-1]["samples"][0]) == _image(first["samples"][0])
    assert replies[-1]["samples"][0]["model_version"] == "2"
    client.get("/api/versions/1/patches/0.png").refused(404)
    assert client.get("/api/versions/2/patches/0.png").status == 200


@pytest.mark.thorough
def test_contract_4_works_without_alternatives(client, studio_process):
    _publish(studio_process, 4, contract=4)
    _eventually(lambda: client.get("/api/model").json["version"] == 4)
    model = client.get("/api/model").json
    assert (model["contract"], model["has_candidates"], model["scale"]) == (4, False, None)
    client.post("/api/candidates", {"graph": GRAPH, "position": 0}).refused(501)
    client.get("/api/versions/4/patches/0.png").refused(501)
    (sample,) = client.post("/api/compose", {"graph": GRAPH, "draws": [{}]}).json["samples"]
    assert Image.open(io.BytesIO(_image(sample))).size == (32, 32)
    assert client.post("/api/export", {"graph": GRAPH}).status == 200
    assert client.post("/api/layout", {"graph": GRAPH}).status == 200


def test_it_stops_when_asked_and_has_written_nothing(client, studio_process):
    studio = studio_process
    version = client.get("/api/model").json["version"]
    studio.process.send_signal(signal.SIGTERM)
    out, _ = studio.process.communicate(timeout=60)
    assert studio.process.returncode == 0
    result = json.loads(out)
    assert (
        result["version"] == version and result["port"] == studio.port and result["answered"] > 10
    )
    assert list(studio.folder.iterdir()) == []
