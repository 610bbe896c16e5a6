"""A tiny run trained through the command, once for all tests of this folder."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
import yaml

from rgan_tf import cli
from rgan_tf.runs import open_run
from training.compare import steps as steps_module
from training.compare.steps import Steps


def write_config(path: Path, settings: dict) -> Path:
    """The tiny config as a file; no interval of any kind, and a constant temperature."""
    settings["retrieval"]["temperature_end"] = 1.0  # else it would depend on the number of steps
    settings["training"]["steps"] = 100
    path.write_text(yaml.safe_dump(settings))
    return path


@pytest.fixture(scope="package", autouse=True)
def one_replica():
    """The command takes every device. A second strategy over the same two would wait for the first
    one's collectives, so here it gets one; `tests/model` proves that two replicas equal one."""
    strategy = tf.distribute.MirroredStrategy
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            tf.distribute,
            "MirroredStrategy",
            lambda devices=None, **options: strategy(devices or ["CPU:0"], **options),
        )
        yield


@pytest.fixture
def config_file(tmp_path, tiny_settings) -> Path:
    return write_config(tmp_path / "tiny.yaml", tiny_settings)


@pytest.fixture
def rgan(capfd):
    """Runs a command; returns exit code, standard output and standard error."""

    def run(*words) -> SimpleNamespace:
        capfd.readouterr()
        code = cli.main([str(word) for word in words])
        out, err = capfd.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run


@pytest.fixture
def calls(monkeypatch, color_backbone, capfd):
    """Runs `rgan` commands in this process; what they were, in order."""
    done = []
    places = ("evaluation.judges", "evaluation.diversity", "api", "compare.run")
    for module in (f"training.{place}" for place in places):
        name = f"{module}.load_backbone"
        monkeypatch.setattr(name, lambda *names: color_backbone)

    def run(self, words):
        words = [str(word) for word in words]
        done.append(words)
        capfd.readouterr()
        code = cli.main(words)
        found = capfd.readouterr()
        if code:
            raise steps_module._ERRORS[code](found.err)
        # An outer command has sent what goes to stdout to stderr.
        return json.loads((found.out or found.err).splitlines()[-1])

    monkeypatch.setattr(Steps, "_run", run)
    return done


@pytest.fixture(scope="package")
def trained_folder(one_replica, tiny_world, tiny_config, made_once) -> Path:
    """3 steps of every stage by `rgan train`; not to be changed."""
    from rgan_tf.config_files import config_to_dict

    def fill(folder: Path) -> None:
        config = write_config(folder / "tiny.yaml", config_to_dict(tiny_config))
        words = ["train", config, "--data", tiny_world.folder, "--run", folder / "run"]
        with (folder / "stderr").open("w") as stderr, contextlib.redirect_stderr(stderr):
            code = cli.main([str(word) for word in [*words, "--max-steps", 3]])
        assert code == 0, (folder / "stderr").read_text()

    return made_once("trained", fill) / "run"


@pytest.fixture
def trained(trained_folder):
    """The trained run, opened; not to be changed."""
    return open_run(str(trained_folder))


@pytest.fixture
def copied(trained_folder, tmp_path) -> Path:
    """A copy of the trained run that a test may damage."""
    return Path(shutil.copytree(trained_folder, tmp_path / "copied"))


class ColorBackbone:
    """Mean and deviation of the three colours, and the shrunken image: no weights needed."""

    name = "colors"
    perceptual_weights = (1.0,)
    input_size = 8
    offers_features = True
    feature_weights_sha256 = "none"

    def weights_sha256(self) -> str:
        return "none"

    def perceptual_network(self) -> None:
        """It has none."""

    def perceptual(self, images) -> list[tf.Tensor]:
        return [tf.nn.avg_pool2d(tf.cast(images, tf.float32), 4, 4, "VALID")]

    def features(self, images) -> tf.Tensor:
        return self.final_features(images)

    def final_outputs(self, images) -> tuple[tf.Tensor, tf.Tensor]:
        """Its two classes: how red an image is, and how little."""
        features = self.final_features(images)
        return features, tf.stack([features[:, 0], 1.0 - features[:, 0]], axis=1)

    def final_features(self, images) -> tf.Tensor:
        values = np.asarray(images, np.float64) / 255
        parts = [values.mean(axis=(1, 2)), values.std(axis=(1, 2))]
        return tf.constant(np.concatenate(parts, axis=1), tf.float32)


@pytest.fixture(scope="session")
def color_backbone() -> ColorBackbone:
    return ColorBackbone()
