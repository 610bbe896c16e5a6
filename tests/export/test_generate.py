"""`rgan generate`: files, repeatability, the user's own choices, bad input."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from export.commands import generate
from export.requests import Draw, read_draws
from export.signatures import NEAREST, SAMPLE
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.storage.image import encode_png, read_image
from tests.export.arguments import generate_arguments

GRAPH = {
    "objects": ["sky", "grass", "tree"],
    "relationships": [[0, "above", 1], [2, "above", 1]],
}


@pytest.fixture
def run(exported, loaded_once, write_graph, tmp_path):
    """Generates from a graph (JSON value) into a folder and returns the folder."""

    def call(
        graph=GRAPH,
        out="out",
        samples=2,
        seed=7,
        mode="sample",
        temperature=1.0,
        model=None,
        licence=None,
        **others,
    ):
        arguments = generate_arguments(
            write_graph(graph),
            model or exported.folder,
            tmp_path / out,
            samples=samples,
            seed=seed,
            mode=mode,
            temperature=temperature,
            licence=licence,
            **others,
        )
        call.result = generate.main(arguments)
        return tmp_path / out

    return call


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_writes_everything_and_the_same_bytes_again(run, exported):
    first = run()
    names = {"overview.png"}
    for number in (1, 2):
        name = f"sample-{number:04d}"
        names |= {f"{name}.png", f"{name}-layout.png", f"{name}-patches.png", f"{name}.json"}
    assert set(contents(first)) == names
    assert run.result["images"] == [str(first / f"sample-000{n}.png") for n in (1, 2)]
    assert contents(run(out="again")) == contents(first)
    assert read_image(first / "sample-0001.png").shape == (32, 32, 3)

    sample = json.loads((first / "sample-0002.json").read_text())
    assert sample["relationships"] == GRAPH["relationships"]
    assert (sample["mode"], sample["seed"], sample["temperature"]) == ("sample", 8, 1.0)
    for item, category in zip(sample["objects"], GRAPH["objects"], strict=True):
        x0, y0, x1, y1 = item["box"]
        assert item["category"] == category and not item["box_given"]
        assert 0 <= x0 < x1 <= 1 and 0 <= y0 < y1 <= 1
        patch = item["patch"]
        row = exported.model.provenance[patch["id"]]
        assert {key: patch[key] for key in row} == row
        assert patch["chosen_by"] == "model" and patch["distance"] >= 0
    assert sorted(item["patch"]["step"] for item in sample["objects"]) == [0, 1, 2]


def test_other_seeds_choose_other_patches_and_sample_i_has_seed_plus_i(run):
    def choices(folder, count):
        samples = [
            json.loads((folder / f"sample-{n:04d}.json").read_text()) for n in range(1, count + 1)
        ]
        return [[item["patch"]["id"] for item in sample["objects"]] for sample in samples]

    long = run(samples=6, seed=0)
    assert len({tuple(choice) for choice in choices(long, 6)}) > 1
    assert choices(run(out="tail", samples=3, seed=3), 3) == choices(long, 6)[3:]


@pytest.mark.parametrize("mode", ["deterministic", "nearest"])
def test_modes_without_a_draw_make_one_image_per_graph(run, mode):
    folder = run([GRAPH, {"objects": ["water"]}], samples=None, mode=mode)
    assert len(list(folder.glob("sample-*.json"))) == 2
    second = json.loads((folder / "sample-0002.json").read_text())
    assert second["graph"] == 1 and second["mode"] == mode
    assert second["seed"] is None and second["temperature"] is None
    again = run([GRAPH], out="alone", samples=None, mode=mode, seed=99)
    name = "sample-0001.png"
    assert (again / name).read_bytes() == (folder / name).read_bytes()


def test_boxes_and_patches_of_the_user(run, tmp_path, exported):
    pixels = np.zeros([40, 30, 3], np.uint8)
    pixels[..., 0] = 255
    (tmp_path / "red.png").write_bytes(encode_png(pixels))
    graph = {
        **GRAPH,
        "boxes": [None, [0.0, 0.5, 1.0, 0.875], None],
        "patches": [5, "red.png", None],
    }
    folder = run(graph, samples=1)
    sky, grass, tree = json.loads((folder / "sample-0001.json").read_text())["objects"]
    assert grass["box"] == [0.0, 0.5, 1.0, 0.875] and grass["box_given"]
    assert sky["patch"]["id"] == 5 and sky["patch"]["chosen_by"] == "user"
    assert sky["patch"]["url"] == exported.model.provenance[5]["url"]
    assert grass["patch"] == {
        "id": None,
        "path": "red.png",
        "file": "sample-0001-own-1.png",
        "chosen_by": "user",
        "step": None,
        "distance": None,
    }
    assert (read_image(folder / "sample-0001-own-1.png") == [255, 0, 0]).all()
    assert tree["patch"]["chosen_by"] == "model" and tree["patch"]["step"] == 0
    sheet = read_image(folder / "sample-0001-patches.png")
    assert (sheet == [255, 0, 0]).all(axis=-1).sum() > 90 * 90


BAD_GRAPHS = {
    "unknown object": ({"objects": ["trea"]}, "'tree'"),
    "unknown relation": ({**GRAPH, "relationships": [[0, "abov", 1]]}, "'above'"),
    "range": ({**GRAPH, "relationships": [[0, "above", 3]]}, r"position 3 must be in \[0, 3\)"),
    "negative": ({**GRAPH, "relationships": [[-1, "above", 1]]}, "position -1"),
    "inverted": ({**GRAPH, "boxes": [[0.5, 0, 0.2, 1], None, None]}, "x0 < x1"),
    "outside": ({**GRAPH, "boxes": [[0.5, 0, 1.2, 1], None, None]}, r"lie in \[0, 1\]"),
    "empty": ({"objects": []}, "objects is empty"),
    "too many": ({"objects": ["sky"] * 7}, "at most 6"),
    "patch id": ({**GRAPH, "patches": [None, 10**6, None]}, r"patches\[1\]: 1000000"),
    "no image": ({**GRAPH, "patches": ["gone.png", None, None]}, "gone.png"),
    "second graph": ([GRAPH, {"objects": ["trea"]}], "graph 1"),
}


@pytest.mark.parametrize(("graph", "message"), BAD_GRAPHS.values(), ids=BAD_GRAPHS)
def test_bad_graphs_are_refused_before_anything_is_written(run, tmp_path, graph, message):
    with pytest.raises(BadInput, match=message) as caught:
        run(graph)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["graph.json"]


def test_a_damaged_picture_is_corrupt_data(run, tmp_path):
    whole = encode_png(np.zeros([32, 32, 3], np.uint8))
    (tmp_path / "half.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CorruptData, match="half.png"):
        run({**GRAPH, "patches": ["half.png", None, None]})
    assert not (tmp_path / "out").exists()


@pytest.mark.thorough
def test_a_damaged_model_is_corrupt_data(run, tmp_path, exported):
    model = tmp_path / "model"
    shutil.copytree(exported.folder, model)
    data = model / "1" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    with pytest.raises(CorruptData, match="damaged"):
        run(model=model)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"samples": 0}, "--samples 0"),
        ({"seed": -1}, "--seed -1"),
        ({"seed": 2**31 - 1}, "--seed 2147483647"),
        ({"mode": "deterministic"}, "--samples 2: with --mode deterministic all are the same"),
        ({"mode": "nearest", "samples": 3}, "--samples 3: with --mode nearest"),
        ({"temperature": 0.0}, r"--temperature 0: must be in \(0, 100\]"),
        ({"temperature": -1.0}, "--temperature -1"),
        ({"temperature": 100.5}, "--temperature 100.5"),
        ({"temperature": float("nan")}, "--temperature nan"),
        ({"model": "nowhere"}, "no exported model"),
        ({"name": "mine"}, "--name: goes with --server"),
        ({"timeout_s": 3.0}, "--timeout-s: goes with --server"),
        ({"server": "ftp://127.0.0.1:21"}, "must be http://HOST:PORT or grpc://HOST:PORT"),
        ({"server": "http://127.0.0.1:1", "model": "nowhere"}, "no exported model"),
    ],
)
def test_bad_options_are_refused(run, options, message):
    with pytest.raises(BadInput, match=message):
        run(**options)


def test_a_folder_with_content_is_left_alone(run, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match="not empty"):
        run()
    assert (tmp_path / "out" / "letter.txt").read_text() == "dear"
    assert list((tmp_path / "out").iterdir()) == [tmp_path / "out" / "letter.txt"]


def test_the_largest_last_seed_and_temperature_are_allowed():
    draws = read_draws("sample", 2, 2**31 - 2, 100.0, usual=4)
    assert draws == [Draw(SAMPLE, 2**31 - 2, 100.0), Draw(SAMPLE, 2**31 - 1, 100.0)]


@pytest.mark.parametrize("temperature", [1e-50, 1e300, float("inf")])
def test_a_temperature_that_the_model_would_refuse_is_refused_before(temperature):
    """As float32, the model's type, the first is 0."""
    with pytest.raises(BadInput, match=r"--temperature .*: must be in \(0, 100\]"):
        read_draws("sample", 1, 0, temperature, usual=4)
    assert read_draws("sample", 1, 0, 1e-30, usual=4)[0].fields["temperature"] > 0


def test_draws_by_mode():
    assert [draw.seed for draw in read_draws("sample", None, 5, 2.0, usual=4)] == [5, 6, 7, 8]
    for samples in (None, 1):
        assert read_draws("nearest", samples, 5, 2.0, usual=4) == [Draw(mode=NEAREST)]


def test_the_temperature_reaches_the_model(run):
    """Of equal seeds, which one differs tells nothing; that the samples do not all agree does."""

    def choices(folder):
        samples = [json.loads(path.read_text()) for path in sorted(folder.glob("sample-*.json"))]
        assert {sample["temperature"] for sample in samples} == {temperature}
        return [[item["patch"]["id"] for item in sample["objects"]] for sample in samples]

    found = []
    for temperature, out in ((0.01, "cold"), (100.0, "hot")):
        found.append(choices(run(out=out, samples=8, seed=0, temperature=temperature)))
    assert found[0] != found[1]
