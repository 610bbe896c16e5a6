"""Keras models round the retrieval layers train, are saved and are loaded again."""

from __future__ import annotations

import functools
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.retrieval.embedding import CooccurrenceEmbedding, PatchEmbedding
from rgan_tf.retrieval.selector import GroupRetrieval, PatchMix

ROWS, OBJECTS, CANDIDATES, FEATURES, SIDE = 16, 3, 4, 12, 4


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(0)
    shape = (ROWS, OBJECTS, CANDIDATES)
    valid = rng.random(shape) < 0.8
    valid[..., 0] = True
    inputs = {
        "features": rng.normal(size=[*shape, FEATURES]).astype(np.float32),
        "crops": rng.integers(0, 256, [*shape, SIDE, SIDE, 3], np.uint8),
        "valid": valid,
        "seeds": rng.integers(0, 99, [ROWS, 2]).astype(np.int32),
    }
    return inputs, rng.normal(size=[ROWS, 1]).astype(np.float32)


def functional() -> tf.keras.Model:
    each = [OBJECTS, CANDIDATES]
    features = tf.keras.Input([*each, FEATURES], name="features")
    crops = tf.keras.Input([*each, SIDE, SIDE, 3], dtype=tf.uint8, name="crops")
    valid = tf.keras.Input(each, dtype=tf.bool, name="valid")
    seeds = tf.keras.Input([2], dtype=tf.int32, name="seeds")
    embedding = PatchEmbedding(sizes=(8, 4), start="frozen")
    retrieval = GroupRetrieval(embedding=embedding, temperature=0.7, gradient="expected")
    selection = retrieval(features, valid, seeds)
    patches = PatchMix()(selection.weights, crops)
    related = CooccurrenceEmbedding(sizes=(6, 4))(features)
    parts = [tf.keras.layers.Flatten()(part) for part in (patches, related)]
    result = tf.keras.layers.Dense(1)(tf.keras.layers.Concatenate()(parts))
    return tf.keras.Model([features, crops, valid, seeds], result)


@tf.keras.utils.register_keras_serializable(package="tests")
class Subclassed(tf.keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embedding = PatchEmbedding(sizes=(8, 4))
        self.retrieval = GroupRetrieval()
        self.mix = PatchMix()
        self.result = tf.keras.layers.Dense(1)

    def call(self, inputs):
        embedded = self.embedding(inputs["features"])  # [B, O, K, D]
        selection = self.retrieval(
            embedded, inputs["valid"], inputs["seeds"], scale=self.embedding.scale
        )
        patches = self.mix(selection.weights, inputs["crops"])  # [B, O, h, w, 3]
        return self.result(tf.reshape(patches, [-1, OBJECTS * SIDE * SIDE * 3]))


@pytest.fixture(scope="module")
def train(scenes):
    """Makes and trains a model, each once: (function that makes it) -> model, values before."""

    @functools.cache
    def make(kind):
        tf.keras.utils.set_random_seed(3)
        model = kind()
        model.compile("sgd", "mse")
        model(scenes[0])
        before = [variable.numpy() for variable in model.trainable_variables]
        model.fit(*scenes, batch_size=8, epochs=1, verbose=0)
        return model, before

    return make


@pytest.fixture(params=[functional, Subclassed])
def trained(request, train):
    return train(request.param)


def test_it_trains_every_variable_the_scale_among_them(trained):
    model, before = trained
    names = [variable.name for variable in model.trainable_variables]
    assert any("log_scale" in name for name in names)
    moved = [
        np.abs(variable.numpy() - old).max() > 0
        for variable, old in zip(model.trainable_variables, before, strict=True)
    ]
    related = [f"{n}" for n, m in zip(names, moved, strict=True) if not m]
    assert not related


@pytest.mark.parametrize(
    ("trained", "file"),
    [
        pytest.param(functional, "model", marks=pytest.mark.thorough),
        (Subclassed, "model.keras"),
        pytest.param(functional, "model.keras", marks=pytest.mark.thorough),
        pytest.param(Subclassed, "model", marks=pytest.mark.thorough),
    ],
    indirect=["trained"],
)
def test_it_is_saved_and_loaded_and_says_the_same_to_the_bit(trained, scenes, tmp_path, file):
    model, _ = trained
    model.save(tmp_path / file)
    loaded = tf.keras.models.load_model(tmp_path / file)
    expected = model.predict(scenes[0], verbose=0)
    np.testing.assert_array_equal(loaded.predict(scenes[0], verbose=0), expected)
    loaded.fit(*scenes, batch_size=8, epochs=1, verbose=0)  # and goes on
    assert np.abs(loaded.predict(scenes[0], verbose=0) - expected).max() > 0


@pytest.mark.thorough
def test_within_a_model_in_half_precision_it_is_copied_and_loaded(scenes, tmp_path):
    tf.keras.utils.set_random_seed(3)
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        inner = functional()
        inputs = [
            tf.keras.Input(each.shape[1:], dtype=each.dtype, name=name)
            for name, each in zip(inner.input_names, inner.inputs, strict=True)
        ]
        result = tf.keras.layers.Activation("tanh", dtype=tf.float32)(inner(inputs))
        outer = tf.keras.Model(inputs, result)
        copies = [type(outer).from_config(outer.get_config()), tf.keras.models.clone_model(outer)]
        outer.compile("sgd", "mse")
        outer.fit(*scenes, batch_size=8, epochs=1, verbose=0)
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    expected = outer.predict(scenes[0], verbose=0)
    for copy in copies:
        assert not {id(w) for w in copy.weights} & {id(w) for w in outer.weights}
        copy.set_weights(outer.get_weights())
        np.testing.assert_array_equal(copy.predict(scenes[0], verbose=0), expected)
    for name in ("outer.keras", "outer"):
        outer.save(tmp_path / name)
        loaded = tf.keras.models.load_model(tmp_path / name)
        # Another graph may round to bfloat16 in other places: by one unit of its last place.
        np.testing.assert_allclose(loaded.predict(scenes[0], verbose=0), expected, rtol=2**-7)


@pytest.mark.thorough
@pytest.mark.parametrize("trained", [functional], indirect=True)
def test_another_process_loads_it_once_the_layer_is_mentioned(trained, tmp_path):
    model, _ = trained
    model.save(tmp_path / "model.keras")
    program = (
        "import sys, tensorflow as tf, rgan_tf; rgan_tf.GroupRetrieval; "
        "print(len(tf.keras.models.load_model(sys.argv[1]).weights))"
    )
    words = [sys.executable, "-c", program, str(tmp_path / "model.keras")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.stdout.split() == [str(len(model.weights))], done.stderr


def test_with_an_embedding_it_is_embedding_and_selection_in_turn(scenes):
    inputs, _ = scenes
    embedding = PatchEmbedding(sizes=(8, 4), initial_scale=4.0)
    ours = GroupRetrieval(embedding=embedding, temperature=0.3, straight_through=False)(
        inputs["features"], inputs["valid"], inputs["seeds"]
    )
    expected = GroupRetrieval(straight_through=False)(
        embedding(inputs["features"]),
        inputs["valid"],
        inputs["seeds"],
        scale=embedding.scale,
        temperature=0.3,
    )
    np.testing.assert_array_equal(ours.weights, expected.weights)
