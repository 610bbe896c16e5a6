"""Every registered layer gives back what it was made with; none can be forgotten here."""

from __future__ import annotations

import importlib
import pkgutil

import tensorflow as tf

import rgan_tf

ARGUMENTS = {
    "BoxPredictor": {"hidden": 6, "minimum_size": 0.1, "instance_codes": True},
    "CanvasDecoder": {
        "canvas_channels": 4,
        "canvas_blocks": 1,
        "decoder_channels": (4, 2),
        "skip": True,
        "composition": True,
    },
    "CooccurrenceEmbedding": {"sizes": (6, 3)},
    "CropEncoder": {"crop_size": 16, "channels": 4},
    "FeatureDiscriminator": {
        "sides": (8, 4),
        "map_channels": (3, 5),
        "channels": 4,
        "seed": 7,
        "spectral_normalization": False,
    },
    "GroupRetrieval": {"straight_through": False, "gradient": "paper", "temperature": 0.5},
    "ImageDiscriminator": {"channels": (4, 8), "spectral_normalization": False},
    "ObjectDiscriminator": {"num_objects": 7, "channels": (4,), "spectral_normalization": False},
    "ObjectImageFuser": {"channels": 4, "attention_weight": 0.5},
    "PatchEmbedding": {"sizes": (6, 3), "initial_scale": 3.0, "start": "frozen"},
    "PatchGenerator": {
        "image_size": 32,
        "crop_size": 16,
        "crop_channels": 4,
        "composition": True,
        "masks": True,
        "skip": True,
    },
    "PatchMask": {"channels": 4},
    "PatchMix": {},
    "RandomMixing": {"sides": (8, 4), "map_channels": (3, 5), "channels": 4, "seed": 7},
    "RefinerLayer": {"channels": 4, "hidden": 6},
    "ResidualBlock": {"channels": 4},
    "SceneGraphEncoder": {"num_objects": 5, "num_predicates": 3, "width": 4, "layers": 1},
    "Sg2imDecoder": {"image_size": 32, "layout_channels": 4, "decoder_channels": (4, 4)},
    "TripletConvolution": {"width": 4, "hidden": 6},
    "TripletMapConvolution": {"filters": 4},
}


def registered() -> dict[str, type]:
    for module in pkgutil.walk_packages(rgan_tf.__path__, "rgan_tf."):
        importlib.import_module(module.name)
    prefix = "rgan_tf>"
    objects = tf.keras.utils.get_custom_objects()
    return {key[len(prefix) :]: value for key, value in objects.items() if key.startswith(prefix)}


def test_every_registered_class_is_listed_here():
    assert set(registered()) == set(ARGUMENTS)


def test_layers_come_back_as_they_were():
    for name, kind in registered().items():
        layer = kind(**ARGUMENTS[name])
        restored = tf.keras.layers.deserialize(tf.keras.layers.serialize(layer))
        assert type(restored) is type(layer), name
        assert restored.get_config() == layer.get_config(), name
        for key, value in ARGUMENTS[name].items():
            given = list(value) if isinstance(value, tuple) else value
            assert layer.get_config()[key] == given, (name, key)
