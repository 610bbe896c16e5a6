"""`rgan demo`: the whole way in small, and whose folder it may replace."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from export.commands import demo
from rgan_tf.cli import main as rgan
from rgan_tf.errors import BadInput, RganError
from rgan_tf.scene_graph import encode_scene_graph, load_scene_graphs
from rgan_tf.vocabulary import Vocabulary
from rgan_tf.world import categories


def test_the_graphs_are_of_the_built_in_world():
    vocabulary = Vocabulary.from_categories([item["name"] for item in categories()])
    graphs = load_scene_graphs(demo.GRAPHS)
    assert len(graphs) == 4
    for graph in graphs:
        encode_scene_graph(graph, vocabulary, max_objects=8, max_triples=16)


@pytest.mark.thorough
def test_the_whole_way_through_the_command(exported, tmp_path, monkeypatch, capfd, caplog):
    monkeypatch.setattr(demo, "IMAGES", 15)
    monkeypatch.setattr(demo, "SIZE", 32)
    monkeypatch.setattr(demo, "SAMPLES", 1)
    out = tmp_path / "demo"
    assert rgan(["demo", "--out", str(out), "--run", str(exported.run.folder)]) == 0
    printed = capfd.readouterr()
    (line,) = printed.out.splitlines()
    result = json.loads(line)
    assert result["overview"] == str(out / "pictures" / "overview.png")
    assert result["images"] == [str(out / "pictures" / f"sample-000{n}.png") for n in range(1, 5)]
    assert all(Path(path).exists() for path in (result["overview"], *result["images"]))
    assert (out / "model" / "1" / "saved_model.pb").exists()
    assert "$ rgan prepare procedural" in caplog.text and result["overview"] in caplog.text
    demo.claim_folder(out)
    assert [path.name for path in out.iterdir()] == [demo._MARKER]


def test_only_an_earlier_demo_is_replaced(tmp_path):
    folder = tmp_path / "demo"
    demo.claim_folder(folder)
    demo.claim_folder(folder)
    (folder / "world").mkdir()
    (folder / "world" / "x").touch()
    (folder / ".model.1234.partial").mkdir()
    demo.claim_folder(folder)
    assert [path.name for path in folder.iterdir()] == [demo._MARKER]

    (folder / "letter.txt").touch()
    (folder / "world").mkdir()
    with pytest.raises(BadInput, match="letter.txt"):
        demo.claim_folder(folder)
    assert (folder / "world").exists()

    (tmp_path / "mine" / "world").mkdir(parents=True)
    with pytest.raises(BadInput, match="not made by rgan demo"):
        demo.claim_folder(tmp_path / "mine")
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(BadInput, match="not a folder"):
        demo.claim_folder(tmp_path / "link")


def test_a_failing_command_ends_the_demo_with_its_code(tmp_path, monkeypatch):
    def failing(argv):
        assert argv[0] == "prepare"
        return 4

    monkeypatch.setattr("rgan_tf.cli.main", failing)
    with pytest.raises(RganError, match="rgan prepare failed") as caught:
        demo.main(argparse.Namespace(out=str(tmp_path / "demo"), run="released:none"))
    assert caught.value.exit_code == 4
