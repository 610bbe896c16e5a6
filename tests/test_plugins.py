"""Errors that arise in modules that RGAN_PLUGINS names are told as the user's own."""

from __future__ import annotations

import importlib
import sys
import types

import pytest
import tensorflow as tf

from rgan_tf import cli

_PLUGIN = """
def plain(value):
    raise KeyError(value)


def inner(tensor):
    return tf.reshape(tensor, [7])


def traced(tensor):
    if tf.reduce_sum(tensor) > 0:
        tensor = inner(tensor)
    return tensor


class Mine:
    pass
"""


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    (tmp_path / "plugin_with_faults.py").write_text("import tensorflow as tf\n" + _PLUGIN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RGAN_PLUGINS", "plugin_with_faults")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield tmp_path / "plugin_with_faults.py"
    sys.modules.pop("plugin_with_faults", None)


@pytest.fixture
def run(monkeypatch, capfd):
    """Runs a command whose `main` is the function given; the exit code and the last line."""

    def run(main):
        module = types.ModuleType("fake_command")
        module.add_arguments = lambda parser: None
        module.main = main
        monkeypatch.setitem(sys.modules, "fake_command", module)
        code = cli.main(["fake"], (cli.Command("fake", "fake_command", "for this test"),))
        return code, capfd.readouterr().err.splitlines()

    return run


def _call(name, *arguments):
    return getattr(sys.modules["plugin_with_faults"], name)(*arguments)


def test_an_error_names_file_and_line(plugin, run):
    code, lines = run(lambda _: _call("plain", "a"))
    assert code == 2 and any("Traceback" in line for line in lines)
    assert lines[-1] == (
        f"rgan fake: RGAN_PLUGINS: {plugin}, line 4: KeyError in your module; see the lines above"
    )


def test_an_error_while_tracing_does_too(plugin, run):
    code, lines = run(lambda _: tf.function(lambda x: _call("traced", x))(tf.ones([3])))
    assert code == 2
    assert f"{plugin}, line 8: ValueError in your module" in lines[-1]


@pytest.mark.parametrize("is_traced", [False, True])
def test_what_a_method_has_returned_is_told_by_its_name(plugin, run, is_traced):
    def refuse(name, value=None):
        raise ValueError(f"{name}.choose: must return a Selection")

    def main(name):
        tf.function(lambda x: refuse(name, x))(tf.ones([3])) if is_traced else refuse(name)

    code, lines = run(lambda _: main("Mine"))
    assert code == 2 and f"{plugin}, Mine.choose: ValueError in your module" in lines[-1]
    for other in ("Ours", "tf"):  # not of a module of the user's; not a class
        code, lines = run(lambda _, other=other: main(other))
        assert code == 1 and lines[-1] == "rgan fake: this is a bug; see the lines above"


def test_our_own_error_stays_a_bug(plugin, run):
    def main(_):
        raise KeyError("ours")

    code, lines = run(main)
    assert code == 1 and lines[-1] == "rgan fake: this is a bug; see the lines above"


@pytest.mark.parametrize("own", [None, "0"])
def test_tensorflow_is_configured_before_a_plugin_imports_it(own, tmp_path, monkeypatch, run):
    variables = ("TF_ENABLE_ONEDNN_OPTS", "TF_CPP_MIN_LOG_LEVEL")
    for variable in variables:
        monkeypatch.setenv(variable, "any")  # so that the end of the test restores it
        monkeypatch.delenv(variable) if own is None else monkeypatch.setenv(variable, own)
    seen = f"seen = [os.environ[name] for name in {variables}]\n"
    (tmp_path / "plugin_that_looks.py").write_text(f"import os\n\n{seen}")
    monkeypatch.setenv("RGAN_PLUGINS", "plugin_that_looks")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    code, _ = run(lambda arguments: {})
    assert code == 0
    assert sys.modules.pop("plugin_that_looks").seen == ([own, own] if own else ["1", "3"])


@pytest.mark.parametrize("end", ["sys.exit()", "sys.exit(0)", "sys.exit('wrong usage')"])
def test_a_script_that_ends_itself_does_not_end_the_command_in_silence(
    end, tmp_path, monkeypatch, run
):
    (tmp_path / "script_of_mine.py").write_text(f"import sys\n{end}\n")
    monkeypatch.setenv("RGAN_PLUGINS", "script_of_mine")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    code, lines = run(lambda arguments: {})
    assert code == 2 and len(lines) == 1
    assert lines[0].startswith("rgan: RGAN_PLUGINS: script_of_mine: SystemExit: ")
    monkeypatch.setenv("RGAN_PLUGINS", "")
    assert run(lambda arguments: {})[0] == 0


@pytest.mark.parametrize("name", ["broken_plugin", "broken_package"])
def test_a_plugin_that_raises_on_import_names_its_line(name, tmp_path, monkeypatch, run):
    """In one line, and for a fault in the module no advice on how to name it."""
    inner = tmp_path / f"{name}.py"
    if name.endswith("package"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(f"import {name}.inner\n")
        inner = tmp_path / name / "inner.py"
    inner.write_text("import json\n\njson.loads('{')\n")
    monkeypatch.setenv("RGAN_PLUGINS", name)
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    code, lines = run(lambda arguments: {})
    assert code == 2 and len(lines) == 1
    assert lines[0].startswith(f"rgan: RGAN_PLUGINS: {name}: JSONDecodeError: Expecting property")
    assert lines[0].endswith(f"; see {inner}, line 3")
    monkeypatch.setenv("RGAN_PLUGINS", f"{name}.py")
    assert "name modules as import does" in run(lambda arguments: {})[1][-1]
