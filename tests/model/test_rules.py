"""Ways of choosing patches that learn nothing, alone, in the joint step and in synthesis."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from nearest_colour import NearestColour

from rgan_tf import registered_names
from rgan_tf.config import Config, changed
from rgan_tf.config_files import config_from_dict
from rgan_tf.errors import BadInput
from rgan_tf.model.synthesis import reconstruct, synthesise
from rgan_tf.retrieval import rules
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.retrieval.patches import take_candidates
from rgan_tf.retrieval.registry import RETRIEVERS, retriever_for
from rgan_tf.retrieval.selection import Candidates, Options, nearest_in_turn
from rgan_tf.seeds import Purpose, derive_row_seeds

RULES = tuple(rule for rule in RETRIEVERS if rule != rules.LEARNED)
SOME = (rules.NEAREST, rules.NOISE)  # with a choice and without; the others go to `test-all`


def seeds(rows, first=0):
    return derive_row_seeds(tf.range(first, first + rows), Purpose.GUMBEL_NOISE)


def with_rule(config, rule):
    return dataclasses.replace(config, retrieval=dataclasses.replace(config.retrieval, choice=rule))


def test_the_config_knows_every_rule():
    assert list(RETRIEVERS) == registered_names.RETRIEVERS
    for name, make in RETRIEVERS.items():
        assert make(Config(), None, None).name == name
    with pytest.raises(BadInput, match="retrieval.choice must be one of"):
        config_from_dict({"retrieval": {"choice": "best"}})
    with pytest.raises(BadInput, match="choice=nearest needs retrieval.candidates of at most"):
        config_from_dict({"retrieval": {"choice": "nearest", "candidates": 64}})


VALID = tf.constant([[[1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]]]) == 1


def slots_of(valid, seeds=None, **options):
    candidates = Candidates(None, valid, None, embeddings=None)
    return nearest_in_turn(candidates, Options(seeds=seeds), **options).choice


def test_the_nearest_is_the_first_that_is_there():
    np.testing.assert_array_equal(slots_of(VALID, None), [[0, 1, -1]])
    np.testing.assert_array_equal(slots_of(VALID, seeds(1)), [[0, 1, -1]])
    np.testing.assert_array_equal(slots_of(VALID, None, random_of=3), [[0, 1, -1]])


def test_a_random_one_of_the_three_nearest_evenly():
    many = tf.tile(VALID, [3000, 1, 1])
    draw = tf.function(lambda: slots_of(many, seeds(3000), random_of=3))  # 3000 rows one by one
    slots = draw().numpy()
    for column, expected in enumerate([(0, 1, 2), (1, 3, 4), (-1,)]):
        values, counts = np.unique(slots[:, column], return_counts=True)
        np.testing.assert_array_equal(values, expected)
        assert counts.min() > 3000 / len(expected) - 150  # six standard deviations
    # Objects of one scene draw by themselves.
    assert 0.2 < (slots[:, 0] == 0)[slots[:, 1] == 1].mean() < 0.47


def test_a_row_draws_the_same_in_every_batch():
    many = tf.tile(VALID, [8, 1, 1])
    whole = slots_of(many, seeds(8), random_of=3)
    part = slots_of(many[5:6], seeds(1, first=5), random_of=3)
    np.testing.assert_array_equal(whole[5:6], part)


def test_a_row_draws_the_same_noise_in_every_batch():
    mask, batch = tf.constant([[True, False]] * 8), {"patch_crops": tf.zeros([8, 2, 4, 4, 3])}
    noise = rules.NoisePatches().crops(batch, mask, seeds(8)).numpy()
    one = {"patch_crops": batch["patch_crops"][:1]}
    part = rules.NoisePatches().crops(one, mask[:1], seeds(1, first=5))
    np.testing.assert_array_equal(noise[5:6], part)
    assert (noise[:, 1] == 0).all() and -1 <= noise.min() < -0.9 < 0.9 < noise.max() < 1
    assert np.abs(noise[0, 0] - noise[1, 0]).max() > 0.5


@pytest.mark.parametrize(
    ("rule", "in_graph"),
    [
        (rules.NOISE, False),
        *(
            pytest.param(rule, True, marks=pytest.mark.thorough)
            for rule in (rules.NEAREST_RANDOM, rules.NOISE)
        ),
    ],
)
def test_a_joint_step_trains_the_generator_and_not_the_embedding(
    rule, in_graph, tiny_config, make_joint, make_batch, fit_once
):
    config = with_rule(tiny_config, rule)
    model, batch = make_joint(config), make_batch(config)
    before = [v.numpy() for v in model.networks.embedding.trainable_variables]
    generator = [v.numpy() for v in model.networks.generator.trainable_variables]
    figures = fit_once(model, batch) if in_graph else model.train_step(batch)
    figures = {name: float(value) for name, value in figures.items()}
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["loss/generator/selection"] == figures["loss/generator/cooccurrence"] == 0
    for old, new in zip(before, model.networks.embedding.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)
    moved = [
        np.abs(old - new).max() > 0
        for old, new in zip(generator, model.networks.generator.trainable_variables, strict=True)
    ]
    assert all(moved)


@pytest.mark.parametrize("in_graph", [False, pytest.param(True, marks=pytest.mark.thorough)])
def test_a_retriever_of_ones_own_trains_and_synthesises(
    in_graph, tiny_config, make_joint, make_batch, fit_once
):
    config = changed(tiny_config, data={"max_objects": 3, "max_triples": 4})  # each is traced
    retriever, batch = NearestColour(), make_batch(config)
    model = make_joint(config, retriever=retriever)
    figures = fit_once(model, batch) if in_graph else model.train_step(batch)
    figures = {name: float(value) for name, value in figures.items()}
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["loss/generator/selection"] == figures["loss/generator/cooccurrence"] == 0
    made = synthesise(model.average, batch, row_seeds=None, retriever=retriever)
    valid, crops = (batch[f"candidate_{name}"].numpy() for name in ("valid", "crops"))
    colours = crops.mean(axis=(3, 4))  # [B, O, K, 3]
    distances = np.linalg.norm(colours - colours[:, :1, :1], axis=-1)  # [B, O, K]
    expected = np.where(valid, distances, np.inf).argmin(axis=2)
    mask = valid.any(axis=2)
    np.testing.assert_array_equal(made.choice.numpy(), np.where(mask, expected, -1))
    # The first object's nearest patch is its own; in the others the learned one chooses otherwise.
    learned = synthesise(model.average, batch, row_seeds=None)
    assert (learned.choice.numpy() != made.choice.numpy()).any()


def test_a_retriever_that_learns_is_given_the_embedding_that_is_trained(tiny_config, make_joint):
    model = make_joint(tiny_config, retriever=LearnedRetriever(tiny_config))
    assert model.retriever.embedding is model.networks.embedding


@pytest.mark.parametrize(
    "rule",
    [pytest.param(rule, marks=() if rule in SOME else pytest.mark.thorough) for rule in RULES],
)
def test_synthesis_gives_the_generator_what_the_rule_says(
    rule, tiny_config, make_joint, make_batch
):
    config = with_rule(tiny_config, rule)
    model, batch = make_joint(config), make_batch(config)
    rows, retriever = tf.range(4), retriever_for(config)
    made = synthesise(
        model.networks, batch, row_seeds=rows, boxes=batch["boxes"], retriever=retriever
    )
    again = synthesise(
        model.networks, batch, row_seeds=rows, boxes=batch["boxes"], retriever=retriever
    )
    other = synthesise(
        model.networks, batch, row_seeds=rows + 9, boxes=batch["boxes"], retriever=retriever
    )
    np.testing.assert_array_equal(made.images, again.images)
    assert (np.abs(made.crops - other.crops).max() > 0) == (
        rule in (rules.NEAREST_RANDOM, rules.NOISE)
    )
    mask = batch["objects"].numpy() > 0
    assert (made.crops.numpy()[~mask] == 0).all()
    if rule == rules.OWN:
        own = reconstruct(model.networks, batch, batch["boxes"])
        np.testing.assert_array_equal(made.images, own)
    if rule == rules.NEAREST:
        first = batch["candidate_crops"].numpy()[:, :, 0] / np.float32(127.5) - 1
        np.testing.assert_allclose(made.crops.numpy()[mask], first[mask], atol=1e-6)
    if rule in (rules.OWN, rules.NOISE):
        assert made.choice is None
    else:
        valid = batch["candidate_valid"].numpy()
        picked = np.take_along_axis(valid, np.maximum(made.choice, 0)[..., None], 2)[..., 0]
        np.testing.assert_array_equal(picked & (made.choice.numpy() >= 0), mask)


def test_the_joint_step_and_synthesis_choose_alike(tiny_config, make_batch):
    """A negative control of the comparison: other seeds choose otherwise."""
    batch = make_batch(tiny_config)
    mask = batch["objects"] > 0

    def retrieve(first):
        return rules.NearestRandomRetriever().retrieve(
            batch, mask, seeds=seeds(4, first), anchors=None, temperature=None, step=None
        )

    slots = slots_of(batch["candidate_valid"], seeds(4), random_of=3)
    crops, ids = take_candidates(batch, slots)
    np.testing.assert_array_equal(retrieve(0).crops, crops)
    np.testing.assert_array_equal(retrieve(0).choice_ids, ids)
    assert (retrieve(50).choice_ids.numpy() != ids.numpy()).any()
