"""No work on padding, and the same results."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.model.judgement import Judge, discriminator_terms, generator_terms
from rgan_tf.model.networks import build_discriminators
from rgan_tf.model.present import PresentObjects
from rgan_tf.seeds import Purpose, derive_batch_seeds

MASK = tf.constant([[True, True, False], [False, False, False], [True, False, False]])


def test_objects_are_taken_and_put_back_by_hand():
    values = tf.reshape(tf.range(9), [3, 3])
    present = PresentObjects(MASK, keeps_padding=False)
    np.testing.assert_array_equal(present.take(values), [0, 1, 6])
    np.testing.assert_array_equal(
        present.put(tf.constant([[5, 6], [7, 8], [9, 10]]))[..., 1],
        [[6, 8, 0], [0, 0, 0], [10, 0, 0]],
    )
    everything = PresentObjects(MASK, keeps_padding=True)
    np.testing.assert_array_equal(everything.take(values), tf.range(9))
    np.testing.assert_array_equal(everything.put(everything.take(values)), values)


def test_sizes_are_known_in_a_graph():
    @tf.function(input_signature=[tf.TensorSpec([None, 3], tf.bool)])
    def sizes(mask):
        for keeps_padding in (True, False):
            present = PresentObjects(mask, keeps_padding=keeps_padding)
            taken = present.take(tf.zeros([tf.shape(mask)[0], 3, 4, 5]))
            assert taken.shape.as_list() == [None, 4, 5]
            assert present.put(taken[..., 0]).shape.as_list() == [None, 3, 4]
        return tf.shape(mask)

    sizes(MASK)


@pytest.fixture(scope="module")
def discriminators(tiny_config, vocabulary):
    tf.keras.utils.set_random_seed(3)
    return build_discriminators(tiny_config, vocabulary)


def _judged(config, discriminators, batch, mask, *, keeps_padding, augmentation="none"):
    """Losses by name, the gradients of both sides, and how many crops were judged."""
    config = dataclasses.replace(
        config,
        discriminators=dataclasses.replace(config.discriminators, augmentation=augmentation),
        training=dataclasses.replace(config.training, jit_compile=keeps_padding),
    )
    judge = Judge(config, discriminators)
    real, boxes, objects = batch["image"], batch["boxes"], batch["objects"]
    fakes = [real[::-1], -0.5 * real]
    judged, of_objects = [], discriminators.object.call

    def counted(crops, **options):
        judged.append(int(tf.shape(crops)[0]) * crops.shape[1])
        return of_objects(crops, **options)

    discriminators.object.call = counted
    try:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(fakes)
            of_real, *of_fakes = judge(
                [real, *fakes],
                [boxes] * 3,
                mask,
                lambda purpose: derive_batch_seeds(5, 1, purpose, rows=len(objects)),
            )
            ours = discriminator_terms(of_real, of_fakes, objects, mask, form="hinge")
            theirs = generator_terms(of_fakes, objects, mask, form="hinge")
            totals = [
                tf.add_n([tf.reduce_sum(t) for t in terms.values()]) for terms in (ours, theirs)
            ]
    finally:
        discriminators.object.call = of_objects
    gradients = tape.gradient(totals[0], discriminators.trainable_variables)
    gradients += tape.gradient(totals[1], fakes)
    losses = {**{f"ours/{k}": v for k, v in ours.items()}, **theirs}
    return losses, gradients, judged


@pytest.mark.parametrize("augmentation", ["none", "color,translation,cutout"])
@pytest.mark.parametrize(
    "case",
    [
        pytest.param("some", marks=pytest.mark.thorough),  # as all rows of the next but one
        "a row without objects",
        pytest.param("no objects at all", marks=pytest.mark.thorough),
    ],
)
def test_losses_and_gradients_are_those_of_the_full_computation(
    tiny_config, make_batch, discriminators, augmentation, case
):
    batch = make_batch(tiny_config)
    mask = batch["objects"] > 0  # [4, 6]
    if case != "some":
        mask &= tf.constant([[True], [False], [True], [True]])
    if case == "no objects at all":
        mask &= False
    batch = {**batch, "objects": tf.where(mask, batch["objects"], 0)}
    results = [
        _judged(
            tiny_config,
            discriminators,
            batch,
            mask,
            keeps_padding=keeps_padding,
            augmentation=augmentation,
        )
        for keeps_padding in (True, False)
    ]
    (full, full_gradients, all_crops), (ours, gradients, crops) = results
    present = 3 * int(tf.reduce_sum(tf.cast(mask, tf.int32)))
    assert all_crops == [3 * 4 * 6] and crops == [max(present, 1)]
    for name, value in full.items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    for one, other in zip(gradients, full_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)
    if case == "some":  # the compared row is not of zeros, so the comparison can fail
        assert all(
            np.abs(gradient).max() > 0 for gradient in full_gradients if gradient.shape != [1]
        )
        turned, *_ = _judged(tiny_config, discriminators, batch, mask[::-1], keeps_padding=False)
        assert not np.allclose(turned["adversarial_object"], full["adversarial_object"], atol=1e-3)


def test_the_object_distance_is_that_of_the_full_computation(
    tiny_config, make_joint, make_batch, monkeypatch
):
    batch = make_batch(tiny_config)
    mask = batch["objects"] > 0
    crops = tf.random.stateless_uniform([4, 6, 32, 32, 3], [1, 2], -1, 1)
    target = tf.random.stateless_uniform([4, 6, 32, 32, 3], [3, 4], -1, 1)
    crops = tf.where(mask[:, :, None, None, None], crops, np.nan)  # padding must not matter
    results = []
    for keeps_padding in (True, False):
        training = dataclasses.replace(tiny_config.training, jit_compile=keeps_padding)
        model = make_joint(dataclasses.replace(tiny_config, training=training))
        with tf.GradientTape() as tape:
            tape.watch(crops)
            distance = model._object_distance(crops, target, mask)
        gradient = tape.gradient(distance, crops)
        results.append((distance.numpy(), gradient.numpy()[mask.numpy()]))
    np.testing.assert_allclose(results[1][0], results[0][0], rtol=1e-5)
    np.testing.assert_allclose(results[1][1], results[0][1], rtol=1e-5, atol=1e-8)
    assert results[0][0].min() > 0.1 and np.abs(results[0][1]).max() > 0


def test_crops_keep_their_random_numbers(tiny_config):
    """An object is changed alike whatever stands before it: its place counts, not its rank."""
    seeds = derive_batch_seeds(5, 1, Purpose.CROP_AUGMENTATION, rows=3)[:, tf.newaxis]
    seeds += tf.range(3)[:, tf.newaxis] * tf.constant([[1, 0]])  # [3, 3, 2]
    present = PresentObjects(MASK, keeps_padding=False)
    np.testing.assert_array_equal(present.take(seeds)[2], seeds[2, 0])
