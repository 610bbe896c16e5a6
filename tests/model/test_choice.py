"""Ways of choosing patches that learn nothing, alone, in the joint step and in synthesis."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import config_from_dict
from rgan_tf.errors import BadInput
from rgan_tf.model.synthesis import reconstruct, synthesise
from rgan_tf.retrieval import choice
from rgan_tf.seeds import Purpose, derive_row_seeds

RULES = tuple(rule for rule in choice.CHOICES if rule != choice.LEARNED)


def seeds(rows, first=0):
    return derive_row_seeds(tf.range(first, first + rows), Purpose.GUMBEL_NOISE)


def with_rule(config, rule):
    return dataclasses.replace(config, retrieval=dataclasses.replace(config.retrieval, choice=rule))


def test_the_config_knows_every_rule():
    assert choice.CHOICES == ("learned", "nearest", "nearest_random", "own", "noise")
    with pytest.raises(BadInput, match="retrieval.choice must be one of"):
        config_from_dict({"retrieval": {"choice": "best"}})
    with pytest.raises(BadInput, match="choice=nearest needs retrieval.candidates of at most"):
        config_from_dict({"retrieval": {"choice": "nearest", "candidates": 64}})


VALID = tf.constant([[[1, 1, 1, 1, 1], [0, 1, 0, 1, 1], [0, 0, 0, 0, 0]]]) == 1


def test_the_nearest_is_the_first_that_is_there():
    np.testing.assert_array_equal(choice.nearest_slots(VALID, None), [[0, 1, -1]])
    np.testing.assert_array_equal(choice.nearest_slots(VALID, seeds(1)), [[0, 1, -1]])
    np.testing.assert_array_equal(choice.nearest_slots(VALID, None, random_of=3), [[0, 1, -1]])


def test_a_random_one_of_the_three_nearest_evenly():
    many = tf.tile(VALID, [3000, 1, 1])
    slots = choice.nearest_slots(many, seeds(3000), random_of=3).numpy()
    for column, expected in enumerate([(0, 1, 2), (1, 3, 4), (-1,)]):
        values, counts = np.unique(slots[:, column], return_counts=True)
        np.testing.assert_array_equal(values, expected)
        assert counts.min() > 3000 / len(expected) - 150  # six standard deviations
    # Objects of one scene draw by themselves.
    assert 0.2 < (slots[:, 0] == 0)[slots[:, 1] == 1].mean() < 0.47


def test_a_row_draws_the_same_in_every_batch():
    many = tf.tile(VALID, [8, 1, 1])
    whole = choice.nearest_slots(many, seeds(8), random_of=3)
    part = choice.nearest_slots(many[5:6], seeds(1, first=5), random_of=3)
    np.testing.assert_array_equal(whole[5:6], part)
    mask = tf.constant([[True, False]] * 8)
    noise = choice.noise_crops([2, 4, 4, 3], seeds(8), mask).numpy()
    np.testing.assert_array_equal(
        noise[5:6], choice.noise_crops([2, 4, 4, 3], seeds(1, first=5), mask[:1])
    )
    assert (noise[:, 1] == 0).all() and -1 <= noise.min() < -0.9 < 0.9 < noise.max() < 1
    assert np.abs(noise[0, 0] - noise[1, 0]).max() > 0.5


@pytest.mark.parametrize("rule", [choice.NEAREST_RANDOM, choice.NOISE])
def test_a_joint_step_trains_the_generator_and_not_the_embedding(
    rule, tiny_config, make_joint, make_batch, fit_once
):
    config = with_rule(tiny_config, rule)
    model = make_joint(config)
    before = [v.numpy() for v in model.networks.embedding.trainable_variables]
    generator = [v.numpy() for v in model.networks.generator.trainable_variables]
    figures = fit_once(model, make_batch(config))
    assert all(np.isfinite(value) for value in figures.values())
    assert figures["loss/generator/selection"] == figures["loss/generator/cooccurrence"] == 0
    for old, new in zip(before, model.networks.embedding.trainable_variables, strict=True):
        np.testing.assert_array_equal(old, new)
    moved = [
        np.abs(old - new).max() > 0
        for old, new in zip(generator, model.networks.generator.trainable_variables, strict=True)
    ]
    assert all(moved)


@pytest.mark.parametrize("rule", RULES)
def test_synthesis_gives_the_generator_what_the_rule_says(
    rule, tiny_config, make_joint, make_batch
):
    config = with_rule(tiny_config, rule)
    model, batch = make_joint(config), make_batch(config)
    rows = tf.range(4)
    made = synthesise(model.networks, batch, row_seeds=rows, boxes=batch["boxes"], rule=rule)
    again = synthesise(model.networks, batch, row_seeds=rows, boxes=batch["boxes"], rule=rule)
    other = synthesise(model.networks, batch, row_seeds=rows + 9, boxes=batch["boxes"], rule=rule)
    np.testing.assert_array_equal(made.images, again.images)
    assert (np.abs(made.crops - other.crops).max() > 0) == (
        rule in (choice.NEAREST_RANDOM, choice.NOISE)
    )
    mask = batch["objects"].numpy() > 0
    assert (made.crops.numpy()[~mask] == 0).all()
    if rule == choice.OWN:
        own = reconstruct(model.networks, batch, batch["boxes"])
        np.testing.assert_array_equal(made.images, own)
    if rule == choice.NEAREST:
        first = batch["candidate_crops"].numpy()[:, :, 0] / np.float32(127.5) - 1
        np.testing.assert_allclose(made.crops.numpy()[mask], first[mask], atol=1e-6)
    if rule in (choice.OWN, choice.NOISE):
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
        return choice.FixedRetrieval(choice.NEAREST_RANDOM)(
            batch, mask, seeds=seeds(4, first), anchors=None, temperature=None, step=None
        )

    slots = choice.fixed_slots(choice.NEAREST_RANDOM, batch["candidate_valid"], seeds(4))
    crops, ids = choice.take_candidates(batch, slots)
    np.testing.assert_array_equal(retrieve(0).crops, crops)
    np.testing.assert_array_equal(retrieve(0).choice_ids, ids)
    assert (retrieve(50).choice_ids.numpy() != ids.numpy()).any()
