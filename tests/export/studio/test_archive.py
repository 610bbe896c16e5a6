"""The exported ZIP file, over a stub of the model; over a real one see test_real_model.py."""

from __future__ import annotations

import base64
import io
import json
import zipfile

import pytest

from export.sample_graph import Edit, parse_drawn_graph


@pytest.fixture
def body(graph, picture, b64):
    graph["patches"] = [141, None, 61, None]
    own = {"1": b64(picture(64, 64))}
    return {"graph": graph, "own": own, "draw": {"seed": 3}, "locks": [0, 1]}


def unzipped(reply) -> dict[str, bytes]:
    assert reply.status == 200, reply.body[:300]
    assert reply.headers["Content-Type"] == "application/zip"
    assert reply.headers["Content-Disposition"] == 'attachment; filename="scene.zip"'
    with zipfile.ZipFile(io.BytesIO(reply.body)) as archive:
        assert archive.testzip() is None
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_picture_graph_provenance_project_and_credits(client, body):
    files = unzipped(client.post("/api/export", body))
    assert list(files) == [
        *("image.png", "graph.json", "own-1.png", "sample.json", "project.json", "CREDITS.txt")
    ]
    draws = [body["draw"]]
    request = {"graph": body["graph"], "own": body["own"], "draws": draws}
    (sample,) = client.post("/api/compose", request).json["samples"]
    assert files["image.png"] == base64.b64decode(sample["image"])
    graph = json.loads(files["graph.json"])
    assert graph["patches"][:3] == [141, "own-1.png", 61] and isinstance(graph["patches"][3], int)
    assert graph["boxes"] == [item["box"] for item in sample["objects"]]
    described = json.loads(files["sample.json"])
    assert described["image"] == "image.png"
    chosen = [item["patch"]["chosen_by"] for item in described["objects"]]
    assert chosen == ["user", "user", "model", "model"]  # as locked
    assert described["objects"][1]["patch"]["file"] == "own-1.png"


def test_equal_requests_have_equal_bytes(client, body):
    first, again = (client.post("/api/export", body).body for _ in range(2))
    assert first == again
    body["draw"]["seed"] += 1
    assert client.post("/api/export", body).body != first


def test_the_sample_is_one_of_rgan_generate(client, body, tmp_path):
    files = unzipped(client.post("/api/export", body))
    (tmp_path / "own-1.png").write_bytes(files["own-1.png"])
    drawn = parse_drawn_graph(json.loads(files["sample.json"]), "it", Edit(keep=("1",)), tmp_path)
    assert drawn.fixed.patches[:2] == (141, "own-1.png")


def test_what_it_exports_it_opens(client, body):
    files = unzipped(client.post("/api/export", body))
    for name in ("project.json", "sample.json", "graph.json"):
        document = json.loads(files[name])
        reply = client.post("/api/open", {"document": document}).json
        assert reply["kept"]["0"] == 141 and len(reply["kept"]) == 3, name
        has_own = name == "project.json"
        assert bool(reply["own"]) is has_own and bool(reply["messages"]) is not has_own
        if has_own:
            request = {"graph": reply["graph"], "own": reply["own"], "draws": [reply["draw"]]}
            (sample,) = client.post("/api/compose", request).json["samples"]
            assert base64.b64decode(sample["image"]) == files["image.png"]


def test_credits_name_every_patch_and_the_strictest_licence_first(client, body):
    text = unzipped(client.post("/api/export", body))["CREDITS.txt"].decode()
    assert "tree:1\n  your own picture, own-1.png" in text
    assert "author: not recorded" in text and "https://pictures.example/" in text
    assert "patch 141: sky" in text and "patch 61: house" in text
    assert text.index("sky\n") < text.index("house\n")
    (line,) = [line for line in text.splitlines() if line.startswith("Licences of the whole")]
    codes = line.partition(": ")[2].split(", ")
    strict = ["BY-NC", "BY-SA", "BY", "public-domain"]
    assert codes == [code for code in strict if code in codes]


def test_scripts_and_line_ends_of_a_bank_stay_text(serving, connect, graph):
    serve, engine, version = serving
    with serve(engine(version(hostile=True))) as stub:
        client = connect(stub.port)
        reply = client.post("/api/candidates", {"graph": graph, "position": 1})
        assert reply.headers["Content-Type"].startswith("application/json")
        assert reply.json["candidates"][0]["code"] == "other"
        text = unzipped(client.post("/api/export", {"graph": graph}))["CREDITS.txt"].decode()
    assert "\nX: y" not in text and "<b>7</b> X: y" in text


def test_an_export_needs_but_a_graph(client, graph):
    assert len(unzipped(client.post("/api/export", {"graph": graph}))) == 5
    client.post("/api/export", {"graph": graph, "locks": [9]}).refused(400, "locks")
    client.post("/api/export", {"graph": graph, "draw": {"seed": -1}}).refused(400, "draw.seed")
    client.post("/api/export", {"graph": graph, "draw": []}).refused(400, "draw")
