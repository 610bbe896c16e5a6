"""Every route of the studio's API, over a stub of the model."""

from __future__ import annotations

import base64
import concurrent.futures
import hashlib
import io
import threading

import numpy as np
import pytest
from PIL import Image

from export.signatures import PATCHES
from export.studio import reading
from rgan_tf.bank.licences import licence_code
from rgan_tf.storage.image import decode_image, encode_png, resize_image
from tests.export.studio.stub_engine import (
    COUNTS,
    NAMES,
    SCALE,
    K,
    colour_of,
    crop_png,
    stub_version,
)

TREES = range(181, 241)  # ids


def ids_of(sample) -> list:
    return [item["patch"]["id"] for item in sample["objects"]]


def compose(client, graph, *draws, **more):
    body = {"graph": graph, "draws": list(draws) or [{}], **more}
    return client.post("/api/compose", body).json["samples"]


def pixel(image: str, x: float, y: float) -> tuple[int, int, int]:
    """Of a picture in base64, at fractions of it."""
    shown = Image.open(io.BytesIO(base64.b64decode(image)))
    return shown.getpixel((int(x * shown.width), int(y * shown.height)))


def test_the_model_is_described(client):
    model = client.get("/api/model").json
    assert (model["version"], model["contract"], model["candidates"]) == (1, 5, K)
    assert (model["image"], model["crop"], model["own_patch"]) == (64, 32, 64)
    assert model["scale"] == SCALE
    assert model["has_candidates"] is True
    assert [item["name"] for item in model["objects"]] == sorted(NAMES)
    assert {item["name"]: item["patches"] for item in model["objects"]} == {
        name: COUNTS.get(name, 20) for name in NAMES
    }
    assert "__in_image__" not in model["predicates"] and len(model["predicates"]) == 6
    assert sum(item["patches"] for item in model["licences"]) == len(TREES) + TREES.start + 20
    assert {item["code"] for item in model["licences"]} == {"BY", "BY-SA", "BY-NC", "public-domain"}
    assert model["limits"]["objects"] == 8 and model["limits"]["draws"] == 8
    assert len(model["examples"]) == 3
    for example in model["examples"]:
        assert example["title"] and compose(client, example["graph"])


def test_the_layout_keeps_given_boxes_and_names_contradictions(client, graph):
    graph["relationships"] = [[0, "above", 1], [1, "above", 0], [2, "left of", 3]]
    graph["boxes"][3] = [0.0, 0.0, 0.2, 0.2]
    reply = client.post("/api/layout", {"graph": graph}).json
    assert reply["version"] == 1 and len(reply["boxes"]) == 4
    assert reply["boxes"][2:] == [[0.3, 0.4, 0.7, 0.9], [0.0, 0.0, 0.2, 0.2]]  # to the digit
    texts = {item["relationship"]: item["text"] for item in reply["contradictions"]}
    assert set(texts) == {0, 1, 2}
    assert texts[0].endswith("not all can be true") and texts[2].endswith("boxes say otherwise")


def test_equal_requests_have_equal_bytes_and_seeds_differ(client, graph):
    body = {"graph": graph, "draws": [{"seed": 1}, {"seed": 2}, {"mode": "nearest"}]}
    first, again = (client.post("/api/compose", body) for _ in range(2))
    assert first.body == again.body
    samples = first.json["samples"]
    assert [sample["seed"] for sample in samples] == [1, 2, None]
    assert len({sample["image"] for sample in samples}) == 3
    assert ids_of(compose(client, graph, {"seed": 2})[0]) == ids_of(samples[1])
    assert sorted(samples[0]["order"]) == [0, 1, 2, 3]
    assert samples[0]["objects"][2]["box_given"] is True


def test_kept_patches_stay_and_a_box_moves_them(client, graph):
    (first,) = compose(client, graph, {"seed": 1})
    graph["patches"] = ids_of(first)
    graph["boxes"][1] = [0.0, 0.0, 0.25, 0.25]
    (moved,) = compose(client, graph, {"seed": 99})
    assert ids_of(moved) == ids_of(first) and moved["image"] != first["image"]
    assert moved["order"] == []
    assert moved["objects"][1]["box"] == [0.0, 0.0, 0.25, 0.25]
    assert pixel(moved["image"], 0.1, 0.1) == colour_of(graph["patches"][1])
    others = [item["box"] for i, item in enumerate(first["objects"]) if i != 1]
    assert [item["box"] for i, item in enumerate(moved["objects"]) if i != 1] == others


def test_without_an_image_the_model_draws_none(client, stub, graph):
    (sample,) = compose(client, graph, image=False)
    assert sample["image"] is None and stub.engine.calls[-1] == (1, "retrieve", 1)
    (drawn,) = compose(client, graph)
    assert ids_of(drawn) == ids_of(sample)


def test_every_patch_says_the_code_of_its_licence(client, graph):
    (sample,) = compose(client, graph)
    patches = [item["patch"] for item in sample["objects"]]
    assert [patch["code"] for patch in patches] == [licence_code(one["licence"]) for one in patches]


def test_own_pictures_come_as_they_were_answered(client, graph, picture):
    data = picture(80, 40, (10, 20, 30))
    answered = client.post("/api/own", data, Content_Type="image/png").json
    file = base64.b64decode(answered["png"])
    assert file == encode_png(resize_image(decode_image(data, "it"), 64))
    assert answered["sha256"] == hashlib.sha256(file).hexdigest()
    graph["boxes"][1] = [0.0, 0.0, 0.25, 0.25]
    (sample,) = compose(client, graph, own={"1": answered["png"]})
    assert sample["objects"][1]["patch"] | {"step": 0, "distance": 0} == {
        "id": None,
        "path": "own-1.png",
        "chosen_by": "user",
        "step": 0,
        "distance": 0,
    }
    assert pixel(sample["image"], 0.1, 0.1) == (10, 20, 30)


def test_a_photograph_loses_its_metadata(client, picture):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned
    exif[0x010E] = "taken at home"
    data = picture(64, 32, kind="JPEG", exif=exif)
    answered = client.post("/api/own", data, Content_Type="image/jpeg").json
    file = base64.b64decode(answered["png"])
    assert b"home" in data and b"home" not in file
    seen = resize_image(decode_image(data, "photograph"), 64)
    np.testing.assert_array_equal(decode_image(file, "png"), seen)


@pytest.mark.parametrize(
    "own, field",
    [
        ({"0": "%%"}, "own.0"),
        ({"0": 7}, "own.0"),
        ({"9": ""}, "own"),
        ({"00": ""}, "own"),
        ({"0": ""}, "own.0"),
        (["x"], "own"),
    ],
)
def test_own_pictures_that_are_none(client, graph, own, field):
    body = {"graph": graph, "draws": [{}], "own": own}
    client.post("/api/compose", body).refused(400, field)


def test_an_own_picture_of_another_size_is_refused_before_its_pixels(
    client, graph, picture, b64, monkeypatch
):
    decoded = []

    def noting(data, source):
        decoded.append(source)
        return decode_image(data, source)

    monkeypatch.setattr(reading, "decode_image", noting)
    body = {"graph": graph, "draws": [{}], "own": {"0": b64(picture(5000, 5000))}}
    assert "64x64" in client.post("/api/compose", body).refused(400, "own.0")
    assert not decoded
    body["own"]["0"] = b64(picture(64, 64))
    assert client.post("/api/compose", body).status == 200
    assert decoded == ["own.0"]


def test_an_object_has_one_patch(client, graph, picture, b64):
    graph["patches"][1] = 200
    body = {"graph": graph, "draws": [{}], "own": {"1": b64(picture(64, 64))}}
    assert "send one" in client.post("/api/compose", body).refused(400, "own.1")


def test_candidates_come_nearest_first_and_know_the_others(client, graph):
    body = {"graph": graph, "position": 1}
    alone = client.post("/api/candidates", body).json["candidates"]
    assert len(alone) == K and {item["category"] for item in alone} == {"tree"}
    distances = [item["distance"] for item in alone]
    assert distances == sorted(distances)
    assert {item["group_distance"] for item in alone} == {None}
    assert set(alone[0]) >= {"id", "licence", "code", "url", "source", "image_id", "box"}
    graph["patches"] = [None, 200, 80, None]
    together = client.post("/api/candidates", body | {"graph": graph}).json["candidates"]
    assert [item["id"] for item in together] == [item["id"] for item in alone]
    assert all(item["group_distance"] >= 0 for item in together)
    graph["patches"] = [None, 201, 80, None]  # its own patch does not count
    assert client.post("/api/candidates", body | {"graph": graph}).json["candidates"] == together
    graph["patches"][2] = 81
    assert client.post("/api/candidates", body | {"graph": graph}).json["candidates"] != together


def test_licences_filter_candidates_and_spare_the_object_itself(client, graph):
    codes = ["BY", "public-domain"]
    body = {"graph": graph, "position": 1, "licences": codes}
    graph["patches"][1] = next(i for i in TREES if i % 4 == 2)  # BY-NC
    found = client.post("/api/candidates", body).json["candidates"]
    assert {item["code"] for item in found} == set(codes)
    message = client.post(
        "/api/compose", {"graph": graph, "draws": [{}], "licences": codes}
    ).refused(400, "graph.patches[1]")
    assert "BY-NC" in message and "--" not in message


def test_a_category_without_patches_gets_others(client, graph):
    graph["objects"][1] = "pine"
    found = client.post("/api/candidates", {"graph": graph, "position": 1}).json["candidates"]
    assert len(found) == K and "pine" not in {item["category"] for item in found}
    (sample,) = compose(client, graph)
    assert sample["objects"][1]["category_found"] is False


@pytest.mark.parametrize("position", [-1, 4, 1.5, "1", None, True, 10**30])
def test_positions_that_are_none(client, graph, position):
    body = {"graph": graph, "position": position}
    client.post("/api/candidates", body).refused(400, "position")


def test_patches_of_a_named_model_are_pictures_for_ever(client):
    model = client.get("/api/model").json["id"]
    reply = client.get(f"/api/versions/1/patches/200.png?model={model}")
    assert reply.body == crop_png(200) and reply.headers["Content-Type"] == "image/png"
    assert "immutable" in reply.headers["Cache-Control"]
    # A version's number comes again: in another model's folder, and after the newest is deleted.
    reply = client.get("/api/versions/1/patches/200.png")
    assert reply.body == crop_png(200) and reply.headers["Cache-Control"] == "no-store"


def test_what_is_meant_for_another_model_of_the_same_number_is_refused(client, stub, graph):
    model = client.get("/api/model").json["id"]
    bodies = {
        "layout": {"graph": graph},
        "compose": {"graph": graph, "draws": [{}]},
        "candidates": {"graph": graph, "position": 0},
        "open": {"document": graph},
        "export": {"graph": graph},
    }
    paths = [
        f"/api/versions/1/patches/7.png?model={model}",
        f"/api/versions/1/patches/7/neighbours?model={model}&licences=BY",
    ]
    for name, body in bodies.items():
        body["model"] = model
        assert client.post(f"/api/{name}", body).status == 200
        client.post(f"/api/{name}", {**body, "model": 7}).refused(404)
    assert [client.get(path).status for path in paths] == [200, 200]
    before = len(stub.engine.calls)
    stub.engine.swap(stub_version(1, bank="c" * 64))  # as by another --model, at the same port
    assert client.get("/api/model").json["id"] != model
    for name, body in bodies.items():
        assert "of another model" in client.post(f"/api/{name}", body).refused(404)
        assert client.post(f"/api/{name}", {**body, "model": None}).status == 200
    for path in paths:
        client.get(path).refused(404)
    client.get("/api/versions/1/patches/7.png")
    patches = [call for call in stub.engine.calls[before:] if call[1] == PATCHES]
    assert len(patches) == 1  # not the picture of the model before, which was kept


def test_many_thumbnails_take_one_place_in_the_queue(client, stub):
    stub.engine.delay_s = 0.02
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        numbers = [i % 60 for i in range(120)]
        files = list(pool.map(lambda i: client.get(f"/api/versions/1/patches/{i}.png"), numbers))
    assert [reply.body for reply in files] == [crop_png(i) for i in numbers]
    assert stub.engine.most_running == 1
    assert len(stub.engine.calls) < 30  # runs for 60 pictures
    before = len(stub.engine.calls)
    client.get("/api/versions/1/patches/7.png")
    assert len(stub.engine.calls) == before  # it was kept


def test_a_thumbnail_waits_for_room(client, stub):
    stub.engine.overloaded = True
    threading.Timer(0.3, lambda: setattr(stub.engine, "overloaded", False)).start()
    assert client.get("/api/versions/1/patches/7.png").body == crop_png(7)


def test_neighbours_are_of_the_category_first(client):
    found = client.get("/api/versions/1/patches/200/neighbours").json["neighbours"]
    assert 200 not in [item["id"] for item in found] and len(found) == K
    assert {item["category"] for item in found} == {"tree"}
    assert "group_distance" not in found[0]
    few = client.get("/api/versions/1/patches/0/neighbours?licences=BY,BY-SA").json["neighbours"]
    assert {item["code"] for item in few} == {"BY", "BY-SA"}
    client.get("/api/versions/1/patches/0/neighbours?licences=NO").refused(400, "licences")


@pytest.mark.parametrize(
    "path",
    [
        "/api/versions/2/patches/0.png",
        "/api/versions/1/patches/9999.png",
        "/api/versions/1/patches/-1.png",
        "/api/versions/1/patches/01.png",
        "/api/versions/x/patches/0.png",
        f"/api/versions/{10**30}/patches/0.png",
        "/api/versions/1/patches/%D9%A3.png",  # a digit, elsewhere
        "/api/versions/1/patches/0",
        "/api/versions/1/patches/0.png/",
        "/api/nothing",
    ],
)
def test_paths_that_are_none(client, path):
    client.get(path).refused(404)


def test_earlier_contracts_tell_no_alternatives(serving, connect, graph):
    serve, engine, version = serving
    with serve(engine(version(contract=4))) as stub:
        client = connect(stub.port)
        model = client.get("/api/model").json
        assert model["has_candidates"] is False and model["candidates"] == 0
        assert model["scale"] is None
        refused = client.post("/api/candidates", {"graph": graph, "position": 0}).refused(501)
        assert "export it again" in refused
        client.get("/api/versions/1/patches/0.png").refused(501)
        client.get("/api/versions/1/patches/0/neighbours").refused(501)
        assert compose(client, graph)
        assert client.post("/api/layout", {"graph": graph}).json["boxes"]
    with serve(engine(version(contract=3))) as stub:
        (sample,) = compose(connect(stub.port), graph, {"repeats": False})
        assert sample["repeats_allowed"] is True  # as that model did


def test_a_full_queue_asks_for_patience(client, stub, graph):
    stub.engine.overloaded = True
    reply = client.post("/api/compose", {"graph": graph, "draws": [{}]})
    reply.refused(503)
    assert int(reply.headers["Retry-After"]) >= 1
    assert client.get("/api/model").status == 200


def test_the_page_is_told_of_another_version(client, stub, graph):
    assert client.get("/api/model").json["version"] == 1
    stub.engine.swap()
    body = {"graph": graph}
    assert client.post("/api/layout", body).json["version"] == 2
    assert client.post("/api/layout", body | {"version": 2}).json["version"] == 2
    # Ids of version 1 would mean other patches now.
    assert "not served" in client.post("/api/layout", body | {"version": 1}).refused(404)
    client.get("/api/versions/1/patches/0.png").refused(404)


@pytest.mark.parametrize(
    "change, field",
    [
        ({"objects": ["sky", "zebra", "sky", "sky"]}, "graph.objects[1]"),
        ({"objects": []}, "graph.objects"),
        ({"objects": ["__image__", "sky", "tree", "tree"]}, "graph.objects"),
        ({"objects": ["sky"] * 9, "boxes": None, "patches": None}, "graph"),
        ({"relationships": [[0, "beside", 1]]}, "graph.relationships"),
        ({"relationships": [[0, "above", 9]]}, "graph.relationships[0]"),
        ({"boxes": [None, [0.5, 0, 0.4, 1], None, None]}, "graph.boxes[1]"),
        ({"boxes": [None]}, "graph.boxes"),
        ({"patches": [None, "tree.png", None, None]}, "graph.patches[1]"),
        ({"patches": [None, "7", None, None]}, "graph.patches[1]"),
        ({"patches": [None, 10**6, None, None]}, "graph.patches[1]"),
        ({"patches": [None, -3, None, None]}, "graph.patches[1]"),
        ({"note": "x" * 70_000}, "graph"),
    ],
)
@pytest.mark.parametrize("route", ["compose", "export"])
def test_graphs_that_are_refused_by_field(client, graph, change, field, route):
    body = {"graph": graph | change} | ({"draws": [{}]} if route == "compose" else {})
    client.post(f"/api/{route}", body).refused(400, field)


@pytest.mark.parametrize(
    "draw, field",
    [
        ({"mode": "best"}, "draws[0].mode"),
        ({"mode": 3}, "draws[0].mode"),
        ({"seed": -1}, "draws[0].seed"),
        ({"seed": 2**31}, "draws[0].seed"),
        ({"seed": 1.5}, "draws[0].seed"),
        ({"seed": 10**400}, "draws[0].seed"),
        ({"temperature": 0}, "draws[0].temperature"),
        ({"temperature": "1"}, "draws[0].temperature"),
        ({"temperature": 10**400}, "draws[0].temperature"),
        ({"repeats": 1}, "draws[0].repeats"),
        ({"sedd": 1}, "draws[0]"),
        (7, "draws[0]"),
    ],
)
def test_draws_that_are_none(client, graph, draw, field):
    client.post("/api/compose", {"graph": graph, "draws": [draw]}).refused(400, field)


@pytest.mark.parametrize("draws", [[], [{}] * 9, {}, None])
def test_1_to_8_draws(client, graph, draws):
    client.post("/api/compose", {"graph": graph, "draws": draws}).refused(400, "draws")
    assert len(compose(client, graph, *[{"seed": i} for i in range(8)])) == 8


@pytest.mark.parametrize("licences", [[], ["NO"], "BY", [1], ["built-in"], {}])
def test_licences_that_are_none(client, graph, licences):
    body = {"graph": graph, "draws": [{}], "licences": licences}
    client.post("/api/compose", body).refused(400, "licences")


def test_keys_are_exact(client, graph):
    client.post("/api/layout", {"graph": graph, "extra": 1}).refused(400)
    client.post("/api/layout", {}).refused(400, "graph")
    client.post("/api/compose", {"graph": graph, "draws": [{}], "image": 1}).refused(400, "image")
    client.post("/api/layout", {"graph": graph, "version": "1"}).refused(400, "version")
