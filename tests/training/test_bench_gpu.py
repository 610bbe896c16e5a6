"""`rgan bench gpu-export`: the folder for a machine with JAX and no TensorFlow, and its script."""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import json
import os
import py_compile
import subprocess
import sys
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.compiler.xla.service import hlo_pb2

from rgan_tf import cli
from rgan_tf.config_files import config_to_dict
from rgan_tf.errors import BadInput
from tests.training.conftest import write_config
from training.bench.gpu import package
from training.bench.gpu.hlo import program_of, with_full_products

SCRIPT = os.path.join(os.path.dirname(package.__file__), package.SCRIPT)
JAX_PYTHON = os.environ.get("RGAN_JAX_PYTHON")
PARTS = ["select_4", "joint_2_check", "joint_2"]


@pytest.fixture(scope="module")
def script():
    """The script as a module; JAX is another machine's, so something empty stands in for it."""
    absent = {name: mock.MagicMock() for name in ("jax", "jax.export", "jax.extend")}
    absent["jax"].__version__ = "0"
    spec = importlib.util.spec_from_file_location("script", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    with mock.patch.dict(sys.modules, absent):
        spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="package")
def exported(one_replica, tiny_world, tiny_config, made_once):
    """The tiny step at batch 2, exported; not to be changed."""

    def fill(folder):
        config = write_config(folder / "tiny.yaml", config_to_dict(tiny_config))
        words = ["bench", "gpu-export", config, "--data", tiny_world.folder]
        words += ["--out", folder / "step", "--batch-sizes", 2, "--candidates", 4, "--batches", 2]
        assert cli.main([str(word) for word in words]) == 0

    return made_once("gpu_export", fill) / "step"


def entry_of(hlo: bytes):
    module = hlo_pb2.HloModuleProto.FromString(hlo)
    return next(c for c in module.computations if c.id == module.entry_computation_id)


def test_a_program_returns_its_results_alone_and_takes_what_they_need():
    state, read, unused = (tf.Variable([value, value]) for value in (1.0, 2.0, 3.0))

    def function(value, unread):
        del unread
        state.assign(value)
        unused.assign_add(value)  # what it holds is not returned, so it is not a parameter
        return [state.read_value() * read, value[0]]

    program = program_of(function, [np.zeros(2, np.float32), np.zeros(3, np.int32)])
    assert program.parameters == [("float32", [2]), ("int32", [3]), ("float32", [2])]
    assert program.results == [("float32", [2]), ("float32", [])]
    assert program.captured[0] is read and len(program.captured) == 1
    kinds = [one.opcode for one in entry_of(program.hlo).instructions]
    assert kinds.count("parameter") == 3 and "add" not in kinds
    np.testing.assert_array_equal(unused, [3.0, 3.0])


def test_full_products_change_products_alone():
    a = tf.ones([2, 3])
    program = program_of(lambda value: [tf.matmul(a, value), value], [np.ones([3, 2], np.float32)])
    exact = with_full_products(program.hlo)
    for hlo, precision in ((program.hlo, 0), (exact, 2)):
        found = {
            number
            for one in entry_of(hlo).instructions
            if one.opcode == "dot"
            for number in one.precision_config.operand_precision
        }
        assert found == {precision}


def test_what_cannot_be_carried_over_is_refused():
    value = np.ones([3, 3], np.float32)
    with pytest.raises(BadInput, match="which only TensorFlow has"):
        program_of(lambda matrix: [tf.linalg.qr(matrix).q], [value])
    with pytest.raises(BadInput, match="XLA has no CropAndResize"):
        box, size = [[0.0, 0.0, 1.0, 1.0]], [2, 2]
        program_of(
            lambda image: [tf.image.crop_and_resize(image, box, [0], size)],
            [value[None, ..., None]],
        )
    with pytest.raises(ValueError, match="two results"):
        program_of(lambda matrix: [matrix + 1.0], [value])


COMPILED = """\
HloModule step, is_scheduled=true, entry_computation_layout={(f32[4]{0})->f32[4]{0}}

%inner (p: f32[4]) -> f32[4] {
  %p = f32[4]{0} parameter(0)
  ROOT %n = f32[4]{0} negate(f32[4]{0} %p)
}

%body (t: (s32[], f32[4])) -> (s32[], f32[4]) {
  %t = (s32[], /*index=1*/f32[4]{0}) parameter(0)
  %x = f32[4]{0} get-tuple-element(%t), index=1
  %f = f32[4]{0} fusion(f32[4]{0} %x), kind=kLoop, calls=%inner
  %i = s32[] fusion(%t), kind=kLoop, calls=%inner
  ROOT %r = (s32[], f32[4]{0}) tuple(%i, %f)
}

%condition (t.1: (s32[], f32[4])) -> pred[] {
  %t.1 = (s32[], f32[4]{0}) parameter(0)
  ROOT %c = pred[] compare(%t.1, %t.1), direction=LT
}

%commands (q: f32[4]) -> f32[4] {
  %q = f32[4]{0} parameter(0)
  %d = f32[4]{0} dot(%q, %q), lhs_contracting_dims={0}
  ROOT %e = f32[4]{0} fusion(%d), kind=kLoop, calls=%inner
}

ENTRY %main (a: f32[4]) -> f32[4] {
  %a = f32[4]{0} parameter(0)
  %k = f32[4]{0} constant({1, 2, 3, 4})
  %s = (f32[4]{0}, f32[4]{0}, u32[]) copy-start(%a)
  %e.1 = f32[4]{0} copy-done(%s)
  %w = (s32[], f32[4]{0}) while(%e.1), condition=%condition, body=%body, KNOWN
  %g = f32[4]{0} get-tuple-element(%w), index=1
  ROOT %z = f32[4]{0} call(%g), to_apply=%commands
}
"""


@pytest.mark.parametrize(
    ("known", "loop", "unknown"),
    [('backend_config={"known_trip_count":{"n":"5"}}', 15, 0), ("metadata={}", 3, 1)],
)
def test_kernels_are_counted_by_hand(script, known, loop, unknown):
    # One copy; two fusions and a comparison as often as the loop runs; a product and a fusion.
    kernels, kinds, loops = script.count_kernels(COMPILED.replace("KNOWN", known))
    assert kernels == 1 + loop + 2 and loops == unknown
    assert kinds["fusion"] == loop * 2 // 3 + 1 and kinds["dot"] == kinds["copy-start"] == 1


def test_the_report_has_the_share_of_the_peak_and_fails_what_was_not_checked(script):
    manifest = {
        "config": "tiny",
        "precision": "float32",
        "parts": [{"name": "a", "kind": "check"}, {"name": "b", "kind": "step"}],
    }
    timed = {"platform": "gpu", "ms_per_step": 10.0, "gflop": 500.0, "batch_size": 8}
    parts = {"a": {"passed": True}, "b": dict(timed)}
    report = script._report(manifest, parts, 100.0)
    assert report["checks_passed"] and report["parts"]["b"]["share_of_peak"] == 0.5  # 50 TFLOP/s
    assert "TF32" in report["notes"][1]
    table = script._table(report)
    assert "50.0%" in table and "800" in table  # images per second
    report = script._report(manifest, {"a": {"skipped": "no time"}, "b": dict(timed)}, None)
    assert not report["checks_passed"] and "a: skipped: no time" in script._table(report)


@pytest.mark.parametrize(
    ("figures", "moved", "passed"),
    [
        ((10.0, -0.002), 3.0, True),
        ((10.000005, -0.00200002), 3.001, True),  # 5e-7 of 10; 2e-8 beside logits of 0.1 and more
        ((10.00005, -0.002), 3.0, False),
        ((10.0, -0.0021), 3.0, False),
        ((10.0, float("nan")), 3.0, False),
        ((10.0, -0.002), 3.1, False),
    ],
)
def test_the_first_step_is_compared(script, figures, moved, passed):
    facts = {
        "kind": "check",
        "figures": ["large", "small"],
        "state": ["before"],
        "expected": {"figures": [10.0, -0.002], "changes": [3.0], "variables": ["kernel"]},
    }
    part = SimpleNamespace(facts=facts, array=lambda key: np.zeros(1, np.float32))
    with mock.patch.object(script.jax, "devices", return_value=[SimpleNamespace(platform="cpu")]):
        result = script._compare(part, np.array(figures), [np.array([moved], np.float32)])
    assert result["passed"] is passed
    assert set(result["error_of_each_figure"]) == {"large", "small"}


def test_refusals(rgan, config_file, tiny_world, tmp_path):
    words = ("bench", "gpu-export", config_file, "--data", tiny_world.folder, "--out")
    reply = rgan(*words, tmp_path / "new", "--batches", 0)
    assert reply.code == 2 and "--batches" in reply.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    reply = rgan(*words, tmp_path / "full")
    assert reply.code == 2 and "full" in reply.err


@pytest.mark.thorough
def test_the_folder_holds_everything(exported):
    manifest = json.loads((exported / "manifest.json").read_text())
    assert {file.name for file in exported.iterdir()} == {"manifest.json", *manifest["files"]}
    assert package.SCRIPT in manifest["files"]
    for name, file in manifest["files"].items():
        content = (exported / name).read_bytes()
        assert file == {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    assert [part["name"] for part in manifest["parts"]] == PARTS
    arrays = np.load(exported / "arrays.npz", allow_pickle=False)
    for part in manifest["parts"]:
        inputs = [part["arguments"]] if part["kind"] == "selection" else part["batches"]
        for these in inputs:
            keys = [*part.get("state", ()), *these, *part["captured"]]
            assert [[str(arrays[k].dtype), list(arrays[k].shape)] for k in keys] == (
                part["parameters"]
            )
        hlo = gzip.decompress((exported / part["program"]).read_bytes())
        assert len(hlo_pb2.HloModuleProto.FromString(hlo).host_program_shape.parameters) == len(
            part["parameters"]
        )
    check, step = manifest["parts"][1:]
    assert len(check["batches"]) == 2 and check["batches"][0] != check["batches"][1]
    assert check["results"] == step["results"]
    assert len(check["expected"]["figures"]) == len(check["figures"])
    # Sound, and every kind of variable moved.
    told = dict(zip(check["figures"], check["expected"]["figures"], strict=True))
    assert told["guard/skipped"] == 0 and told["guard/sound_share"] == 1
    changes = dict(zip(check["expected"]["variables"], check["expected"]["changes"], strict=True))
    assert changes["step:0"] == 1 and sum(value > 0 for value in changes.values()) > 50


@pytest.mark.parametrize("content", [None, "no JSON", "[]", '{"kind": "rgan_data"}'])
def test_a_folder_that_is_not_a_package_is_one_line(script, tmp_path, monkeypatch, capsys, content):
    if content:
        (tmp_path / "manifest.json").write_text(content)
    monkeypatch.setattr(sys, "argv", ["run_on_jax.py", str(tmp_path)])
    with pytest.raises(SystemExit) as stop:
        script.main()
    assert stop.value.code == 2
    assert f"error: {tmp_path}: not made by `rgan bench gpu-export`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", [("--seconds", "0"), ("--seconds", "nan"), ("--steps", "0"), ("--peak-tflops", "-1")]
)
def test_options_that_cannot_be(script, tmp_path, monkeypatch, capsys, words):
    (tmp_path / "manifest.json").write_text('{"parts": []}')
    monkeypatch.setattr(sys, "argv", ["run_on_jax.py", str(tmp_path), *words])
    with pytest.raises(SystemExit) as stop:
        script.main()
    assert stop.value.code == 2 and f"error: {words[0]}: must be" in capsys.readouterr().err


def test_what_is_not_finite_is_null(script):
    report = {"errors": [float("nan"), 1.0], "part": {"worst": float("inf"), "name": "step"}}
    expected = {"errors": [None, 1.0], "part": {"worst": None, "name": "step"}}
    assert script._as_json(report) == expected


@pytest.mark.thorough
def test_the_script_compiles_and_names_nothing_of_the_project(exported, tmp_path):
    py_compile.compile(str(exported / package.SCRIPT), str(tmp_path / "x.pyc"), doraise=True)
    source = (exported / package.SCRIPT).read_text()
    lines = [line for line in source.splitlines() if line.startswith(("import", "from"))]
    assert not [line for line in lines if "rgan_tf" in line or "tensorflow" in line]


@pytest.mark.slow  # XLA compiles the step twice
def test_jax_runs_it_with_the_same_figures(exported):
    python = JAX_PYTHON or (importlib.util.find_spec("jax") and sys.executable)
    if not python:
        pytest.skip("JAX is not installed; RGAN_JAX_PYTHON may name a Python that has it")
    surroundings = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [python, exported / package.SCRIPT, "--steps", "5", "--seconds", "1800"],
        capture_output=True,
        text=True,
        env=surroundings,
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["checks_passed"] and list(report["parts"]) == PARTS
    assert report["parts"]["select_4"]["errors"]["choice"] == 0
    step = report["parts"]["joint_2"]
    assert step["finite"] and step["skipped_steps"] == 0 and step["kernels"] > 100
    assert all(name in done.stderr for name in PARTS)
