"""What every test shares: a small deterministic TensorFlow, and the data that is not committed."""

from __future__ import annotations

import copy
import os
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # before TensorFlow is imported

import pytest
import tensorflow as tf
from hypothesis import settings

# A loaded machine is slow, not wrong.
settings.register_profile("rgan_tf", deadline=None, print_blob=True)
settings.load_profile("rgan_tf")


def pytest_configure() -> None:
    """Makes two logical CPUs, so that MirroredStrategy has two replicas without a GPU."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)


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
    # The one backbone whose weights come with the project.
    "losses": {"perceptual_backbone": "mobilenet_v2", "cooccurrence": 0.1},
    "training": {"batch_size": 4, "steps": 3, "log_every_steps": 2, "ema_decay": 0.9},
}


@pytest.fixture
def tiny_settings() -> dict:
    """A config of very small networks as plain dicts; the test may change it."""
    return copy.deepcopy(TINY)


@pytest.fixture(scope="session")
def tiny_config():
    """A config of very small networks."""
    from rgan_tf.config import config_from_dict

    return config_from_dict(copy.deepcopy(TINY))


@pytest.fixture(scope="session")
def tiny_world(tmp_path_factory):
    """A prepared procedural world of 24 scenes of 64 px; not to be changed."""
    from rgan_tf.data.coco import read_coco_dataset
    from rgan_tf.data.prepare import prepare_dataset
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.data.procedural import draw_world

    folder = tmp_path_factory.mktemp("tiny_world") / "data"

    def draw(inside: Path):
        draw_world(inside / "coco", images=24, size=64, seed=5)
        return read_coco_dataset(inside / "coco", seed=5, kind="procedural")

    prepare_dataset(draw, folder, image_size=64, progress=False)
    return PreparedData.open(folder)


class PooledBackbone:
    """One "map", the shrunken image: traces at once, where the choice of network is no matter."""

    name = "pooled"
    perceptual_network = None
    perceptual_weights = (1.0,)

    def perceptual(self, images: tf.Tensor) -> list[tf.Tensor]:
        return [tf.nn.avg_pool2d(images, 4, 4, "VALID")]


@pytest.fixture(scope="session")
def pooled_backbone() -> PooledBackbone:
    return PooledBackbone()


@pytest.fixture(scope="session")
def two_replicas() -> tf.distribute.MirroredStrategy:
    """Two replicas on the two logical CPUs; one for all tests, as its devices are shared."""
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def _folder_from(variable: str, meaning: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} does not name {meaning}")
    if not Path(value).is_dir():
        # Set and wrong is a mistake, not an absence: skipping would hide it.
        pytest.fail(f"{variable}={value} is not a folder")
    return Path(value)
