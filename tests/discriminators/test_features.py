"""The discriminator on the maps of a frozen network."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.discriminators.features import FeatureDiscriminator, RandomMixing, noise_pictures

SIZES = {"sides": (31, 15, 7, 3, 3), "map_channels": (64, 128, 256, 384, 512)}  # SqueezeNet, 64 px
SMALL = {"sides": (9, 4, 1), "map_channels": (3, 5, 7)}


def _maps(sizes=SMALL, *, rows: int = 2, seed: int = 0, scale: float = 1.0) -> list[tf.Tensor]:
    return [
        scale * tf.random.stateless_normal([rows, side, side, channels], [seed, index])
        for index, (side, channels) in enumerate(zip(*sizes.values(), strict=True))
    ]


def test_heads_halve_their_map_down_to_four_and_at_least_once():
    layer = FeatureDiscriminator(**SIZES, channels=6)
    shapes = [logits.shape for logits in layer(_maps(SIZES))]
    assert shapes == [(2, 4, 4), (2, 4, 4), (2, 4, 4), (2, 2, 2), (2, 2, 2)]
    assert [len(head.channels) for head in layer.heads] == [3, 2, 1, 1, 1]
    shapes = [logits.shape for logits in FeatureDiscriminator(**SMALL, channels=6)(_maps())]
    assert shapes == [(2, 3, 3), (2, 2, 2), (2, 1, 1)]


def test_mixing_by_hand():
    """Maps of one channel that is even: a value goes through products and one mean alone."""
    layer = RandomMixing(sides=(4, 2), map_channels=(1, 1), channels=1)
    for kernel, value in zip(layer._across, (2.0, 3.0), strict=True):
        kernel.assign([[[[value]]]])
    middle = np.zeros([3, 3, 1, 1], np.float32)
    middle[1, 1] = 1.0  # leaves its map as it is
    for kernel in layer._around:
        kernel.assign(middle)
    layer._offsets[1].assign([0.5])
    shallow, deep = layer([tf.fill([1, 4, 4, 1], 10.0), tf.fill([1, 2, 2, 1], 1.0)])
    np.testing.assert_allclose(deep, np.full([1, 2, 2, 1], 3.0 * (1.0 - 0.5)), rtol=1e-6)
    np.testing.assert_allclose(shallow, np.full([1, 4, 4, 1], (20.0 + 1.5) / 2**0.5), rtol=1e-6)


def test_a_deep_map_reaches_all_shallower_ones_and_no_deeper_one():
    layer, maps = RandomMixing(**SMALL, channels=6), _maps()
    changed = [maps[0], maps[1] + 1.0, maps[2]]
    differ = [
        float(tf.reduce_max(tf.abs(a - b))) > 0.01
        for a, b in zip(layer(maps), layer(changed), strict=True)
    ]
    assert differ == [True, True, False]


def test_calibration_takes_out_what_scale_the_maps_have():
    layer = RandomMixing(**SMALL, channels=6)
    maps = [40.0 * values + 7.0 for values in _maps(rows=8)]
    layer.calibrate(maps)
    once = layer.get_weights()
    for values in layer(maps):
        assert 0.3 < float(tf.math.reduce_std(values)) < 3.0
    layer.calibrate(maps)  # again, and nothing is divided twice
    for one, other in zip(layer.get_weights(), once, strict=True):
        np.testing.assert_array_equal(one, other)
    layer.calibrate([tf.zeros_like(values) for values in maps])  # a map that says nothing
    assert all(np.isfinite(weights).all() for weights in layer.get_weights())


def test_the_mixing_is_a_function_of_the_seed_alone():
    def weights(seed, global_seed):
        tf.keras.utils.set_random_seed(global_seed)
        return RandomMixing(**SMALL, channels=6, seed=seed).get_weights()

    for one, other in zip(weights(1, 1), weights(1, 2), strict=True):
        np.testing.assert_array_equal(one, other)
    kernels = [
        (one, other)
        for one, other in zip(weights(1, 1), weights(2, 1), strict=True)
        if one.ndim == 4
    ]
    assert len(kernels) == 6
    assert all((one != other).all() for one, other in kernels)
    drawn = [np.ravel(one)[:6] for one, _ in kernels]
    assert len({tuple(np.round(values / values[0], 4)) for values in drawn}) == 6


def test_pictures_of_noise_have_all_scales():
    pictures = noise_pictures(4, 32, seed=3)
    assert pictures.shape == (4, 32, 32, 3)
    assert float(tf.reduce_max(tf.abs(pictures))) <= 1.0
    assert 0.4 < float(tf.math.reduce_std(pictures)) < 0.55
    # Neighbours are alike, as in pictures, and unlike in white noise.
    steps = tf.reduce_mean(tf.abs(pictures[:, 1:] - pictures[:, :-1]))
    assert float(steps) < 0.75 * float(tf.reduce_mean(tf.abs(pictures[::-1] - pictures)))
    np.testing.assert_array_equal(pictures, noise_pictures(4, 32, seed=3))
    assert (pictures.numpy() != noise_pictures(4, 32, seed=4).numpy()).any()


@functools.cache
def _trainee():
    """A layer, a step of the hinge loss that is traced once, and all variables with their start."""
    tf.keras.utils.set_random_seed(0)
    layer = FeatureDiscriminator(**SMALL, channels=8)
    layer(_maps(rows=8))
    optimizer = tf.keras.optimizers.Adam(1e-2, beta_1=0.0)
    optimizer.build(layer.trainable_variables)

    @tf.function(autograph=False)
    def step(real, fake):
        with tf.GradientTape() as tape:
            losses = [tf.reduce_mean(tf.nn.relu(1 - head)) for head in layer(real, training=True)]
            losses += [tf.reduce_mean(tf.nn.relu(1 + head)) for head in layer(fake, training=True)]
            loss = tf.add_n(losses)
        variables = layer.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    variables = [*layer.variables, *optimizer.variables]
    return layer, step, [(variable, variable.numpy()) for variable in variables]


def _train(real, fake, steps: int = 30):
    """Mean logits of the heads after some steps from the start."""
    layer, step, start = _trainee()
    for variable, value in start:
        variable.assign(value)
    layer.mixing.calibrate(real)
    frozen = layer.mixing.get_weights()
    kernels = [variable for variable in layer.trainable_variables if "kernel" in variable.name]
    before = [kernel.numpy() for kernel in kernels]
    for _ in range(steps):
        step(real, fake)
    for old, new in zip(frozen, layer.mixing.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    assert len(kernels) == 7  # of four layers that halve, and of the last layer of three heads
    for old, kernel in zip(before, kernels, strict=True):
        assert (old != kernel.numpy()).any(), kernel.name
    return [float(tf.reduce_mean(head)) for maps in (real, fake) for head in layer(maps)]


def test_heads_tell_two_kinds_apart_while_the_mixing_stays():
    real, fake = _maps(rows=8, seed=1), _maps(rows=8, seed=2)
    fake = [values + 1.0 for values in fake]
    logits = _train(real, fake)
    assert min(logits[:3]) > 0.2 and max(logits[3:]) < -0.2
    assert not RandomMixing(**SMALL).trainable_variables


def test_heads_cannot_tell_a_kind_from_itself():
    maps = _maps(rows=8, seed=1)
    logits = _train(maps, maps)
    np.testing.assert_allclose(logits[:3], logits[3:])


def test_rows_do_not_depend_on_each_other():
    layer, maps = FeatureDiscriminator(**SMALL, channels=6), _maps(rows=3)
    alone = layer([values[1:2] for values in maps])
    for whole, row in zip(layer(maps), alone, strict=True):
        np.testing.assert_allclose(row[0], whole[1], atol=1e-5)


def test_half_precision_is_the_heads_alone():
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        layer = FeatureDiscriminator(**SMALL, channels=6)
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
    assert all(head.compute_dtype == "bfloat16" for head in layer.heads)
    assert all(values.dtype == tf.float32 for values in layer.mixing(_maps()))
    exact = FeatureDiscriminator(**SMALL, channels=6)
    exact(_maps())
    logits = layer(_maps())
    exact.set_weights(layer.get_weights())
    for half, whole in zip(logits, exact(_maps()), strict=True):
        assert half.dtype == tf.float32 and (half.numpy() != whole.numpy()).any()
        np.testing.assert_allclose(half, whole, atol=0.1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sides": (4, 2)}, "one side per map"),
        ({"sides": (), "map_channels": ()}, "one side per map"),
        ({"sides": (4, 9, 1)}, "from shallow to deep"),
        ({"sides": (4, 2, 0)}, "from shallow to deep"),
        ({"channels": 0}, "at least 1"),
        ({"map_channels": (3, 0, 7)}, "at least 1"),
    ],
)
def test_bad_argument_is_refused_with_its_value(change, message):
    with pytest.raises(ValueError, match=message):
        RandomMixing(**{**SMALL, "channels": 4, **change})
