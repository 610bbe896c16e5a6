"""A picture is changed object by object: what is kept is kept to the byte."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from export.commands import generate
from export.edits import MOST_DRAWS, answer_edit
from export.requests import Draw, Request
from export.sample_graph import Edit, object_labels, parse_drawn_graph, positions_of
from export.signatures import GENERATE, MAX_SEED, NEAREST
from rgan_tf.errors import BadInput
from rgan_tf.scene_graph import SceneGraph
from rgan_tf.storage.image import encode_png
from tests.export.arguments import generate_arguments

GRAPH = {
    "objects": ["sky", "bush", "grass", "bush"],
    "relationships": [[0, "above", 2], [1, "above", 2], [3, "right of", 1]],
}


@pytest.fixture
def draw(exported, tmp_path, monkeypatch):
    """Generates into a folder from a graph (JSON value or path) and returns the folder."""

    def endpoints(_):
        def answer(request, draw):
            fields = {**request.fields, **draw.fields}
            rows = {name: np.asarray(value)[np.newaxis] for name, value in fields.items()}
            reply = exported.signatures[request.endpoint](**rows)
            return {name: value.numpy()[0] for name, value in reply.items()}

        return answer

    monkeypatch.setattr("export.saved_model_loading.load_endpoints", endpoints)

    def call(graph, out, **options):
        if not hasattr(graph, "read_text"):
            path = tmp_path / f"{out}.json"
            path.write_text(json.dumps(graph))
            graph = path
        options = {"samples": 1, **options}
        arguments = generate_arguments(graph, exported.folder, tmp_path / out, **options)
        call.result = generate.main(arguments)
        return tmp_path / out

    return call


def sample(folder, number: int = 1):
    return json.loads((folder / f"sample-{number:04d}.json").read_text())


def patches(folder, number: int = 1) -> list[int]:
    return [item["patch"]["id"] for item in sample(folder, number)["objects"]]


def boxes(folder, number: int = 1) -> list[list[float]]:
    return [item["box"] for item in sample(folder, number)["objects"]]


def test_a_sample_is_the_graph_that_it_was_made_of(draw, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8)
    (tmp_path / "mine.png").write_bytes(encode_png(pixels))
    graph = {**GRAPH, "patches": [5, None, "mine.png", None]}
    graph["boxes"] = [None, [0.1, 0.2, 0.3, 0.9], None, None]
    first = draw(graph, "first", samples=2)
    (tmp_path / "mine.png").unlink()  # what a sample needs lies beside it
    moved = tmp_path / "elsewhere"
    shutil.copytree(first, moved)
    again = draw(moved / "sample-0002.json", "again", samples=2)
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {
        p.name: p.read_bytes() for p in first.iterdir()
    }
    own = sample(first)["objects"][2]["patch"]
    assert (own["path"], own["file"]) == ("mine.png", "sample-0001-own-2.png")


def test_all_kept_is_the_same_picture(draw):
    first = draw(GRAPH, "first", seed=3)
    kept = draw(first / "sample-0001.json", "kept", keep=["sky", "bush:1", "bush:2", "2"], seed=9)
    name = "sample-0001.png"
    assert (kept / name).read_bytes() == (first / name).read_bytes()
    assert sample(kept)["edit"] == {"kept": [0, 1, 2, 3], "redrawn": []}
    for before, after in zip(sample(first)["objects"], sample(kept)["objects"], strict=True):
        assert after["box"] == before["box"] and not after["box_given"]
        assert after["patch"]["chosen_by"] == "model" and after["patch"]["step"] is None


@pytest.mark.parametrize("names", [["bush:2"], ["3", "sky"], ["bush:1", "bush:2", "sky", "grass"]])
def test_what_is_redrawn_changes_and_nothing_else(draw, names):
    first = draw(GRAPH, "first", seed=3)
    old, places = patches(first), boxes(first)
    changed = positions_of(names, GRAPH["objects"], "")
    seen = set()
    redrawn = draw(first / "sample-0001.json", "redrawn", redraw=names, samples=6)
    for number in range(1, 7):
        new = patches(redrawn, number)
        assert boxes(redrawn, number) == places
        assert [i for i in range(4) if new[i] != old[i]] == sorted(changed)
        assert sample(redrawn, number)["edit"]["redrawn"] == sorted(changed)
        seen.add(tuple(new))
    assert len(seen) > 1
    again = draw(first / "sample-0001.json", "again", redraw=names, samples=6)
    assert (again / "sample-0006.png").read_bytes() == (redrawn / "sample-0006.png").read_bytes()


def test_what_is_not_kept_is_drawn_by_the_seed(draw):
    first = draw(GRAPH, "first", seed=3)
    kept = draw(first / "sample-0001.json", "kept", keep=["bush:2"], samples=8, seed=20)
    found = [patches(kept, number) for number in range(1, 9)]
    assert {choice[3] for choice in found} == {patches(first)[3]}
    assert len({choice[0] for choice in found}) > 1


def test_what_the_user_fixed_stays_his_through_edits(draw):
    graph = {**GRAPH, "patches": [5, None, None, None]}
    graph["boxes"] = [None, None, [0.0, 0.5, 1.0, 1.0], None]
    first = draw(graph, "first")
    second = draw(first / "sample-0001.json", "second", redraw=["bush:1"])
    third = draw(second / "sample-0001.json", "third", keep=["bush:2"], samples=3)
    for folder in (second, third):
        sky, _, grass, bush = sample(folder)["objects"]
        assert (sky["patch"]["id"], sky["patch"]["chosen_by"]) == (5, "user")
        assert grass["box"] == [0.0, 0.5, 1.0, 1.0] and grass["box_given"]
        assert not bush["box_given"] and bush["patch"]["chosen_by"] == "model"
    assert len({patches(third, n)[1] for n in (1, 2, 3)} | {patches(second)[1]}) > 1
    # An object that is redrawn gives the user's patch up.
    sky = sample(draw(first / "sample-0001.json", "fourth", redraw=["sky"]))["objects"][0]
    assert sky["patch"]["id"] != 5 and sky["patch"]["chosen_by"] == "model"


def test_an_image_of_ones_own_is_kept_and_can_be_redrawn(draw, tmp_path):
    pixels = np.random.default_rng(1).integers(0, 256, (40, 30, 3), np.uint8)
    (tmp_path / "mine.png").write_bytes(encode_png(pixels))
    first = draw({**GRAPH, "patches": [None, "mine.png", None, None]}, "first")
    second = draw(first / "sample-0001.json", "second", redraw=["sky"])
    own = sample(second)["objects"][1]["patch"]
    assert own["id"] is None and own["path"] == "mine.png" and own["chosen_by"] == "user"
    assert (second / own["file"]).read_bytes() == (first / own["file"]).read_bytes()
    # The JSON alone, put where the first graph was, as over a watched file.
    alone = draw({**sample(first), "redraw": ["sky"]}, "alone")
    assert (alone / "sample-0001.png").read_bytes() == (second / "sample-0001.png").read_bytes()
    third = draw(second / "sample-0001.json", "third", redraw=["bush:1"])
    patch = sample(third)["objects"][1]["patch"]
    assert patch["id"] is not None and patch["chosen_by"] == "model"


def test_the_json_itself_may_say_what_is_redrawn(draw):
    first = draw(GRAPH, "first", seed=3)
    changed = {**sample(first), "redraw": ["bush:2"]}
    new = patches(draw(changed, "second"))
    assert [a == b for a, b in zip(new, patches(first), strict=True)] == [True] * 3 + [False]
    by_position = patches(draw({**sample(first), "redraw": [3]}, "third"))
    assert by_position == new
    for value in ("bush:2", [None], {"bush": 1}):
        with pytest.raises(BadInput, match="redraw: expected a list of objects"):
            draw({**sample(first), "redraw": value}, "wrong")


@pytest.mark.parametrize("written", [5, 5.0, "5"])
def test_the_id_of_a_patch_is_a_number_however_it_is_written(written):
    """Else a patch that is redrawn is not recognised, and comes again without a word."""
    old = {"objects": [{"category": "sky", "patch": {"id": written, "source": "a.png"}}]}
    drawn = parse_drawn_graph(old, "old.json", Edit(redraw=("sky",)), Path())
    assert drawn.replaced == {0: 5} and isinstance(drawn.replaced[0], int)
    assert drawn.patches == ({"id": 5, "source": "a.png"},)
    assert parse_drawn_graph(old, "old.json", Edit(keep=("sky",)), Path()).fixed.patches == (5,)


def test_a_json_that_keeps_and_redraws_is_named():
    both = {"objects": [{"category": "sky"}], "keep": ["sky"], "redraw": ["sky"]}
    with pytest.raises(BadInput, match="^both.json: --keep redraws all others and --redraw keeps"):
        parse_drawn_graph(both, "both.json", Edit(), Path())


@pytest.mark.parametrize(
    ("name", "position"),
    [("sky", 0), ("bush:1", 1), ("bush:2", 3), ("0", 0), ("3", 3), ("sky:1", 0), (" sky ", 0)],
)
def test_names_of_objects(name, position):
    assert positions_of([name], GRAPH["objects"], "") == [position]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("bush", "2 objects are bush; name one or more of bush:1, bush:2"),
        ("bush:3", "did you mean 'bush:2' or 'bush:1'"),
        ("bussh", "did you mean 'bush:"),
        ("zebu", "they are sky, bush:1, grass, bush:2; or name one by its position, 0 to 3"),
        ("4", "no such object"),
        ("-1", "no such object"),
        ("9" * 5000, "no such object"),
        ("0" * 9 + "9", "no such object"),
        ("0" * 9 + "9" * 5000, "no such object"),
        ("", "no such object"),
    ],
)
def test_names_that_are_not_an_object(name, reason):
    with pytest.raises(BadInput) as caught:
        positions_of([name], GRAPH["objects"], "g.json: --keep")
    assert str(caught.value).startswith("g.json: --keep ") and reason in str(caught.value)
    assert len(str(caught.value)) < 300


def test_labels_of_strange_categories_still_name_one_object_each():
    objects = ("3", "bush", "bush", "bush:2")
    assert object_labels(objects) == ["3", "bush:1", "bush:2", "bush:2"]
    assert positions_of(["3", "bush:1"], objects, "") == [0, 1]
    with pytest.raises(BadInput):
        positions_of(["bush:2"], objects, "")
    assert positions_of(["2"], objects, "") == [2]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"keep": ["sky"], "redraw": ["grass"]}, "--keep redraws all others"),
        (
            {"redraw": ["sky"], "mode": "deterministic", "samples": None},
            "--redraw: redraws patches",
        ),
        ({"redraw": ["bush"]}, "sample-0001.json: --redraw bush: 2 objects are bush"),
        ({"keep": ["cow"]}, "sample-0001.json: --keep cow: no such object"),
    ],
)
def test_edits_that_cannot_be_made(draw, tmp_path, options, reason):
    first = draw(GRAPH, "first")
    with pytest.raises(BadInput, match=reason):
        draw(first / "sample-0001.json", "out", **options)
    assert not (tmp_path / "out").exists()


def test_only_a_picture_that_is_there_can_be_changed(draw):
    with pytest.raises(BadInput, match="name the JSON that rgan generate wrote next to it"):
        draw(GRAPH, "out", keep=["sky"])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: s["objects"].append("cow"), r"objects\[4\]: expected an object as rgan gen"),
        (lambda s: s["objects"][1].update(patch=3), r"objects\[1\]: patch: expected an object"),
        (lambda s: s["objects"][1].update(category=3), r"objects\[1\]: expected a name"),
        (lambda s: s["objects"][1].update(box=[0, 0, 2, 1]), r"boxes\[1\].*must lie in"),
        (lambda s: s["objects"][2]["patch"].update(id="x" * 9), "xxx.*No such file"),
        (lambda s: s["objects"][2]["patch"].update(id=10**6), "is another one in"),
        (lambda s: s["objects"][2]["patch"].update(id=str(10**6)), "is another one in"),
        (lambda s: s["objects"][2]["patch"].update(source="other.png"), "is another one in"),
        (lambda s: s.update(relationships=[[0, "abov", 1]]), "did you mean 'above'.*rgan vocab"),
    ],
)
def test_a_sample_that_was_changed_by_hand_is_checked(draw, change, reason):
    value = sample(draw(GRAPH, "first"))
    change(value)
    with pytest.raises(BadInput, match=reason) as caught:
        draw(value, "out", keep=["grass"])
    assert "\n" not in str(caught.value)


def test_an_object_that_is_added_by_hand_is_drawn(draw):
    value = sample(draw(GRAPH, "first"))
    value["objects"].append({"category": "grass"})
    value["relationships"].append([4, "below", 0])
    kept = draw(value, "out", keep=["sky", "bush:1", "bush:2", "grass:1"])
    assert patches(kept)[:4] == [item["patch"]["id"] for item in value["objects"][:4]]
    assert patches(kept)[4] is not None


def test_the_only_patch_of_a_category_is_not_drawn_for(draw, exported, monkeypatch):
    first = draw({"objects": ["sky", "grass"]}, "first")
    old = patches(first)[0]
    rows = [dict(row) for row in exported.model.provenance]
    for number, row in enumerate(rows):
        if row["category"] == "sky" and number != old:
            row["category"] = "bush"
    monkeypatch.setattr("export.model_folder.read_provenance", lambda folder: rows)
    with pytest.raises(BadInput, match=f"--redraw sky: patch {old} is the only one of sky"):
        draw(first / "sample-0001.json", "out", redraw=["sky"])


def test_drawing_ends_where_the_old_patch_comes_every_time():
    asked = []

    def answer(request, draw):
        asked.append((draw.seed, request.fields["patch_ids"].tolist()))
        # The first object changes with the second try, the other never does.
        return {"patch_ids": np.array([8 if len(asked) > 1 else 7, 9], np.int32)}

    graph = SceneGraph(("sky", "bush"), (), (None, None), (None, None))
    fields = {"patch_ids": np.array([-1, -1], np.int32)}
    request = Request(graph, 0, GENERATE, fields, replaced={0: 7, 1: 9})
    with pytest.raises(BadInput, match=r"64 draws gave the old patch again for bush \(patch 9\)"):
        answer_edit(answer, request, Draw(seed=MAX_SEED - 1), 3)
    assert len(asked) == MOST_DRAWS
    assert [seed for seed, _ in asked[:3]] == [MAX_SEED - 1, 1, 4]
    assert asked[1][1] == [-1, -1] and asked[2][1] == [8, -1]  # what has changed stays
    assert fields["patch_ids"].tolist() == [-1, -1]
    # A mode that draws nothing is not asked 64 times; a rival has a seed and no mode.
    with pytest.raises(BadInput, match="redraw: redraws patches, which mode nearest does not"):
        answer_edit(answer, request, Draw(mode=NEAREST), 1)
    assert len(asked) == MOST_DRAWS
    with pytest.raises(BadInput, match="64 draws"):
        answer_edit(answer, request, Draw(mode=None), 1)


def test_contradictions_are_told_and_drawn_all_the_same(draw, caplog):
    rows = [[0, "left of", 2], [0, "right of", 2]]
    folder = draw({"objects": ["sky", "bush", "grass"], "relationships": rows}, "out")
    told = {"graph": 0, "relationships": rows, "boxes": False}
    assert draw.result["contradictions"] == [told]
    assert "contradiction: sky (0) left of grass (2), sky (0) right of grass (2)" in caplog.text
    assert sample(folder)["relationships"] == rows
    draw(GRAPH, "sound")
    assert draw.result["contradictions"] == []
