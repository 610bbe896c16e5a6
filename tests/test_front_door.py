"""`import rgan_tf`: light, complete, and documented by examples."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import rgan_tf
from rgan_tf import registered_names, released
from rgan_tf.backbones import load_backbone
from rgan_tf.errors import BadInput
from rgan_tf.retrieval import registry
from training.compare.entries import BUDGETS, SYSTEMS
from training.configuration import CONFIG_FOLDER
from training.evaluation.names import JUDGES, TASKS, diversity_networks

SOURCE = ast.parse(Path(rgan_tf.__file__).read_text("utf-8"))


def test_import_reads_no_library():
    program = (
        "import sys, rgan_tf; heavy = {'tensorflow', 'numpy', 'PIL', 'yaml'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_editors_are_told_the_same_as_the_program():
    (block,) = (n for n in SOURCE.body if isinstance(n, ast.If))
    told = {alias.asname: (node.module, alias.name) for node in block.body for alias in node.names}
    assert told == rgan_tf._PUBLIC
    assert rgan_tf.__all__ == sorted(told)


def test_every_public_name_is_there_with_a_docstring():
    for name in rgan_tf.__all__:
        value = getattr(rgan_tf, name)
        module, attribute = rgan_tf._PUBLIC[name]
        assert value is getattr(importlib.import_module(module), attribute), name
        assert value.__doc__ and len(value.__doc__.splitlines()[0]) < 100, name
        assert f"`{name}`" in rgan_tf.__doc__, f"the front page does not name {name}"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = rgan_tf.Nothing
    assert set(rgan_tf.__all__) <= set(dir(rgan_tf))


def test_docstrings_name_the_values_of_their_arguments():
    of_features = registered_names.FEATURE_BACKBONES
    for function, names in (
        (rgan_tf.evaluate, [*TASKS, *JUDGES, *diversity_networks()]),
        (rgan_tf.compare, [*SYSTEMS, *JUDGES, *BUDGETS]),
        (rgan_tf.prepare, of_features),
        (rgan_tf.build_bank, of_features),
        (rgan_tf.load_config, [path.stem for path in CONFIG_FOLDER.glob("*.yaml")]),
        (
            rgan_tf.RetrieveGAN.from_released,
            [path.parent.name for path in released.FOLDER.glob("*/run.json")],
        ),
    ):
        missing = [name for name in names if f'"{name}"' not in function.__doc__]
        assert names and not missing, f"{function.__qualname__} does not name {missing}"


@pytest.mark.parametrize("path", [5, b"folder"])
def test_what_is_not_a_path_is_named_by_every_function(path, tiny_world, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = rgan_tf.RetrieveGAN
    for name, call in (
        ("bank", lambda: rgan_tf.PatchBank.open(path)),
        ("data", lambda: rgan_tf.PreparedData.open(path)),
        ("data", lambda: rgan_tf.train("procedural_64", path, "run")),
        ("--run", lambda: rgan_tf.train("procedural_64", tiny_world, path)),
        ("config", lambda: rgan_tf.load_config(path)),
        ("root", lambda: rgan_tf.read_coco(path)),
        ("root", lambda: rgan_tf.read_visual_genome(path)),
        ("procedural world: folder", lambda: rgan_tf.draw_world(path, images=10, size=64, seed=0)),
        ("--out", lambda: rgan_tf.prepare(None, path)),
        ("--out", lambda: rgan_tf.evaluate("run", out=path)),
        ("--save-images", lambda: rgan_tf.evaluate("run", save_images=path)),
        ("--run", lambda: rgan_tf.evaluate(path)),
        ("configs", lambda: rgan_tf.compare([path], tiny_world, "out")),
        ("--data", lambda: rgan_tf.compare("procedural_64", path, "out")),
        ("--out", lambda: rgan_tf.compare("procedural_64", tiny_world, path)),
        ("RUN", lambda: rgan_tf.write_report(path)),
        ("--out", lambda: rgan_tf.write_report("released:street_64", path)),
        ("--metrics", lambda: rgan_tf.write_report("released:street_64", "out", metrics=path)),
        ("--out", lambda: rgan_tf.build_bank(path, data=tiny_world)),
        ("--data", lambda: rgan_tf.build_bank("out", data=path)),
        ("--coco", lambda: rgan_tf.build_bank("out", coco=path, images="images")),
        ("--images", lambda: rgan_tf.build_bank("out", coco="coco", images=path)),
        ("--folders", lambda: rgan_tf.build_bank("out", folders=path)),
        ("bank", lambda: rgan_tf.add_to_bank(path, folders="folders")),
        ("bank", lambda: rgan_tf.remove_from_bank(path, ids=[0])),
        ("banks", lambda: rgan_tf.merge_banks([path], "out")),
        ("--out", lambda: rgan_tf.merge_banks([tiny_world.bank], path)),
        ("model", lambda: run.from_model(path)),
        ("run", lambda: run.from_run(path)),
        ("name", lambda: run.from_released(path, bank=tiny_world)),
        ("bank", lambda: run.from_released("procedural_64", bank=path)),
        ("--weights-dir", lambda: load_backbone("mobilenet_v2", path)),
    ):
        with pytest.raises(BadInput, match=f"^{name}:? .*must be") as caught:
            call()
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


# Their examples take longer, or files; tests/training/test_examples.py runs them (`make test-all`).
LONG = {
    "RetrieveGAN",
    "add_to_bank",
    "compare",
    "evaluate",
    "read_visual_genome",
    "register_backbone",
    "train",
}


@pytest.mark.parametrize("name", rgan_tf.__all__)
def test_every_public_name_has_an_example_that_runs(name, tiny_world, tmp_path, monkeypatch):
    (tmp_path / "DATA").symlink_to(tiny_world.folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(registered_names, "RETRIEVERS", list(registered_names.RETRIEVERS))
    monkeypatch.setattr(registry, "RETRIEVERS", dict(registry.RETRIEVERS))
    docstring = inspect.getdoc(getattr(rgan_tf, name)) + "\n"
    written = re.findall(r"```python\n(.*?)```", docstring, flags=re.S)
    session = doctest.DocTestParser().get_doctest(docstring, {"rgan_tf": rgan_tf}, name, None, 0)
    assert written or session.examples, f"{name} has no example"
    for example in written:
        program = compile(textwrap.dedent(example), f"example of {name}", "exec")
        if name not in LONG:
            exec(program, {"__name__": "example"})
    if name not in LONG:
        assert doctest.DocTestRunner().run(session).failed == 0
