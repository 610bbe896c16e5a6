"""What every test shares: a small deterministic TensorFlow, and the data that is not committed."""

from __future__ import annotations

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


def _folder_from(variable: str, meaning: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} does not name {meaning}")
    if not Path(value).is_dir():
        # Set and wrong is a mistake, not an absence: skipping would hide it.
        pytest.fail(f"{variable}={value} is not a folder")
    return Path(value)
