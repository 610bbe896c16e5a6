"""Who may import whom, read from the source of every module."""

from __future__ import annotations

import ast
import functools
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("rgan_tf", "training", "export")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))

# The rooms of the library, in the order in which data flows: each imports only those before it.
ROOMS = (
    (
        "errors",
        "arguments",
        "options",
        "plugins",
        "near_names",
        "registered_names",
        "refusals",
        "cores",
        "vocabulary",
        "storage",
    ),
    ("seeds", "fixed_order"),
    (
        "progress",
        "pictures",
        "scene_graph",
        "contradictions",
        "config",
        "config_files",
        "idle_settings",
        "released",
        "adapters",
    ),
    ("devices", "spread"),
    ("exported", "backbones", "annotations", "world", "bank", "graph", "retrieval", "losses"),
    ("data", "generator", "discriminators", "metrics", "model", "rivals", "runs", "places", "cli"),
)
ORDER = [room for rooms in ROOMS for room in rooms]
WITHOUT_TENSORFLOW = ORDER[: ORDER.index("adapters")]
NEVER = ("keras", "tf_keras", "dill", "joblib")
# Libraries that are one day replaced stay behind these doors.
ONLY_IN = {
    "tensorflow_addons": ("rgan_tf.adapters.addons",),
    "tensorflow_gan": ("rgan_tf.adapters.tfgan",),
    "tensorflow_probability": ("rgan_tf.adapters.tfgan",),
    "apache_beam": ("rgan_tf.adapters.beam", "rgan_tf.adapters.beam_processes"),
    "scann": ("rgan_tf.retrieval.index.scann_index", "rgan_tf.adapters.scann"),
    "tensorflow_gnn": ("rgan_tf.graph", "rgan_tf.generator.refiner", "rgan_tf.data.records"),
    "tensorflow_serving": ("export",),
    "pickle": ("rgan_tf.backbones.torch_file",),  # which knows no names but those of tensors
}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
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
    package, *rest = module.split(".")
    if module == "rgan_tf":  # the front door names every room
        return []
    others = {"rgan_tf": ("training", "export"), "training": ("export",), "export": ("training",)}
    never = (*NEVER, *others[package])
    if package == "rgan_tf" and rest:
        room = rest[0]
        never += tuple(f"rgan_tf.{later}" for later in ORDER[ORDER.index(room) + 1 :])
        if room in WITHOUT_TENSORFLOW and room not in ("seeds", "fixed_order"):
            never += ("tensorflow",)
    for library, homes in ONLY_IN.items():
        never += () if _within(module, homes) else (library,)
    return [f"{module} imports {name}" for name in imports if _within(name, never)]


# Imports inside functions: a command's `main` imports what is slow, so that --help is quick; beside
# these, an import waits where it costs seconds or the package may be absent.
LATE = {
    "rgan_tf": {
        "cli",
        "places",
        "exported",
        "spread",
        "retrieval.index.in_graph",
        "retrieval.index.scann_index",
    },
    "training": set(),
    "export": {
        "client",
        "commands.generate",
        "publishing.fresh_check",
    },
}


def _late_imports(module: str, source: str) -> list[str]:
    """Functions that import, where only a command's `main` may."""
    package, _, rest = module.partition(".")
    if rest in LATE[package]:
        return []
    is_command = rest.startswith(("commands.", "bench."))
    return [
        f"{module}.{function.name}"
        for function in ast.walk(ast.parse(source))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        and not (is_command and function.name == "main")
        and any(isinstance(node, (ast.Import, ast.ImportFrom)) for node in ast.walk(function))
    ]


def test_imports_stand_at_the_top():
    assert not [
        where for path in SOURCES for where in _late_imports(_name(path), path.read_text("utf-8"))
    ]
    late = "def main():\n    import numpy\n"
    assert _late_imports("training.trainer", late) == ["training.trainer.main"]
    assert _late_imports("training.commands.train", late) == []


def test_imports_point_one_way():
    assert not [
        violation
        for path in SOURCES
        for violation in _violations(_name(path), _imports(path.read_text("utf-8")))
    ]


def test_no_modules_import_each_other():
    """Not even late: what two need lies in a third."""
    modules = {_name(path): path.read_text("utf-8") for path in SOURCES}
    graph = {
        name: {found if found in modules else found.rpartition(".")[0] for found in _imports(text)}
        for name, text in modules.items()
        if name != "rgan_tf"  # the front door names every room
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names them


@pytest.mark.parametrize(
    "module, source",
    [
        ("rgan_tf.runs", "import training.trainer"),
        ("training.trainer", "from export import watch"),
        ("export.commands.demo", "def f():\n    from training.commands.prepare import main"),
        ("rgan_tf.model.networks", "import keras"),
        ("rgan_tf.losses.basic", "from rgan_tf import generator"),
        ("rgan_tf.annotations.coco", "import tensorflow_gnn as tfgnn"),
        ("rgan_tf.model.sg2im", "import tensorflow_addons.layers"),
        ("rgan_tf.storage.image", "import tensorflow as tf"),
        ("rgan_tf.graph.encoder", "from rgan_tf import retrieval"),
        ("rgan_tf.config", "from rgan_tf.data import coco"),
        ("rgan_tf.backbones.weights", "import pickle"),
    ],
)
def test_the_rules_catch_what_they_forbid(module, source):
    assert len(_violations(module, _imports(source))) == 1


def test_the_tree_was_found():
    assert {"rgan_tf.cli", "training", "export"} <= {_name(path) for path in SOURCES}


def test_every_room_says_what_it_knows():
    rooms = [path for path in SOURCES if path.name == "__init__.py"]
    assert [_name(p) for p in rooms if not ast.get_docstring(ast.parse(p.read_text("utf-8")))] == []


def test_no_prints_no_pickles_no_eval():
    for path in SOURCES:
        _check_calls(path)


def _check_calls(path: Path) -> None:
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
        assert called != "note" or not _name(path).startswith("rgan_tf"), f"{where} writes a line"
