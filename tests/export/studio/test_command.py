"""`rgan studio` as a command: what it refuses before any work, and the demo's model."""

from __future__ import annotations

import json
import socket

import pytest

from export.commands import demo, studio
from rgan_tf import cli


@pytest.fixture
def rgan(capfd, monkeypatch, tmp_path):
    """Runs `rgan studio` in an empty folder; its exit code and what it says."""
    monkeypatch.chdir(tmp_path)

    def run(*words):
        code = cli.main(["studio", *map(str, words)])
        out, err = capfd.readouterr()
        assert out == ""
        return code, err.strip()

    return run


@pytest.mark.parametrize(
    "words, says",
    [
        (["--port", "65536"], "--port 65536: must be in [0, 65535]"),
        (["--port", "-1"], "--port -1"),
        (["--queue-rows", "0"], "--queue-rows 0: must be at least 1"),
        (["--poll-s", "nan"], "--poll-s nan"),
        (["--grace-s", "-1"], "--grace-s -1"),
        (["--token", "short"], "--token: must be 16"),
        (["--token", "with a blank in the middle"], "--token: must be 16"),
        (["--host", "0.0.0.0"], "name a --token"),
        (["--host", "::"], "name a --token"),
        (["--host", "192.168.1.7"], "name a --token"),
        (["--host", "192.0.2.1", "--token", "x" * 16], "on 192.0.2.1; name another"),
        (["--name", "a/b"], "--name"),
        (["--model", "nothing", "--port", "0"], "--model nothing: no exported model"),
    ],
)
def test_what_it_refuses(rgan, words, says, monkeypatch):
    monkeypatch.setattr(studio.demo, "main", lambda _: pytest.fail("work before the checks"))
    code, err = rgan(*words)
    assert code == 2 and says in err.splitlines()[-1], err


def test_a_port_that_is_taken(rgan):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        code, err = rgan("--port", taken.getsockname()[1])
    assert code == 2 and "name another" in err


def test_without_a_model_the_demo_makes_one_and_only_once(rgan, tmp_path, monkeypatch):
    made = []

    def make(args):
        made.append((args.out, args.run))
        (tmp_path / demo.MODEL / "1" / "assets.extra").mkdir(parents=True)

    monkeypatch.setattr(studio.demo, "main", make)
    for _ in range(2):
        code, err = rgan("--port", "0")
        assert code in (2, 4) and "demo/model" in err  # an empty model is not one
    assert made == [("demo", demo.RELEASED_RUN)]


def test_a_folder_that_is_not_a_demo_is_left_alone(rgan, tmp_path):
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "mine").write_text("mine")
    code, err = rgan("--port", "0")
    assert code == 2 and "no --model is named" in err and "demo" in err
    assert (tmp_path / "demo" / "mine").read_text() == "mine"


def test_the_examples_are_the_demos_graphs_with_titles():
    graphs = json.loads(demo.GRAPHS.read_text("utf-8"))
    assert all(graph["title"] for graph in graphs)
