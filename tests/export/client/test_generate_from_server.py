"""`rgan generate --server` writes what it writes without one."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from export.commands import generate
from export.signatures import GENERATE, INPUTS
from export.wire import dump_reply, read_tensors, specs_of
from rgan_tf import cli
from tests.export.arguments import generate_arguments
from tests.export.client.scripted import send

pytestmark = pytest.mark.usefixtures("loaded_once")

GRAPH = {"objects": ["sky", "grass", "tree"], "relationships": [[0, "above", 1]]}


@pytest.fixture
def answering(exported, rest, contract):
    """Lets the scripted server answer as the model does; `change` spoils the reply."""

    def script(times: int, change=lambda reply: None):
        def answer(handler):
            specs = specs_of(INPUTS[GENERATE], contract.sizes)
            arrays = read_tensors(rest.seen[-1].body["inputs"], specs, max_rows=8)
            tensors = {name: tf.constant(value) for name, value in arrays.items()}
            reply = exported.signatures[GENERATE](**tensors)
            values = {name: np.array(value.numpy()) for name, value in reply.items()}
            change(values)
            send(200, dump_reply(values, by_row=False))(handler)

        rest.script += [answer] * times

    return script


def test_the_same_files_as_without_a_server(exported, rest, answering, write_graph, tmp_path):
    extra = tmp_path / "contract" / "1" / "assets.extra"
    shutil.copytree(exported.version / "assets.extra", extra)  # no SavedModel on this machine
    answering(2)
    graph = write_graph(GRAPH)
    near, far = tmp_path / "near", tmp_path / "far"
    generate.main(generate_arguments(graph, exported.folder, near, samples=2))
    remote = {"server": rest.url, "name": "mine", "timeout_s": 20.0}
    generate.main(generate_arguments(graph, tmp_path / "contract", far, samples=2, **remote))
    names = sorted(path.name for path in near.iterdir())
    assert names == sorted(path.name for path in far.iterdir()) and "sample-0002.json" in names
    for name in names:
        assert (near / name).read_bytes() == (far / name).read_bytes(), name
    assert [request.path for request in rest.seen] == ["/v1/models/mine/versions/1:predict"] * 2
    assert json.loads((far / "sample-0002.json").read_text())["seed"] == 1


@pytest.mark.thorough
def test_edits_are_the_same_from_a_server(exported, rest, answering, write_graph, tmp_path):
    first = tmp_path / "first"
    generate.main(generate_arguments(write_graph(GRAPH), exported.folder, first, samples=1))
    remote = {"server": rest.url, "name": "mine", "timeout_s": 20.0}
    for option in ({"redraw": ["sky"]}, {"keep": ["sky", "2"]}):
        answering(20)
        near, far = (tmp_path / f"{name}-{'-'.join(option)}" for name in ("near", "far"))
        for out, server in ((near, {}), (far, remote)):
            arguments = generate_arguments(
                first / "sample-0001.json", exported.folder, out, samples=2, **option, **server
            )
            generate.main(arguments)
        rest.script.clear()
        assert {p.name: p.read_bytes() for p in near.iterdir()} == {
            p.name: p.read_bytes() for p in far.iterdir()
        }


def test_a_server_with_another_bank_is_one_line(
    exported, rest, answering, write_graph, tmp_path, capfd
):
    answering(1, lambda reply: reply["patch_ids"].fill(exported.model.sizes.patches))
    words = ["generate", write_graph(GRAPH), "--model", exported.folder, "--server", rest.url]
    assert cli.main([str(word) for word in (*words, "--out", tmp_path / "out")]) == 2
    err = capfd.readouterr().err
    assert "patch_ids" in err.splitlines()[-1] and "Traceback" not in err
    assert not (tmp_path / "out").exists()
