"""`rgan bench full-size`: its data, what it measures, and that it resumes where it was."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import yaml

from rgan_tf.annotations.coco import read_coco_dataset
from rgan_tf.annotations.masks import segmentation_centroid
from rgan_tf.annotations.visual_genome import GenomeFilter, read_visual_genome_dataset
from rgan_tf.errors import BadInput
from training.bench.full_size import command, numbers, steps
from training.bench.full_size.coco import write_coco
from training.bench.full_size.genome import minimum_counts, write_genome
from training.bench.full_size.numbers import COCO, GENOME, counts_with_sum
from training.bench.full_size.process import Usage, run_watched
from training.bench.full_size.run_lengths import compress, draw_mask, run_lengths
from training.bench.full_size.steps import Place, Settings, Step
from training.bench.full_size.table import markdown

SCALE = 0.001
MB = 2**20


@pytest.fixture(scope="module")
def coco(made_once) -> Path:
    return (
        made_once("full_size_coco", lambda folder: write_coco(folder / "root", SCALE, 0)) / "root"
    )


@pytest.fixture(scope="module")
def genome(made_once) -> Path:
    return (
        made_once("full_size_vg", lambda folder: write_genome(folder / "root", SCALE, 0)) / "root"
    )


def genome_filter(scale: float) -> GenomeFilter:
    least = minimum_counts(scale)
    return GenomeFilter(
        min_category_count=least["--min-category-count"],
        min_predicate_count=least["--min-predicate-count"],
    )


def test_the_sizes_are_those_that_are_known():
    assert (COCO["train2017"].scenes, COCO["train2017"].patches) == (74_121, 411_682)
    assert (GENOME["train"].scenes, GENOME["train"].patches) == (62_565, 606_319)
    assert sum(size.images for size in GENOME.values()) == 108_077
    assert minimum_counts(1.0) == {"--min-category-count": 2000, "--min-predicate-count": 500}


def test_the_filter_keeps_exactly_the_scenes_and_patches_of_coco(coco):
    splits = read_coco_dataset(coco).splits
    train, val = (COCO[part].times(SCALE) for part in ("train2017", "val2017"))
    assert len(splits["train"]) == train.scenes == 74
    assert sum(len(image.objects) for image in splits["train"]) == train.patches
    assert len(splits["val"]) + len(splits["test"]) == val.scenes
    assert len(list((coco / "images" / "train2017").iterdir())) == train.images == 118
    assert all(image.path.is_file() and image.licence for image in splits["val"])


def test_the_filter_keeps_exactly_the_scenes_and_patches_of_visual_genome(genome):
    dataset = read_visual_genome_dataset(genome, keep=genome_filter(SCALE))
    for split, full in GENOME.items():
        images = dataset.splits[split]
        assert len(images) == full.times(SCALE).scenes
        assert sum(len(image.objects) for image in images) == full.times(SCALE).patches
        assert all(image.relationships and image.path.is_file() for image in images)


def test_files_have_the_real_size(coco, genome):
    sizes = {
        path.name: path.stat().st_size / SCALE / 1e6
        for path in (*(coco / "annotations").iterdir(), *genome.glob("*.json"))
    }
    assert sizes["instances_train2017.json"] == pytest.approx(448, rel=0.1)
    assert sizes["objects.json"] == pytest.approx(414, rel=0.2)
    assert sizes["relationships.json"] == pytest.approx(710, rel=0.2)


def test_the_same_seed_writes_the_same(genome, tmp_path):
    write_genome(tmp_path / "again", SCALE, 0)
    write_genome(tmp_path / "other", SCALE, 1)
    texts = [(root / "objects.json").read_bytes() for root in (genome, tmp_path / "again")]
    assert texts[0] == texts[1] != (tmp_path / "other" / "objects.json").read_bytes()


def test_readers_hold_less_than_the_files(tmp_path):
    """As Python objects the annotations would take seven times as much."""
    scale = 0.004
    sizes = write_genome(tmp_path / "vg", scale, 0)
    read = sum(sizes[name] for name in ("objects.json", "relationships.json"))
    tracemalloc.start()
    try:
        read_visual_genome_dataset(tmp_path / "vg", keep=genome_filter(scale))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read > 4 * MB
    assert peak < 1.2 * read


def test_masks_are_as_coco_writes_them():
    rng = np.random.default_rng(0)
    mask = rng.random([7, 9]) > 0.5
    rows, columns = np.nonzero(mask)
    expected = ((rows.mean() + 0.5) / 7, (columns.mean() + 0.5) / 9)
    found = {"size": [7, 9], "counts": compress(run_lengths(mask))}
    assert segmentation_centroid(found, (0, 0, 1, 1), 9, 7) == pytest.approx(expected)
    drawn = draw_mask(rng, 640, 480, 0.1, 0.1)
    assert drawn.box[2] * drawn.box[3] == pytest.approx(0.1 * 640 * 480, rel=0.02)
    y, x = segmentation_centroid(
        {"size": [480, 640], "counts": drawn.counts}, (0, 0, 1, 1), 640, 480
    )
    left, top, width, height = drawn.box
    assert left < 640 * x < left + width and top < 480 * y < top + height


def test_counts_have_their_sum():
    rng = np.random.default_rng(0)
    for size, total in ((5, 15), (5, 40), (100, 555), (100, 799)):
        counts = counts_with_sum(rng, size, total, 3, 8)
        assert counts.sum() == total and counts.min() >= 3 and counts.max() <= 8
    with pytest.raises(ValueError, match="cannot have the sum 41"):
        counts_with_sum(rng, 5, 41, 3, 8)
    assert len(numbers.names("thing", 80, 1.0)) == len(numbers.names("thing", 80, 0.01)) == 80


HOLDS = """
import subprocess, sys, time
block = bytearray(60 * 2**20)
if len(sys.argv) > 1:
    subprocess.run([sys.executable, "-S", "-c", sys.argv[1]], check=True)
time.sleep(0.6)
print("first")
print('{"a": 1}')
"""


def test_memory_of_a_command_and_its_children(tmp_path):
    (tmp_path / "log").write_text("")
    command = [sys.executable, "-S", "-c", HOLDS, HOLDS]
    usage, line = run_watched(command, folder=tmp_path, log=tmp_path / "log")
    assert line == '{"a": 1}'
    assert 60 <= usage.process_mb < 110
    assert 120 <= usage.memory_mb < 220
    assert usage.resident_mb >= usage.memory_mb
    assert 1.2 <= usage.seconds < 60 and usage.processor_seconds < usage.seconds


def test_a_command_that_fails_is_named_with_its_last_lines(tmp_path):
    command = [sys.executable, "-c", "raise SystemExit('no such thing')"]
    with pytest.raises(BadInput, match="exit code 1: no such thing; .*log has more"):
        run_watched(command, folder=tmp_path, log=tmp_path / "log")


WATCHES = """
import sys
from pathlib import Path
from training.bench.full_size.process import run_watched
folder = Path(sys.argv[1])
code = "import os, time; print(os.getpid(), flush=True); time.sleep(60)"
run_watched([sys.executable, "-S", "-c", code], folder=folder, log=folder / "log")
"""


def test_a_command_ends_when_its_watcher_is_killed(tmp_path):
    """Else it would go on for hours beside the next call's."""
    watcher = subprocess.Popen([sys.executable, "-c", WATCHES, str(tmp_path)])
    answer = tmp_path / "log.out"
    deadline = time.monotonic() + 60
    while not (answer.exists() and answer.read_text()):
        assert watcher.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    watcher.kill()
    watcher.wait()
    place = Path("/proc") / answer.read_text().strip() / "stat"
    while place.exists() and place.read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < deadline
        time.sleep(0.05)


SETTINGS = Settings(0.5, "tiny.yaml", (), "mobilenet_v2", 64, 2, (), 0)


@pytest.fixture
def done(monkeypatch) -> list[str]:
    """The steps that were done, in place of real ones; the second fails at first."""
    names: list[str] = []

    def act(place: Place, step: str):
        names.append(step)
        (place.folder / step).mkdir()
        (place.folder / step / "file").write_bytes(bytes(2 * MB))
        if names == ["first", "second"]:
            raise BadInput("failed")
        return Usage(seconds=1.5, memory_mb=1234), {"found": 7}

    monkeypatch.setattr(
        steps,
        "STEPS",
        {
            "first": Step(act, makes=("first",)),
            "second": Step(act, needs=("first",), makes=("second",)),
        },
    )
    return names


def test_what_was_done_stands_and_what_failed_begins_anew(done, tmp_path):
    place = Place(tmp_path, "vg", SETTINGS)
    with pytest.raises(BadInput, match="--steps second: first of vg comes before it"):
        place.run("second")
    first = place.run("first")
    assert first["folder_mb"] == 2 and first["answer"] == {"found": 7}
    with pytest.raises(BadInput, match="failed"):
        place.run("second")
    assert place.result("second") is None
    again = Place(tmp_path, "vg", SETTINGS)
    assert again.run("first") == first
    assert again.run("second")["step"] == "second"
    assert done == ["first", "second", "second"]
    assert "| vg | first | 1.5 | 0.0 | 1,234 |" in markdown([first])


def test_the_table_has_what_earlier_calls_found(done, rgan, tmp_path, monkeypatch):
    monkeypatch.setattr(command, "_STEPS", tuple(steps.STEPS))
    words = ["bench", "full-size", "--out", tmp_path, "--steps", "first", "--data-sets"]
    assert rgan(*words, "coco", "--scale", 0.1).code == 0
    assert rgan(*words, "vg", "--scale", 0.2).code == 0
    found = json.loads((tmp_path / "results.json").read_text())
    assert [result["data"] for result in found["results"]] == ["coco", "vg"]
    assert {kind: own["scale"] for kind, own in found["settings"].items()} == {
        "coco": 0.1,
        "vg": 0.2,
    }
    assert len((tmp_path / "results.md").read_text().splitlines()) == 4
    assert done == ["first", "first"]


def test_a_folder_of_other_settings_is_refused(tmp_path):
    Place(tmp_path, "coco", SETTINGS)
    with pytest.raises(BadInput, match="was begun with other options"):
        Place(tmp_path, "coco", Settings(1.0, "tiny.yaml", (), "mobilenet_v2", 64, 2, (), 0))


@pytest.mark.parametrize(
    "words, reason",
    [
        (("--scale", 0), "--scale 0: must be in (0, 1]"),
        (("--scale", 2), "--scale 2: must be in (0, 1]"),
        (("--train-steps", 0), "--train-steps 0: must be at least 1"),
        (("--eval-words", "--split 'test"), "--eval-words --split 'test: No closing quotation"),
        (("--config", "street_46"), "no shipped config has this name"),
        (("--set", "training.batch_size=0"), "training.batch_size must be above 0"),
        (("--size", 32), "--size 32: must be in [64, 1024]"),
        (("--size", 2048), "--size 2048: must be in [64, 1024]"),
        (("--backbone", "resnet50"), "--backbone resnet50: street_64 has mobilenet_v2"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_made(rgan, tmp_path, words, reason):
    answer = rgan("bench", "full-size", "--out", tmp_path / "out", *words)
    assert answer.code == 2 and reason in answer.err
    assert not (tmp_path / "out").exists()


def start(out: Path, config: Path) -> subprocess.Popen:
    words = ["bench", "full-size", "--out", out, "--scale", 0.0005, "--config", config]
    words += ["--size", 64, "--eval-words=--split test --only retrieval"]
    code = "import sys; from rgan_tf.cli import console; console()"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_every_command_on_a_small_share_stopped_in_the_middle(tmp_path, tiny_settings):
    tiny_settings["training"]["steps"] = 100
    tiny_settings["losses"] |= {"perceptual_backbone": "squeezenet"}
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(tiny_settings))
    out = tmp_path / "out"

    process = start(out, config)
    log = out / "coco" / "logs" / "prepare.log"
    while process.poll() is None and not log.exists():
        time.sleep(0.2)
    time.sleep(3)  # in the middle of preparation, or of what precedes it
    process.send_signal(signal.SIGTERM)
    printed = process.communicate()[0].splitlines()
    assert process.returncode == 75
    assert [json.loads(line)["step"] for line in printed] == ["make"]
    assert not (out / "coco" / "data").exists()

    process = start(out, config)
    printed = process.communicate()[0].splitlines()
    assert process.returncode == 0
    results = [json.loads(line) for line in printed]
    assert [result["step"] for result in results] == 2 * list(steps.STEPS)
    assert results[0] == json.loads((out / "coco" / "results" / "make.json").read_text())
    for result in results:
        assert result["seconds"] > 0 and result["memory_mb"] > 5
    answers = {(result["data"], result["step"]): result["answer"] for result in results}
    assert answers["vg", "prepare"]["images"] == {"train": 31, "val": 6, "test": 6}
    assert answers["vg", "epoch"]["scenes"] == 31
    assert answers["coco", "bank-remove"]["removed"] > 0
    assert answers["coco", "bank-verify"]["damaged"] == 0
    assert all(rate["answered"] for rate in answers["vg", "serve"]["rates"])
    assert json.loads((out / "results.json").read_text())["results"] == results
    assert len((out / "results.md").read_text().splitlines()) == 2 + len(results)
