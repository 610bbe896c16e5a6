"""A bank of 50,000 patches, from preparation to a picture: training and serving with ScaNN."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from export.model_folder import open_model
from rgan_tf import cli
from rgan_tf.annotations.annotation import (
    AnnotatedDataset,
    AnnotatedImage,
    AnnotatedObject,
    centre_of,
)
from rgan_tf.config_files import config_from_dict
from rgan_tf.data.prepare import prepare_dataset
from rgan_tf.data.prepared import PreparedData
from rgan_tf.retrieval.index.tuning import LARGE_BANK
from training.api import train

PICTURES = 40  # files; every one stands for many images
PER_IMAGE = 8
IMAGES = -(-LARGE_BANK // PER_IMAGE)


class ColourBackbone:
    """Features of the mean colours of four quarters: cheap, and different for every patch."""

    name = "mobilenet_v2"
    feature_size = 12

    def features(self, images: np.ndarray) -> np.ndarray:
        quarters = np.asarray(images, np.float32).reshape(len(images), 2, 32, 2, 32, 3)
        return quarters.mean(axis=(2, 4)).reshape(len(images), 12) / 255

    @property
    def feature_network(self) -> tf.keras.Model:
        layers = tf.keras.layers
        return tf.keras.Sequential(
            [
                layers.AveragePooling2D(32, input_shape=[64, 64, 3]),
                layers.Flatten(),
                layers.Rescaling(1 / 255),
            ]
        )


def random_dataset(folder, rng) -> AnnotatedDataset:
    """Boxes at random places of noise; of a category by turns."""
    paths = []
    for number in range(PICTURES):
        paths.append(folder / f"{number}.png")
        Image.fromarray(rng.integers(0, 255, [32, 32, 3], np.uint8)).save(paths[-1])
    names = tuple(f"thing {number}" for number in range(20))

    def image(number: int) -> AnnotatedImage:
        corners = rng.uniform(0, 0.6, [PER_IMAGE, 2])
        sizes = rng.uniform(0.2, 0.4, [PER_IMAGE, 2])
        boxes = np.concatenate([corners, corners + sizes], axis=1).tolist()
        objects = tuple(
            AnnotatedObject(names[rng.integers(len(names))], tuple(box), centre_of(box))
            for box in boxes
        )
        path = paths[number % PICTURES]
        pairs = tuple((i, ("above", "below")[i % 2], i + 1) for i in range(PER_IMAGE - 1))
        return AnnotatedImage(number + 1, path, objects, pairs, "CC0", "", path.name, 32, 32)

    images = [image(number) for number in range(IMAGES + 4)]
    return AnnotatedDataset(
        kind="noise",
        splits={
            "train": tuple(images[:IMAGES]),
            "val": tuple(images[IMAGES : IMAGES + 2]),
            "test": tuple(images[IMAGES + 2 :]),
        },
        categories=names,
        predicates=("above", "below"),
        skipped={},
    )


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_training_and_serving_with_scann(
    tiny_settings, tmp_path, monkeypatch, pooled_backbone, capsys
):
    monkeypatch.setattr("training.api.load_backbone", lambda name, folder: pooled_backbone)
    monkeypatch.setattr("export.saved_model.load_backbone", lambda name, folder: ColourBackbone())
    dataset = random_dataset(tmp_path, np.random.default_rng(0))
    prepare_dataset(
        dataset, tmp_path / "data", image_size=32, backbone=ColourBackbone(), progress=False
    )
    data = PreparedData.open(tmp_path / "data")
    assert len(data.bank) >= LARGE_BANK

    tiny_settings["retrieval"] |= {"index": "auto"}
    trained = train(config_from_dict(tiny_settings), data, tmp_path / "run")
    assert trained.stages["retrievegan"]["steps"] == 3
    # `auto` measures both searches; 64 queries among 50,000 rows take ScaNN a fraction of the time.
    assert "index: ScaNN; a batch of 64 takes" in capsys.readouterr().err

    model, graph = tmp_path / "model", tmp_path / "graph.json"
    words = ["export", "--run", tmp_path / "run", "--out", model, "--index", "scann"]
    assert cli.main([str(word) for word in words]) == 0
    assert open_model(model).manifest["index"] == "scann"
    graph.write_text(json.dumps({"objects": ["thing 1", "thing 2"], "relationships": []}))
    words = ["generate", graph, "--model", model, "--out", tmp_path / "out", "--samples", 1]
    assert cli.main([str(word) for word in words]) == 0
    with Image.open(tmp_path / "out" / "sample-0001.png") as image:
        assert image.size == (32, 32)
