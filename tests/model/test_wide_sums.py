"""No step has a sum of more than two terms: its order would depend on how busy the machine is."""

from __future__ import annotations

import pytest
import tensorflow as tf

from rgan_tf.config import changed
from rgan_tf.model.cooccurrence import CooccurrenceModel
from rgan_tf.retrieval.embedding import CooccurrenceEmbedding
from tests.sums import widest_sum

WITHOUT_READER = ("candidate_crops", "candidate_features", "candidate_cooccurrence")


@pytest.fixture(scope="module")
def tiny_config(tiny_config):
    """With fewer objects: patches are chosen for one after another, and each is traced."""
    return changed(tiny_config, data={"max_objects": 3, "max_triples": 4})


def widest_of_step(model, batch) -> int:
    return widest_sum(tf.function(model.train_step).get_concrete_function(batch))


def test_first_stage(tiny_config, make_sg2im, make_batch):
    batch = make_batch(tiny_config)
    batch = {name: batch[name] for name in ("image", "objects", "boxes", "triples")}
    assert widest_of_step(make_sg2im(tiny_config), batch) == 2


def test_second_stage():
    model = CooccurrenceModel(CooccurrenceEmbedding(sizes=(8, 4)), margin=0.2)
    model.compile(optimizer=tf.keras.optimizers.Adam(1e-3))
    parts = ("anchors", "positives", "negatives")
    batch = {part: tf.random.stateless_normal([6, 12], [0, i]) for i, part in enumerate(parts)}
    batch |= {"labels": tf.range(6)}
    model.embedding(batch["anchors"])
    assert widest_of_step(model, batch) == 2


# The plain joint step, and those with less memory, are looked at in `test_speed_switches.py`.
@pytest.mark.thorough  # the joint step of many candidates stays
def test_joint_stage_with_gradient_penalty(tiny_config, make_joint, make_batch):
    config = changed(
        tiny_config, discriminators={"gradient_penalty": 1.0}, training={"deterministic": True}
    )
    assert widest_of_step(make_joint(config), make_batch(config)) == 2


@pytest.mark.parametrize(
    "form", [pytest.param(form, marks=pytest.mark.thorough) for form in ("one_step", "iterative")]
)
def test_joint_stage_with_many_candidates(tiny_config, make_joint, reader, make_batch, form):
    retrieval = {
        "candidates": 6,
        "exact_candidates": 3,
        "loaded_candidates": 3,
        "selection_loss": form,
        "straight_through": form == "one_step",
    }
    config = changed(tiny_config, retrieval=retrieval)
    batch = make_batch(config)
    ids = tf.where(batch["candidate_valid"], batch["candidate_ids"] % 60, -1)
    batch = {**batch, "candidate_ids": ids}
    for name in WITHOUT_READER:
        del batch[name]
    assert widest_of_step(make_joint(config, reader=reader), batch) == 2
