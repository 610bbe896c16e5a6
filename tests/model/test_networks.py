"""What the networks are made of: every variable at once, the sizes of the config."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.model.networks import (
    build_cooccurrence_embedding,
    build_discriminators,
    build_retrieval_networks,
    build_sg2im_networks,
    empty_graph,
)
from rgan_tf.model.synthesis import reconstruct, synthesise
from tests.model.conftest import BuiltParts

FEATURES = 12


@pytest.fixture(scope="module")
def batch(tiny_config, make_batch):
    return make_batch(tiny_config, rows=3)


def names(network) -> list[str]:
    return [variable.name for variable in network.variables]


def test_every_variable_is_there_before_the_first_call(tiny_config, vocabulary, batch):
    retrieval = build_retrieval_networks(tiny_config, vocabulary, FEATURES)
    sg2im = build_sg2im_networks(tiny_config, vocabulary)
    discriminators = build_discriminators(tiny_config, vocabulary)
    before = [names(network) for network in (retrieval, sg2im, discriminators)]
    assert all(before)
    synthesise(retrieval, batch, row_seeds=None)
    image = reconstruct(retrieval, batch, batch["boxes"])
    graph = {"objects": batch["objects"], "triples": batch["triples"]}
    encoding = sg2im.encoder(graph)
    boxes = sg2im.predict_boxes(graph, encoding)
    sg2im.decoder(encoding.object_vectors, boxes, encoding.object_mask)
    discriminators.image(image, training=True)
    discriminators.object(discriminators.crops(image, boxes), training=True)
    after = [names(network) for network in (retrieval, sg2im, discriminators)]
    assert before == after


def test_sizes_are_those_of_the_config(tiny_config, vocabulary, batch):
    config = dataclasses.replace(
        tiny_config,
        data=dataclasses.replace(tiny_config.data, image_size=48, crop_size=8),
        graph=dataclasses.replace(tiny_config.graph, width=10),
        retrieval=dataclasses.replace(tiny_config.retrieval, embedding_sizes=(9, 7)),
        cooccurrence=dataclasses.replace(tiny_config.cooccurrence, sizes=(6, 4)),
    )
    networks = build_retrieval_networks(config, vocabulary, FEATURES)
    graph = {"objects": batch["objects"], "triples": batch["triples"]}
    encoding = networks.encoder(graph)
    assert encoding.object_vectors.shape == (3, 6, 10)
    boxes = networks.predict_boxes(graph, encoding)
    assert networks.generator(tf.zeros([3, 6, 8, 8, 3]), encoding, boxes).shape == (3, 48, 48, 3)
    assert networks.embedding(batch["candidate_features"]).shape == (3, 6, 4, 7)
    assert float(networks.embedding.scale) == pytest.approx(config.retrieval.initial_scale)
    assert build_cooccurrence_embedding(config, FEATURES)(tf.ones([2, FEATURES])).shape == (2, 4)
    discriminators = build_discriminators(config, vocabulary)
    crops = discriminators.crops(tf.zeros([3, 48, 48, 3]), boxes)
    assert crops.shape == (3, 6, 32, 32, 3)
    logits, classes = discriminators.object(crops)
    assert logits.shape == (3, 6) and classes.shape == (3, 6, vocabulary.num_objects)


@pytest.mark.parametrize("is_on", [True, False])
def test_spectral_normalization_is_a_choice(tiny_config, vocabulary, is_on):
    config = dataclasses.replace(
        tiny_config,
        discriminators=dataclasses.replace(
            tiny_config.discriminators, spectral_normalization=is_on
        ),
    )
    discriminators = build_discriminators(config, vocabulary)
    assert any("sn_u" in name for name in names(discriminators)) == is_on


@pytest.mark.parametrize("build", ["sg2im", "retrieval", "discriminators", "cooccurrence"])
def test_checkpoint_brings_everything_back(tiny_config, vocabulary, tmp_path, build):
    def make(seed):
        tf.keras.utils.set_random_seed(seed)
        return {
            "sg2im": lambda: build_sg2im_networks(tiny_config, vocabulary),
            "retrieval": lambda: build_retrieval_networks(tiny_config, vocabulary, FEATURES),
            "discriminators": lambda: build_discriminators(tiny_config, vocabulary),
            "cooccurrence": lambda: build_cooccurrence_embedding(tiny_config, FEATURES),
        }[build]()

    first, second = make(1), make(2)
    for variable in first.variables:
        if variable.dtype.is_floating:
            variable.assign(
                tf.random.stateless_normal(variable.shape, [1, 2], dtype=variable.dtype)
            )
    path = tf.train.Checkpoint(networks=first).write(str(tmp_path / "weights"))
    status = tf.train.Checkpoint(networks=second).read(path)
    status.assert_existing_objects_matched().assert_consumed()
    for a, b in zip(first.variables, second.variables, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_empty_graph_has_no_objects(tiny_config, vocabulary):
    graph = empty_graph(tiny_config)
    assert graph["objects"].shape == (1, 6) and graph["triples"].shape == (1, 8, 3)
    encoding = build_sg2im_networks(tiny_config, vocabulary).encoder(graph)
    assert not encoding.object_mask.numpy().any()
    assert np.isfinite(encoding.object_vectors).all()


def test_parts_that_tests_share_are_taken_as_they_were_built():
    def build():
        layer = tf.keras.layers.Dense(2)
        layer.build([1, 3])
        return (layer,)

    parts = BuiltParts()
    (first,) = parts.take("dense", 1, build)
    start = first.kernel.numpy()
    first.kernel.assign_add(tf.ones([3, 2]))
    (second,) = parts.take("dense", 1, build)
    assert second is not first  # which is held
    (other,) = parts.take("dense", 2, build)
    assert (other.kernel.numpy() != start).any()  # of another seed
    parts.give_back()
    (again,), (once_more,) = (parts.take("dense", 1, build) for _ in range(2))
    assert {id(again), id(once_more)} == {id(first), id(second)}
    for layer in (again, once_more):
        np.testing.assert_array_equal(layer.kernel, start)
