"""Who may import whom, read from the source of every module."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rgan_tf", "training", "export")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# What a part of the tree never imports, by prefix of the module's dotted name.
NETWORKS = (
    "rgan_tf.graph",
    "rgan_tf.generator",
    "rgan_tf.discriminators",
    "rgan_tf.model",
)
FORBIDDEN = {
    "rgan_tf": ("training", "export", "keras", "tf_keras", "pickle", "dill", "joblib"),
    "training": ("export", "keras", "tf_keras", "pickle"),
    "export": ("training", "keras", "tf_keras", "pickle"),
    "rgan_tf.data": (*NETWORKS, "rgan_tf.losses", "rgan_tf.metrics", "rgan_tf.runs"),
    "rgan_tf.losses": (*NETWORKS, "rgan_tf.runs"),
    "rgan_tf.metrics": (*NETWORKS, "rgan_tf.runs"),
    "rgan_tf.graph": ("rgan_tf.generator", "rgan_tf.model", "rgan_tf.losses", "rgan_tf.metrics"),
    "rgan_tf.generator": ("rgan_tf.model", "rgan_tf.losses", "rgan_tf.metrics"),
    "rgan_tf.retrieval": ("rgan_tf.model", "rgan_tf.generator"),
    "rgan_tf.discriminators": ("rgan_tf.model", "rgan_tf.losses"),
    "rgan_tf.model": ("rgan_tf.runs",),
}
# The base imports no other part of the library, and no TensorFlow.
BASE = (
    "cli",
    "config",
    "errors",
    "files",
    "image",
    "pictures",
    "refusals",
    "renames",
    "scene_graph",
    "vocabulary",
)
# Libraries that are one day replaced stay behind these doors.
ONLY_IN = {
    "tensorflow_addons": ("rgan_tf.adapters.addons",),
    "tensorflow_gan": ("rgan_tf.adapters.tfgan",),
    "tensorflow_probability": ("rgan_tf.adapters.tfgan",),
    "scann": ("rgan_tf.retrieval.scann_index", "rgan_tf.adapters.scann"),
    "tensorflow_gnn": ("rgan_tf.graph", "rgan_tf.generator.refiner", "rgan_tf.data.records"),
    "tensorflow_serving": ("export",),
}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(source: str) -> set[str]:
    """Dotted names of all that is imported, at the top and inside functions."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer they reach"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def _within(name: str, prefixes: tuple[str, ...]) -> bool:
    return any(name == prefix or name.startswith(prefix + ".") for prefix in prefixes)


def _violations(module: str, imports: set[str]) -> list[str]:
    wrong = []
    for part, never in FORBIDDEN.items():
        if _within(module, (part,)):
            wrong += [f"{module} imports {name}" for name in imports if _within(name, never)]
    for library, homes in ONLY_IN.items():
        if not _within(module, homes):
            wrong += [f"{module} imports {name}" for name in imports if _within(name, (library,))]
    if module in {f"rgan_tf.{name}" for name in BASE}:
        allowed = tuple(f"rgan_tf.{name}" for name in BASE)
        for name in imports:
            ours = _within(name, ("rgan_tf",)) and not _within(name, allowed)
            if ours or _within(name, ("tensorflow",)):
                wrong.append(f"{module} imports {name}")
    return wrong


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_imports_point_one_way(path):
    assert _violations(_name(path), _imports(path.read_text("utf-8"))) == []


@pytest.mark.parametrize(
    "module, source",
    [
        ("rgan_tf.runs", "import training.train"),
        ("training.train", "from export import demo"),
        ("export.demo", "def f():\n    from training.prepare import main"),
        ("rgan_tf.model.networks", "import keras"),
        ("rgan_tf.losses.basic", "from rgan_tf import generator"),
        ("rgan_tf.data.coco", "import tensorflow_gnn as tfgnn"),
        ("rgan_tf.model.sg2im", "import tensorflow_addons.layers"),
        ("rgan_tf.image", "import tensorflow as tf"),
        ("rgan_tf.config", "from rgan_tf.data import coco"),
    ],
)
def test_the_rules_catch_what_they_forbid(module, source):
    assert len(_violations(module, _imports(source))) == 1


def test_the_tree_was_found():
    assert {"rgan_tf.cli", "training", "export"} <= {_name(path) for path in SOURCES}


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_no_prints_no_pickles_no_eval(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        where = f"{path.name}:{node.lineno}"
        assert called not in ("eval", "exec", "yaml.load"), where
        pickles = [k for k in node.keywords if k.arg == "allow_pickle"]
        assert all(ast.unparse(k.value) == "False" for k in pickles), where
        if called == "print" and _name(path) != "rgan_tf.cli":
            to_stderr = [k for k in node.keywords if k.arg == "file"]
            assert to_stderr and not _name(path).startswith("rgan_tf"), f"{where} prints"
