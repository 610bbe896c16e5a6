"""`rgan report` from end to end: on whole, partly trained, moved, damaged and hostile runs."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import yaml

from rgan_tf.bank.summary import summarise
from rgan_tf.runs import open_run
from rgan_tf.storage.files import write_bytes_atomic
from rgan_tf.storage.image import encode_png
from tests.training.report.reading import read_page, write_scalars
from training.report.curves import drawable

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture
def report(rgan, tmp_path):
    """Runs `rgan report`; returns the page, the JSON result and the lines on standard error."""

    def run(folder, *words):
        out = tmp_path / "out" / "report.html"
        ended = rgan("report", folder, "--out", out, *words)
        assert ended.code == 0, ended.err
        result = json.loads(ended.out.splitlines()[-1])
        assert result["report"] == str(out) and result["bytes"] == out.stat().st_size
        said = [line for line in ended.err.splitlines() if line.startswith("report: ")]
        assert said == [f"report: {note}" for note in result["notes"]]
        return read_page(out), result, ended.err

    return run


@pytest.fixture
def quick_curves(monkeypatch):
    """Curves are not drawn, where nobody looks at them: dozens of figures of matplotlib."""
    dot = encode_png(np.full([2, 2, 3], 90, np.uint8))
    monkeypatch.setattr(
        "training.report.page.picture_of", lambda curve: dot if drawable(curve).any() else None
    )


def evaluate(folder):
    """What `rgan eval` would leave."""
    figures = {
        "floor/real/fd_x_2_val": 2.5,
        "retrievegan/predicted_boxes/fd_x_2_val": 8.25,
        "retrievegan/true_boxes/fd_x_2_val": 7.75,
        "layout/box_iou": 0.5,
    }
    lines = [{"split": split, "step": 3, **figures} for split in ("val", "test")]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "metrics.jsonl").write_text(text)
    for split in ("val", "test"):
        picture = encode_png(np.full([20, 30, 3], 90, np.uint8))
        write_bytes_atomic(folder / "pictures" / f"eval-{split}-0000003.png", picture)


def test_a_whole_run(report, copied, tiny_world):
    evaluate(copied)
    page, result, _ = report(copied)
    assert result["stages"] == {"sg2im": 3, "cooccurrence": 3, "retrievegan": 3}
    assert result["splits"] == ["val", "test"] and result["notes"] == []
    assert result["curves"] == page.tags.count("figure") > 30
    assert result["pictures"] == page.tags.count("img") - page.tags.count("figure") >= 4
    record = json.loads((copied / "retrievegan" / "stage.json").read_text())
    for wanted in (
        "tiny – copied",
        record["weights_sha256"],
        "as recorded",
        tiny_world.fingerprint,
        "CC0 1.0 Universal",
        "public-domain",
        "default 400000",  # training.steps was set
        "loss/generator/selection",
        "8.25",
        f"rgan train {copied}/config.yaml --data {tiny_world.folder} --run {copied}",
        "2.15.1",
    ):
        assert wanted in page.text, wanted
    assert "rgan eval" not in page.text and "present weights" not in page.text
    # 20 training scenes
    assert f"train20{tiny_world.manifest['splits']['train']['objects']}" in page.text


@pytest.mark.usefixtures("quick_curves")
def test_figures_of_a_stage_that_was_trained_again_since_are_called_so(report, copied, tiny_world):
    evaluate(copied)
    path, marks = copied / "metrics.jsonl", ("present weights", "Measured on other data")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    own = {"weights": open_run(str(copied)).fingerprint(), "data": tiny_world.fingerprint}
    for change, is_marked in (
        ({}, [False, False]),
        ({"weights": "1-2-3"}, [True, False]),  # of the same step
        ({"data": "f2"}, [False, True]),
    ):
        path.write_text("".join(json.dumps({**x, **own, **change}) + "\n" for x in lines))
        page, _, _ = report(copied)
        assert [mark in page.text for mark in marks] == is_marked


def test_the_same_run_gives_the_same_bytes(rgan, copied, tmp_path):
    evaluate(copied)
    out, inside = tmp_path / "a.html", copied / "report.html"
    assert rgan("report", copied, "--out", out).code == 0
    for _ in range(2):  # neither does the report itself, once it lies in the run
        assert rgan("report", copied).code == 0
        assert inside.read_bytes() == out.read_bytes()


def test_what_is_not_a_report_is_never_overwritten(rgan, copied, tmp_path):
    mine = copied / "report.html"
    mine.write_text("<html>mine</html>")
    linked = tmp_path / "link.html"
    linked.symlink_to(mine)
    (tmp_path / "folder").mkdir()
    for words in ([], ["--out", linked], ["--out", tmp_path / "folder"]):
        ended = rgan("report", copied, *words)
        assert ended.code == 2 and "name another file" in ended.err and not ended.out
    assert mine.read_text() == "<html>mine</html>" and linked.is_symlink()


def test_a_released_run(report, rgan, tmp_path):
    ended = rgan("report", "released:procedural_64")
    assert ended.code == 2 and "--out" in ended.err
    page, result, _ = report("released:procedural_64")
    assert "rgan eval --run released:procedural_64 --data DATA" in page.text
    assert "rgan train procedural_64 --data DATA --run NEW_RUN" in page.text
    assert "no training logs" in page.text and "no pictures yet" in page.text
    assert result["stages"]["retrievegan"] > 0
    evaluate(tmp_path)
    page, result, _ = report("released:procedural_64", "--metrics", tmp_path)
    assert "8.25" in page.text and result["pictures"] == page.tags.count("img") == 2
    assert "Not of the run's present weights, which are of step 4500" in page.text


@pytest.mark.usefixtures("quick_curves")
def test_a_run_that_is_partly_trained_and_says_what_to_run(report, copied):
    shutil.rmtree(copied / "retrievegan")
    shutil.rmtree(copied / "logs" / "retrievegan")
    (copied / "cooccurrence" / "stage.json").unlink()
    page, result, _ = report(copied)
    assert result["stages"] == {"sg2im": 3, "cooccurrence": 0, "retrievegan": 0}
    assert "begun, checkpoint of step 3" in page.text and "not trained" in page.text
    assert f"rgan eval --run {copied}" in page.text


@pytest.mark.usefixtures("quick_curves")
def test_a_stage_that_a_release_leaves_out_was_trained(report, copied):
    path = copied / "config.yaml"
    settings = yaml.safe_load(path.read_text())
    settings["retrieval"]["embedding_steps"] = 4
    path.write_text(yaml.safe_dump(settings))
    page, result, _ = report(copied)
    assert result["stages"] == {"sg2im": 3, "cooccurrence": 3, "embedding": 0, "retrievegan": 3}
    assert "not trained" in page.text and "not kept" not in page.text
    path = copied / "retrievegan" / "stage.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"embedding_weights": "e" * 64}))
    page, _, _ = report(copied)
    assert "trained, not kept" in page.text and "not trained" not in page.text


@pytest.mark.usefixtures("quick_curves")
def test_roll_backs_warnings_and_borrowed_stages_are_told(report, copied):
    (copied / "sg2im" / "rollbacks.json").write_text(
        json.dumps([{"at_step": 2, "skipped": [{"step": 1, "image_ids": [41, 42]}]}])
    )
    path = copied / "cooccurrence" / "stage.json"
    record = json.loads(path.read_text())
    record |= {"taken_from": "A B", "as_they_are": True, "skipped_steps": 17}
    record["warnings"] = [{"step": 700, "what": "the image discriminator is never wrong"}]
    path.write_text(json.dumps(record))
    page, _, _ = report(copied)
    for wanted in (
        "1 (41, 42)",
        "taken from A B",
        "step 700: the image discriminator is never wrong",
        "--stages-from 'A B' --as-they-are",
    ):
        assert wanted in page.text, wanted


@pytest.mark.usefixtures("quick_curves")
def test_damage_is_named_line_by_line_and_the_rest_is_shown(report, copied):
    evaluate(copied)
    with open(copied / "metrics.jsonl", "a") as file:
        file.write('{"split": "val", "st\n')
    for path in (copied / "logs" / "retrievegan").glob("events*"):
        path.write_bytes(path.read_bytes()[:-3])
    (copied / "pictures" / "eval-val-0000003.png").write_bytes(b"\x89PNG\r\n\x1a\nno")
    (copied / "sg2im" / "stage.json").write_text("{")
    (copied / "retrievegan" / "rollbacks.json").write_text("[3]")
    (weights,) = (copied / "cooccurrence").glob("weights-*.data*")
    weights.write_bytes(weights.read_bytes()[:-1])
    page, result, err = report(copied)
    notes = "\n".join(result["notes"])
    for what in (
        "metrics.jsonl line 3: not JSON",
        "retrievegan/events",
        "eval-val-0000003.png: damaged",
        "sg2im/stage.json",
        "retrievegan/rollbacks.json: not a record of roll",
        f"{weights}: damaged",
    ):
        assert what in notes and what in page.text, what
    assert "Traceback" not in err and "8.25" in page.text and result["curves"] > 10


@pytest.mark.usefixtures("quick_curves")
def test_data_that_moved_or_changed_is_not_a_reason_to_stop(report, copied, tiny_world, tmp_path):
    record = json.loads((copied / "run.json").read_text())
    elsewhere = record | {"data": str(tmp_path / "gone")}
    (copied / "run.json").write_text(json.dumps(elsewhere))
    page, result, _ = report(copied)
    assert len(result["notes"]) == 1 and "gone" in result["notes"][0]
    assert "name it with --data" in page.text and "CC0" not in page.text
    page, result, _ = report(copied, "--data", tiny_world.folder)
    assert not result["notes"] and "CC0" in page.text
    (copied / "run.json").write_text(json.dumps(record | {"data_fingerprint": "0" * 64}))
    page, result, _ = report(copied)
    assert "other data" in result["notes"][0] and "CC0" not in page.text


def test_names_that_are_html_are_harmless(report, copied, monkeypatch):
    config = yaml.safe_load((copied / "config.yaml").read_text())
    (copied / "config.yaml").write_text(yaml.safe_dump(config | {"name": HOSTILE}))
    line = {"split": HOSTILE, "step": 3, f"{HOSTILE}/true_boxes/{HOSTILE}": 1.0, "x": HOSTILE}
    (copied / "metrics.jsonl").write_text(json.dumps(line) + "\n" + HOSTILE)
    write_scalars(copied / "logs" / "sg2im", HOSTILE, [(1, 2.0), (2, 3.0)])
    path = copied / "sg2im" / "stage.json"
    record = json.loads(path.read_text()) | {HOSTILE: HOSTILE, "taken_from": HOSTILE}
    record["warnings"] = [{"step": HOSTILE, "what": HOSTILE}]
    path.write_text(json.dumps(record))
    picture = (copied / "pictures").glob("*.png")
    shutil.copy(next(picture), copied / "pictures" / "<img src=x onerror=y>-3.png")

    def hostile(bank):
        counts = {HOSTILE: 3}
        return summarise(bank) | {"categories": counts, "licences": counts}

    monkeypatch.setattr("training.report.provenance.summarise", hostile)
    folder = copied.parent / "<script>run"
    copied.rename(folder)
    page, _, _ = report(folder)  # `read_page` refuses scripts and attributes that run
    assert page.text.count(HOSTILE) >= 12
    assert "<img src=x onerror=y>" in page.text and "<script>run" in page.text
    source = (copied.parent / "out" / "report.html").read_text()
    assert "<script" not in source
    (policy,) = [value for key, value in page.attributes if "default-src" in value]
    assert policy.startswith("default-src 'none';")


def test_a_run_that_is_none(rgan, tmp_path, copied):
    ended = rgan("report", tmp_path / "none")
    assert ended.code == 2 and f"RUN {tmp_path}/none: not a run folder" in ended.err
    for place in ("none", "."):  # what is not there, and what no evaluation wrote
        ended = rgan("report", copied, "--metrics", tmp_path / place)
        assert ended.code == 2 and "--metrics" in ended.err
    (copied / "run.json").write_text("{}")
    assert rgan("report", copied).code == 4
    assert not (copied / "report.html").exists()
