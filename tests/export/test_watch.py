"""`rgan generate --watch`: one process answers many edits."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from export import watch
from export.commands import generate
from export.requests import Draw, Requests
from rgan_tf.bank.licences import LicenceFilter
from rgan_tf.errors import BadInput
from rgan_tf.storage.image import read_image
from tests.export.arguments import generate_arguments
from tests.export.test_edits import draw, patches  # noqa: F401  a fixture

GRAPH = {"objects": ["sky", "grass", "tree"], "relationships": [[0, "above", 1]]}


@pytest.fixture
def edits(draw, exported, write_graph, tmp_path, monkeypatch):  # noqa: F811
    """Watches a file while the steps given change it, one whenever nothing is left to do."""

    def run(steps, **options):
        path = write_graph(GRAPH)
        steps = iter(steps)
        quiet = 0

        def sleep(_):
            nonlocal quiet
            quiet += 1
            if quiet % 3 == 0:  # the file was looked at twice, and is drawn
                step = next(steps, None)
                if step is None:
                    raise KeyboardInterrupt
                step(path)

        clock = SimpleNamespace(sleep=sleep, monotonic=time.monotonic)
        monkeypatch.setattr(watch, "time", clock)
        out = tmp_path / "out"
        arguments = generate_arguments(path, exported.folder, out, watch=True, **options)
        return out, list(generate.main(arguments))

    return run


def writes(value):
    return lambda path: path.write_text(json.dumps(value))


def test_a_picture_for_every_change(edits):
    other = {"objects": ["water"]}
    out, lines = edits([writes(other), writes(other), writes(GRAPH)])
    assert [line["image"] for line in lines] == [
        str(out / f"000{n}" / "sample-0001.png") for n in (1, 2, 3)
    ]
    first, second, third = (read_image(line["image"]) for line in lines)
    assert (first == third).all() and (first != second).any()
    newest = (out / "0003" / "overview.png").read_bytes()
    assert (out / "latest.png").read_bytes() == newest
    assert all(line["contradictions"] == [] and "images" not in line for line in lines)


def test_what_cannot_be_drawn_is_said_and_waited_for(edits, caplog):
    steps = [
        lambda path: path.write_text("{"),
        writes({"objects": ["trea"]}),
        lambda path: path.unlink(),
        writes({"objects": ["tree"]}),
    ]
    out, lines = edits(steps)
    assert len(lines) == 2 and sorted(p.name for p in out.iterdir()) == [
        "0001",
        "0002",
        "latest.png",
    ]
    assert "not JSON" in caplog.text and "did you mean 'tree'" in caplog.text


def test_the_file_of_a_sample_may_be_edited_on(edits):
    def redraw(path):
        value = json.loads((path.parent / "out" / "0001" / "sample-0001.json").read_text())
        path.write_text(json.dumps({**value, "redraw": ["tree"]}))

    out, lines = edits([redraw])
    assert len(lines) == 2
    old, new = patches(out / "0001"), patches(out / "0002")
    assert old[:2] == new[:2] and old[2] != new[2]


def test_one_line_per_picture_and_the_numbers_go_on(edits, draw):  # noqa: F811
    out, lines = edits([], samples=2)
    assert [line["image"][-15:] for line in lines] == ["sample-0001.png", "sample-0002.png"]
    out, lines = edits([])
    assert [line["out"] for line in lines] == [str(out / "0002")]


def test_a_folder_with_other_things_is_left_alone(edits, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "letter.txt").write_text("dear")
    with pytest.raises(BadInput, match=r"holds letter\.txt"):
        edits([])


def test_no_file_is_a_mistake(tmp_path):
    watching = watch.watched(
        str(tmp_path / "gone.json"),
        str(tmp_path / "out"),
        contextlib.nullcontext,
        lambda: Requests(None, []),
        [Draw()],
        LicenceFilter(),
    )
    with pytest.raises(BadInput, match=r"gone\.json: No such file"):
        next(watching)


@pytest.mark.thorough
def test_as_a_process(exported, write_graph, tmp_path):
    """A line comes when its picture is there, and SIGTERM ends it well."""
    graph = write_graph(GRAPH)
    words = ["generate", graph, "--model", exported.folder, "--out", tmp_path / "out", "--watch"]
    code = "from rgan_tf.cli import console; console()"
    command = [sys.executable, "-c", code, *map(str, words)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        first = json.loads(process.stdout.readline())
        write_graph({"objects": ["water"]})
        second = json.loads(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        assert process.stdout.read() == "" and process.wait() == 0
    assert [Path(line["out"]).name for line in (first, second)] == ["0001", "0002"]
    assert read_image(second["image"]).shape == (32, 32, 3)
