"""`rgan prepare` as the command runs it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from rgan_tf.cli import main as rgan
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.spread import Engine
from training.commands import prepare

_THREADS = "direct_running_mode=multi_threading"


class FlatBackbone:
    name = "mobilenet_v2"
    feature_size = 3

    def features(self, images):
        return np.asarray(images, np.float32).mean(axis=(1, 2)) / 255


@pytest.fixture(autouse=True)
def no_weights_needed(monkeypatch):
    monkeypatch.setattr("rgan_tf.data.prepare.load_backbone", lambda name, folder: FlatBackbone())


def parse(*words):
    parser = argparse.ArgumentParser()
    prepare.add_arguments(parser)
    return parser.parse_args([str(word) for word in words])


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A drawn world of 20 images and what the command said about it."""
    out = tmp_path_factory.mktemp("prepare") / "world"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rgan_tf.data.prepare.load_backbone", lambda name, folder: FlatBackbone())
        words = ("procedural", "--images", 20, "--size", 32, "--seed", 3, "--out", out)
        result = prepare.main(parse(*words))
    return out, result


def test_the_procedural_world_becomes_a_data_folder(world):
    out, result = world
    assert result["data"] == str(out)
    assert result["images"] == {"train": 16, "val": 2, "test": 2}
    data = PreparedData.open(out)
    data.verify()
    assert data.manifest["dataset"] == "procedural"
    assert data.image_size == 32
    assert result["patches"]["train"] == len(data.bank)
    assert all(data.bank.styles)  # the hidden answer is there for evaluation
    assert (out / "coco" / "annotations" / "instances_train2017.json").is_file()
    json.dumps(result)
    assert [path.name for path in out.parent.iterdir()] == ["world"]


def test_its_coco_folder_takes_the_same_road(world, tmp_path):
    out, _ = world
    result = prepare.main(
        parse("coco", "--root", out / "coco", "--size", 32, "--seed", 3, "--out", tmp_path / "data")
    )
    ours, theirs = PreparedData.open(tmp_path / "data"), PreparedData.open(out)
    assert result["dataset"] == "coco"
    assert ours.manifest["files"] == theirs.manifest["files"]
    limited = prepare.main(
        parse("coco", "--root", out / "coco", "--out", tmp_path / "few", "--limit", 1)
    )
    assert limited["images"] == {"train": 1, "val": 1, "test": 1}
    assert limited["image_size"] == 128


def test_the_command_reports_one_json_line(world, tmp_path, capfd):
    out, _ = world
    words = ["prepare", "coco", "--root", str(out / "coco"), "--out", str(tmp_path / "a")]
    assert rgan([*words, "--limit", "2"]) == 0
    captured = capfd.readouterr()
    assert json.loads(captured.out)["images"]["train"] == 2
    assert "images: 6/6" in captured.err


def test_options_out_of_range(tmp_path):
    base = ("coco", "--root", tmp_path, "--out", tmp_path / "out")
    for option, value in (("--limit", 0), ("--seed", -1), ("--size", 4), ("--max-bad", 2)):
        with pytest.raises(BadInput, match=option):
            prepare.main(parse(*base, option, value))
    with pytest.raises(BadInput, match="--images"):
        prepare.main(parse("procedural", "--images", 0, "--out", tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_workers_are_processes_of_this_machine(monkeypatch, tmp_path):
    engines = []

    def noted(*args, engine, **more):
        engines.append(engine)
        raise BadInput("nothing is done here")

    def prepared(read, out, *, engine, **more):
        engines.append(engine)
        read(tmp_path)

    monkeypatch.setattr("rgan_tf.data.prepare.prepare_dataset", prepared)
    monkeypatch.setattr("training.datasets.draw_world", noted)
    words = ("procedural", "--out", tmp_path / "out")
    for more in ((), ("--workers", 3), ("--workers", 2, "--runner-option", _THREADS)):
        with pytest.raises(BadInput, match="nothing is done"):
            prepare.main(parse(*words, *more))
    three = Engine("DirectRunner", ("direct_num_workers=3",))
    two = Engine("DirectRunner", ("direct_num_workers=2", _THREADS))
    assert engines == [Engine(), Engine(), three, three, two, two]  # to prepare, and to draw
    for more, says in (
        (("--workers", 2, "--runner", "DaskRunner"), "--workers"),
        (("--workers", 0), "--workers"),
        (("--runner-option", "a=b"), "--runner-option"),
    ):
        with pytest.raises(BadInput, match=says):
            prepare.main(parse(*words, *more))


def lose_instances(root: Path):
    (root / "annotations" / "instances_val2017.json").unlink()


def break_json(root: Path):
    path = root / "annotations" / "panoptic_train2017.json"
    path.write_bytes(path.read_bytes()[:1000])


def lose_image(root: Path):
    min((root / "images" / "val2017").iterdir()).unlink()


def cut_image(root: Path):
    path = min((root / "images" / "train2017").iterdir())
    path.write_bytes(path.read_bytes()[:200])


@pytest.mark.parametrize(
    "damage, code, message",
    [
        (lose_instances, 2, "instances_val2017.json: No such file"),
        (break_json, 2, "panoptic_train2017.json: not JSON"),
        (lose_image, 2, "val2017.*No such file"),
        (cut_image, 4, "train2017.*damaged"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(world, tmp_path, capfd, damage, code, message):
    root = shutil.copytree(world[0] / "coco", tmp_path / "coco")
    damage(root)
    words = ["prepare", "coco", "--root", str(root), "--size", "32", "--out", str(tmp_path / "out")]
    assert rgan(words) == code
    captured = capfd.readouterr()
    assert captured.out == ""
    last = captured.err.splitlines()[-1]
    assert last.startswith("rgan prepare: ")
    assert re.search(message, last)
    assert "Traceback" not in captured.err
    assert [path.name for path in tmp_path.iterdir()] == ["coco"]


@pytest.mark.parametrize("damage", [lose_image, cut_image])
def test_a_bad_image_is_left_out_named_and_counted(world, tmp_path, damage):
    root = shutil.copytree(world[0] / "coco", tmp_path / "coco")
    damage(root)
    words = ("coco", "--root", root, "--size", 32, "--out", tmp_path / "out")
    with pytest.raises((BadInput, CorruptData), match="allows 0 such images, 1 were found"):
        prepare.main(parse(*words))
    result = prepare.main(parse(*words, "--max-bad", 0.1))
    assert result["bad_images"] == 1 and sum(result["images"].values()) == 19
    (line,) = result["first_bad_images"]
    assert re.search("No such file|damaged", line)


def test_the_result_says_what_was_left_out_and_why(world, tmp_path):
    root = shutil.copytree(world[0] / "coco", tmp_path / "coco")
    path = root / "annotations" / "instances_train2017.json"
    value = json.loads(path.read_text())
    value["annotations"][0]["bbox"] = None
    path.write_text(json.dumps(value))
    words = ("coco", "--root", root, "--size", 32, "--out", tmp_path / "out", "--min-objects", 1)
    result = prepare.main(parse(*words))
    reason = "object: its box cannot be read"
    assert result["skipped"]["train2017"][reason] == 1
    (line,) = result["skipped_first"]["train2017"][reason]
    assert line.startswith("instances_train2017.json annotations[0]: 'bbox' must be")
    manifest = PreparedData.open(tmp_path / "out").manifest
    assert manifest["skipped"] == result["skipped"]
    json.dumps(result)


def test_bad_paths_that_are_not_text_can_be_told(world, tmp_path):
    root = shutil.copytree(world[0] / "coco", tmp_path / os.fsdecode(b"a\xff"))
    lose_image(root)
    path = root / "annotations" / "instances_train2017.json"
    value = json.loads(path.read_text())
    value["images"][0]["id"] = "a"
    path.write_text(json.dumps(value))
    words = ("coco", "--root", root, "--size", 32, "--out", tmp_path / "out", "--max-bad", 0.1)
    entry, image = prepare.main(parse(*words))["first_bad_images"]
    assert "udcff" in entry and "udcff" not in image  # of an image its name tells which


def test_thresholds_and_their_defaults_are_in_the_help(capsys):
    for dataset, defaults in (
        ("coco", {"min-box-share": 0.02, "min-objects": 3, "max-objects": 8, "max-bad": 0}),
        (
            "vg",
            {
                "min-image-size": 200,
                "min-category-count": 2000,
                "min-predicate-count": 500,
                "min-object-size": 32,
                "min-objects": 3,
                "max-objects": 30,
                "min-relationships": 1,
                "max-relationships": 30,
                "max-bad": 0,
            },
        ),
    ):
        with pytest.raises(SystemExit):
            parse(dataset, "--help")
        text = " ".join(capsys.readouterr().out.split())
        for option, default in defaults.items():
            assert re.search(rf"--{option} \w+ [^()]*\({default}\)", text), option


@pytest.mark.parametrize(
    "words",
    [
        ("coco", "--min-objects", 0),
        ("coco", "--min-objects", 9),
        ("coco", "--min-box-share", 1),
        ("vg", "--min-image-size", 0),
        ("vg", "--min-category-count", 0),
        ("vg", "--min-relationships", 31),
    ],
)
def test_thresholds_that_are_none(tmp_path, words):
    dataset, option, value = words
    with pytest.raises(BadInput, match=option):
        prepare.main(parse(dataset, "--root", tmp_path, "--out", tmp_path / "out", option, value))


def test_visual_genome_files_are_asked_for(tmp_path):
    with pytest.raises(BadInput, match="object_alias.txt"):
        prepare.main(parse("vg", "--root", tmp_path, "--out", tmp_path / "out"))


@pytest.mark.parametrize(
    "stuff, floor",
    [
        ((), 60),
        pytest.param(("--allow-missing-stuff", "--limit", 90), 89, marks=pytest.mark.thorough),
    ],
)
def test_real_images(coco_root, tmp_path, stuff, floor):
    words = ("coco", "--root", coco_root, "--size", 32, "--out", tmp_path / "data", *stuff)
    result = prepare.main(parse(*words))
    assert result["images"]["train"] > floor
    PreparedData.open(tmp_path / "data").verify()
