"""What a person opens: graphs, samples of `rgan generate`, studio projects, also of elsewhere."""

from __future__ import annotations

import base64
import copy
import io
import json
import os
import zipfile

import numpy as np
import pytest

from rgan_tf.storage.image import decode_image
from tests.export.studio.stub_engine import BANK


@pytest.fixture
def opened(client):
    """Opens a document, which must succeed."""

    def open_it(document):
        reply = client.post("/api/open", {"document": document}).json
        assert set(reply) == {
            *("version", "graph", "own", "locks", "kept", "draw", "licences", "messages")
        }
        kept = {str(i): n for i, n in enumerate(reply["graph"]["patches"]) if n is not None}
        assert reply["kept"] == kept
        return reply

    return open_it


@pytest.fixture
def sample(client, graph):
    """What `rgan generate` writes beside a picture, of the same function."""

    def draw(**more):
        body = {"graph": graph, "draws": [{"seed": 5, "temperature": 2.0}], **more}
        made = client.post("/api/compose", body).json["samples"][0]
        return {"image": "sample-0001.png"} | {
            key: value for key, value in made.items() if key not in ("image", "order")
        }

    return draw


@pytest.fixture
def project(client, graph, picture, b64):
    """A studio project as the export writes it."""
    graph["patches"] = [141, None, 61, None]
    body = {
        "graph": graph,
        "own": {"1": b64(picture(64, 64))},
        "draw": {"seed": 9, "temperature": 0.5, "mode": "sample", "repeats": True},
        "licences": ["BY", "BY-SA", "BY-NC", "public-domain"],
        "locks": [0, 1],
    }
    return _project_of(client.post("/api/export", body))


def _project_of(reply):
    assert reply.status == 200, reply.body[:300]
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        return json.loads(archive.read("project.json"))


def test_a_plain_graph_is_itself(opened, graph):
    reply = opened(graph)
    assert reply["graph"] == graph and reply["messages"] == []
    assert (reply["locks"], reply["draw"], reply["licences"]) == ([], None, None)
    graph["patches"] = [None, 200, None, 3]
    reply = opened(graph)
    assert reply["locks"] == [1, 3] and reply["kept"] == {"1": 200, "3": 3}


def test_the_habits_of_sg2im_are_read(opened):
    reply = opened(
        {
            "objects": ["__image__", "sky", "tree"],
            "relationships": [[1, "__in_image__", 0], ["1", "above", 2.0], [1, "above", 2]],
            "boxes": [[0, 0, 1, 1], None, [0, 0.5, 1, 1]],
            "patches": [None, None, 200],
            "id": 7,
        }
    )
    assert reply["graph"] == {
        "objects": ["sky", "tree"],
        "relationships": [[0, "above", 1]],
        "boxes": [None, [0.0, 0.5, 1.0, 1.0]],
        "patches": [None, 200],
    }


def test_of_a_list_the_first_is_opened(opened, graph):
    reply = opened([graph, {"objects": ["sky"]}])
    assert reply["graph"]["objects"] == graph["objects"]
    assert reply["messages"] == ["the file has 2 scene graphs; the first is opened"]


def test_a_sample_opens_as_the_same_picture(opened, sample, client):
    document = sample()
    reply = opened(document)
    assert reply["draw"] == {"mode": "sample", "seed": 5, "temperature": 2.0, "repeats": False}
    assert reply["graph"]["boxes"] == [None, None, [0.3, 0.4, 0.7, 0.9], None]
    assert reply["messages"] == [] and reply["locks"] == []
    ids = [item["patch"]["id"] for item in document["objects"]]
    assert reply["graph"]["patches"] == ids
    body = {"graph": reply["graph"], "draws": [reply["draw"]]}
    again = client.post("/api/compose", body).json["samples"][0]
    for old, new in zip(document["objects"], again["objects"], strict=True):
        assert new["box"] == old["box"] and new["patch"]["id"] == old["patch"]["id"]


def test_patches_that_the_user_chose_are_locked(opened, sample, graph):
    graph["patches"][1] = 200
    assert opened(sample())["locks"] == [1]


def test_ids_of_another_bank_are_dropped_and_counted(opened, sample):
    document = sample()
    document["objects"][0]["patch"]["url"] = "https://elsewhere.example"
    document["objects"][1]["patch"]["id"] = 10**6
    reply = opened(document)
    assert reply["graph"]["patches"][:2] == [None, None]
    assert None not in reply["graph"]["patches"][2:]
    assert reply["messages"] == ["2 patches were chosen from another bank and are drawn anew"]


def test_images_on_disk_are_not_read(opened, sample, graph, picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tree.png").write_bytes(picture(64, 64))
    looked = []
    isfile = os.path.isfile
    monkeypatch.setattr(os.path, "isfile", lambda path: looked.append(path) or isfile(path))
    graph["patches"][1] = "tree.png"
    reply = opened(graph)
    assert reply["graph"]["patches"][1] is None and reply["own"] == {}
    (message,) = reply["messages"]
    assert message.startswith("tree (objects[1]): the image file tree.png is not read from disk")

    graph["patches"][1] = None
    for patch in ({"path": "tree.png"}, {"file": "tree.png"}, {"path": "/x", "file": "tree.png"}):
        document = sample()
        document["objects"][1]["patch"] = {"id": None, "chosen_by": "user", **patch}
        reply = opened(document)
        (message,) = reply["messages"]
        assert message.startswith("tree (objects[1]): the image file ") and reply["own"] == {}
    assert looked == []


def test_edits_in_a_sample_are_not_carried_out(opened, sample):
    reply = opened(sample() | {"redraw": ["sky"]})
    assert None not in reply["graph"]["patches"] and "redraw" in reply["messages"][0]


def test_a_project_opens_as_it_was(opened, project, graph, b64, picture):
    reply = opened(copy.deepcopy(project))
    assert reply["messages"] == []
    assert reply["graph"]["patches"][0] == 141 and reply["graph"]["patches"][2] == 61
    assert reply["graph"]["patches"][1] is None and reply["graph"]["patches"][3] is not None
    assert reply["locks"] == [0, 1]
    assert reply["draw"] == {"mode": "sample", "seed": 9, "temperature": 0.5, "repeats": True}
    assert sorted(reply["licences"]) == ["BY", "BY-NC", "BY-SA", "public-domain"]
    assert reply["graph"]["boxes"] == graph["boxes"]
    pixels = decode_image(base64.b64decode(reply["own"]["1"]), "own")
    np.testing.assert_array_equal(pixels, decode_image(picture(64, 64), "mine"))
    assert reply["own"] == project["studio"]["own"]


def test_a_project_of_another_bank_keeps_all_but_its_ids(opened, project):
    assert project["model"]["bank"] == BANK
    for bank in ("c" * 64, None):
        project["model"]["bank"] = bank
        reply = opened(project)
        assert reply["kept"] == {} and reply["locks"] == [1]  # the own picture
        assert reply["messages"] == ["3 patches were chosen from another bank and are drawn anew"]
        assert reply["graph"]["boxes"][2] is not None
    del project["model"]
    assert opened(project)["kept"] == {}


def test_a_projects_pictures_come_to_the_size_of_this_model(opened, project, b64, picture):
    project["studio"]["own"] = {"1": b64(picture(100, 50))}
    data = base64.b64decode(opened(project)["own"]["1"])
    assert decode_image(data, "own").shape == (64, 64, 3)


def test_licences_that_this_model_lacks_are_told(opened, project):
    project["studio"]["licences"] = ["built-in"]
    reply = opened(project)
    assert reply["licences"] is None and "all licences are allowed again" in reply["messages"][0]


def test_the_image_node_of_a_project_shifts_positions(opened, project):
    project["graph"]["objects"].insert(0, "__image__")
    project["graph"]["boxes"].insert(0, None)
    project["graph"]["relationships"] = [[1, "above", 3]]
    project["studio"]["locks"] = [0, 1, 2]
    project["studio"]["kept"] = {"0": 5, "1": 141, "3": 61}
    project["studio"]["own"] = {"2": project["studio"]["own"]["1"]}
    reply = opened(project)
    assert reply["kept"] == {"0": 141, "2": 61} and reply["locks"] == [0, 1]
    assert list(reply["own"]) == ["1"]


@pytest.mark.parametrize(
    "change, field",
    [
        ({"version": 2}, "document.version"),
        ({"version": None}, "document.version"),
        ({"graph": None}, "document.graph"),
        ({"graph": {"objects": "sky"}}, "document.graph"),
        ({"graph": {"objects": ["sky", "zebra"]}}, "graph.objects[1]"),
        ({"studio": {"kept": {"0": "x"}}}, "document.studio.kept"),
        ({"studio": {"kept": [1]}}, "document.studio.kept"),
        ({"studio": {"locks": "0"}}, "locks"),
        ({"studio": {"locks": [99]}}, "locks"),
        ({"studio": {"own": {"0": "?"}}}, "own.0"),
        ({"studio": {"own": {"99": ""}}}, "own"),
        ({"studio": {"draw": {"seed": -1}}}, "draw.seed"),
    ],
)
def test_broken_projects(client, project, change, field):
    client.post("/api/open", {"document": project | change}).refused(400, field)


def test_pictures_in_documents_are_small(client, project, picture, b64):
    project["studio"]["own"] = {"1": b64(picture(1025, 20))}
    assert "1024" in client.post("/api/open", {"document": project}).refused(400, "own.1")


@pytest.mark.parametrize("document", [None, 1, "x", [], {}, [[]], [None], {"objects": [None]}])
def test_what_is_not_a_document(client, document):
    assert client.post("/api/open", {"document": document}).status == 400


def test_a_sample_with_anything_in_its_place_is_not_a_bug(client, sample):
    """Every value of a sample in turn becomes something else."""
    document = sample()
    for value in (None, True, -1, 10**20, 1e300, "x", [], {}, [1, 2], {"id": True}):
        for path in _paths(document):
            changed = copy.deepcopy(document)
            place = changed
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = value
            reply = client.post("/api/open", {"document": changed})
            assert reply.status in (200, 400), (path, value, reply.body)
            if reply.status == 200:
                ids = reply.json["graph"]["patches"]
                assert all(i is None or type(i) is int for i in ids), (path, value)


def _paths(value, before=()):
    items = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = list(enumerate(value))[:1]  # one of a kind
    for key, item in items:
        yield (*before, key)
        yield from _paths(item, (*before, key))
