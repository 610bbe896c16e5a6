"""What every test shares: a small deterministic TensorFlow, and surroundings that change nothing.

Real images and whole pretrained networks lie beside the project where they are there at all. A test
sees them through `coco_root` and `weights_dir` and in no other way, so every other test does the
same on every machine; those two give their tests the marker `beside`. None reaches for the network.
"""

from __future__ import annotations

import copy
import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as `rgan` does: one process, the same bits
# Tests wait for XLA's compiler, hardly for what it makes; this is LLVM's part alone.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")

import pytest
from hypothesis import settings

# By this name in every process, as `sitecustomize` imports it: one module, one exception.
for folder in ("no_network", "plugins"):
    sys.path.insert(0, str(Path(__file__).parent / folder))
import network_guard  # noqa: E402

if TYPE_CHECKING:
    import tensorflow as tf

pytest_plugins = ["two_workers"]
_PLUGINS_OF_WORKERS = ("random_scenes", "small_coco")
# A conftest.py of a folder may import them before `pytest_configure` does.
pytest.register_assert_rewrite(*_PLUGINS_OF_WORKERS)

# Read before `same_surroundings` hides them.
_BESIDE = {name: os.environ.get(name) for name in ("RGAN_COCO_ROOT", "RGAN_WEIGHTS")}
_PROXIES = [f"{scheme}_proxy" for scheme in ("http", "https", "ftp", "all")]

# A loaded machine is slow, not wrong.
settings.register_profile("rgan_tf", deadline=None, print_blob=True)
settings.load_profile("rgan_tf")


def pytest_configure(config: pytest.Config) -> None:
    """Guards the network; makes two logical CPUs, so that MirroredStrategy has two replicas.

    The process that only hands out the tests to others needs no TensorFlow: they would wait for it.
    """
    network_guard.install()
    folders = [str(Path(network_guard.__file__).parent), os.environ.get("PYTHONPATH")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, folders))  # of child processes
    if config.getoption("dist", "no") != "no" and not hasattr(config, "workerinput"):
        return
    for plugin in _PLUGINS_OF_WORKERS:
        config.pluginmanager.import_plugin(plugin)
    import tensorflow as tf

    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks the tests that differ with what lies beside the project."""
    for item in items:
        if not {"coco_root", "weights_dir"}.isdisjoint(getattr(item, "fixturenames", ())):
            item.add_marker("beside")


def pytest_collection_finish() -> None:
    """Sets aside what imports made: the collector would walk a million objects again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


@pytest.fixture(scope="session", autouse=True)
def same_surroundings():
    """Hides what the product would find on one machine and not on another."""
    import tensorflow as tf

    with pytest.MonkeyPatch.context() as patch:
        for name in [*_BESIDE, *_PROXIES, *map(str.upper, _PROXIES)]:
            patch.delenv(name, raising=False)
        # What was fetched once lies in a cache, where the guard of sockets does not see it.
        patch.setattr(
            tf.keras.utils, "get_file", lambda fname, *_, **__: network_guard.forbid(str(fname))
        )
        yield


@pytest.fixture(autouse=True)
def no_network():
    """Fails a test that reached for the network, even where something caught the refusal."""
    network_guard.attempts.clear()
    yield
    assert not network_guard.attempts, "no test reaches for the network"


@pytest.fixture(scope="session", autouse=True)
def networks_once():
    """Pretrained networks from one file are built once in a process: that takes seconds each time.

    They are frozen. `test_backbones.py` builds its own, and so does training, as what is built
    under a strategy belongs to it.
    """
    import tensorflow as tf

    from rgan_tf.backbones.backbone import Backbone

    build, built = Backbone._build, {}

    def build_once(backbone, layers, size, partial, pool):
        spec = backbone._spec
        if tf.distribute.has_strategy() or not spec.weight_files:
            return build(backbone, layers, size, partial, pool)
        path = backbone._path(partial)
        if path is None:  # a stand-in without weights
            return build(backbone, layers, size, partial, pool)
        status = path.stat()
        file = (str(path), status.st_mtime_ns, status.st_size)
        key = (id(spec), file, layers, size, pool)
        if key not in built:
            built[key] = spec, build(backbone, layers, size, partial, pool)  # `spec` keeps its id
        return built[key][1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backbone, "_build", build_once)
        yield build


@pytest.fixture
def offline(monkeypatch) -> None:
    """A user's machine without a network: a download is tried and fails."""
    import tensorflow as tf

    def fail(*args, **kwargs):
        raise OSError("no network in tests")

    monkeypatch.setattr(tf.keras.utils, "get_file", fail)


@pytest.fixture(scope="session")
def coco_root() -> Path:
    """A COCO-format folder with real images (`RGAN_COCO_ROOT`)."""
    return _folder_from("RGAN_COCO_ROOT", "a COCO-format folder with real images")


@pytest.fixture(scope="session")
def weights_dir() -> Path:
    """The folder of pretrained weight files (`RGAN_WEIGHTS`)."""
    return _folder_from("RGAN_WEIGHTS", "a folder of pretrained weight files")


TINY = {
    "name": "tiny",
    "data": {"image_size": 32, "crop_size": 16, "max_objects": 6, "max_triples": 8},
    "graph": {"width": 12, "hidden": 12, "layers": 2, "box_hidden": 12},
    "retrieval": {"candidates": 4, "embedding_sizes": [16, 8], "initial_scale": 4.0},
    "cooccurrence": {"sizes": [16, 8], "triplets_per_step": 8, "steps": 3},
    "generator": {
        "crop_channels": 8,
        "refiner_layers": 1,
        "refiner_hidden": 8,
        "canvas_channels": 8,
        "canvas_blocks": 1,
        "decoder_channels": [8, 8],
    },
    "sg2im": {"layout_channels": 8, "decoder_channels": [8, 8], "steps": 3},
    "discriminators": {"image_channels": [8, 8], "object_channels": [8, 8]},
    # The one that reads the bank's features too: a test needs no second network.
    "losses": {"perceptual_backbone": "mobilenet_v2", "cooccurrence": 0.1},
    "attngan": {"damsm_steps": 2, "damsm_batch_size": 4},
    "training": {"batch_size": 4, "steps": 3, "log_every_steps": 2, "ema_decay": 0.9},
}


@pytest.fixture
def tiny_settings() -> dict:
    """A config of very small networks as plain dicts; the test may change it."""
    return copy.deepcopy(TINY)


@pytest.fixture(scope="session")
def tiny_config():
    """A config of very small networks."""
    from rgan_tf.config_files import config_from_dict

    return config_from_dict(copy.deepcopy(TINY))


@pytest.fixture(scope="session")
def tiny_world(made_once):
    """A prepared procedural world of 24 scenes of 64 px; not to be changed."""
    from rgan_tf.annotations.coco import read_coco_dataset
    from rgan_tf.data.prepare import prepare_dataset
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.world import draw_world

    def draw(inside: Path):
        draw_world(inside / "coco", images=24, size=64, seed=5)
        return read_coco_dataset(inside / "coco", seed=5, kind="procedural")

    def fill(folder: Path) -> None:
        prepare_dataset(draw, folder / "data", image_size=64, progress=False)

    return PreparedData.open(made_once("tiny_world", fill) / "data")


class PooledBackbone:
    """One "map", the shrunken image: traces at once, where any network will do."""

    name = "pooled"
    perceptual_weights = (1.0,)

    def perceptual_network(self) -> None:
        """It has none."""

    def perceptual(self, images: tf.Tensor) -> list[tf.Tensor]:
        import tensorflow as tf

        return [tf.nn.avg_pool2d(images, 4, 4, "VALID")]


@pytest.fixture
def eagerly():
    """Without traced functions: a few steps of a stage take less time than tracing one.

    `trained_folder`, `test_kill` and `test_faults` train as users do, and so do many tests of
    `make test-all`.
    """
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def pooled_backbone() -> PooledBackbone:
    return PooledBackbone()


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.MirroredStrategy:
    """Two replicas on the two logical CPUs; one for all tests, as its devices are shared."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def _folder_from(variable: str, meaning: str) -> Path:
    value = _BESIDE[variable]
    if not value:
        pytest.skip(f"{variable} does not name {meaning}")
    if not Path(value).is_dir():
        # Set and wrong is a mistake, not an absence: skipping would hide it.
        pytest.fail(f"{variable}={value} is not a folder")
    return Path(value)
