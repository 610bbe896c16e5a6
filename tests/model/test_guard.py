"""The guard's verdict, its counters and its loss scale, and an Adam that it can stop."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.model.gated_adam import GatedAdam
from rgan_tf.model.guard import KEPT_STEPS, UpdateGuard

FINE = tf.constant([1.0, -2.0])
BAD = tf.constant([1.0, np.nan])


def judge(guard, *, loss=1.0, gradient=FINE, step=0) -> bool:
    sound = bool(guard.judge(tf.constant(step), [tf.constant(loss)], [FINE, gradient]))
    guard.end_step()
    return sound


@pytest.mark.parametrize(
    ("loss", "gradient", "sound"),
    [
        (1.0, FINE, True),
        (-1e9, FINE, True),  # a hinge loss may be very negative
        (100.0, FINE, True),
        (100.1, FINE, False),
        (np.nan, FINE, False),
        (-np.inf, FINE, False),
        (1.0, BAD, False),
        (1.0, tf.constant([np.inf, -np.inf]), False),
        (1.0, tf.constant([3e38, 3e38]), False),  # finite parts, no finite sum
    ],
)
def test_what_is_sound(loss, gradient, sound):
    guard = UpdateGuard(loss_upper_bound=100.0)
    assert judge(guard, loss=loss, gradient=gradient) is sound
    assert float(guard.gate) == float(sound)
    assert int(guard.skipped) == int(guard.closed_steps) == (0 if sound else 1)


def test_a_loss_far_above_the_usual_is_unsound():
    """Usual by hand: 2, then (2 + 4) / 2 = 3; the bound is 5 * (1 + 3) = 20."""
    guard = UpdateGuard(loss_jump=5.0)
    assert judge(guard, loss=2.0) and judge(guard, loss=-4.0)
    assert float(guard.usual[0]) == pytest.approx(3.0)
    assert not judge(guard, loss=20.1)
    assert float(guard.usual[0]) == pytest.approx(3.0)  # what was skipped is not usual
    assert judge(guard, loss=19.9)
    with pytest.raises(ValueError, match="loss_jump must be above 1, got 1"):
        UpdateGuard(loss_jump=1)


def test_the_usual_moves_on_slowly():
    guard = UpdateGuard()
    for _ in range(200):
        judge(guard, loss=1.0)
    judge(guard, loss=11.0)
    assert float(guard.usual[0]) == pytest.approx(1.0 + 0.01 * 10.0, rel=1e-4)


def test_every_loss_has_its_own_usual():
    guard = UpdateGuard(losses=2, loss_jump=2.0)

    def both(first, second):
        losses = [tf.constant(first), tf.constant(second)]
        return bool(guard.judge(tf.constant(0), losses, [FINE]))

    assert both(100.0, 1.0)
    assert both(150.0, 1.0) and not both(1.0, 150.0)


def test_counts_by_hand():
    guard = UpdateGuard()
    for step, gradient in enumerate([FINE, BAD, BAD, FINE, BAD]):
        judge(guard, gradient=gradient, step=step)
    assert int(guard.skipped) == 3 and int(guard.skipped_in_row) == 1
    assert guard.recent.numpy().tolist() == [1, 2, 4] + [-1] * (KEPT_STEPS - 3)
    for step in range(100, 100 + KEPT_STEPS):
        judge(guard, gradient=BAD, step=step)
    # The ring goes on where it was: place 3 holds step 100.
    assert sorted(guard.recent.numpy()) == list(range(100, 100 + KEPT_STEPS))
    assert int(guard.skipped_in_row) == KEPT_STEPS + 1


def test_the_loss_scale_grows_slowly_and_falls_at_once(monkeypatch):
    monkeypatch.setattr("rgan_tf.model.guard._SOUND_STEPS_TO_GROW", 3)
    guard = UpdateGuard(scales_loss=True)
    start = float(guard.loss_scale)
    assert judge(guard) and judge(guard) and float(guard.loss_scale) == start
    assert judge(guard) and float(guard.loss_scale) == 2 * start
    # Gradients that overflow in float16 are not a sign of trouble: closed, but not counted as
    # skipped.
    assert not judge(guard, gradient=BAD)
    assert float(guard.loss_scale) == start
    assert int(guard.skipped) == int(guard.skipped_in_row) == 0 and int(guard.closed_steps) == 1
    # A loss that is not a number is trouble at any scale.
    assert not judge(guard, loss=np.nan) and int(guard.skipped) == 1
    for _ in range(40):
        judge(guard, gradient=BAD)
    # At scale 1 there is nothing to blame on the scale any more.
    assert float(guard.loss_scale) == 1.0 and int(guard.skipped_in_row) > 10


def test_without_a_scale_an_overflow_counts():
    guard = UpdateGuard()
    assert not judge(guard, gradient=BAD)
    assert int(guard.skipped) == 1 and float(guard.loss_scale) == 1.0


def test_one_replica_closes_the_gate_for_all(two_replicas):
    with two_replicas.scope():
        guard = UpdateGuard()

    @tf.function
    def step(bad_replica):
        def of_replica():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            gradient = tf.where(replica == bad_replica, np.nan, 1.0)
            verdict = guard.judge(tf.constant(3), [tf.constant(1.0)], [gradient])
            guard.end_step()
            return verdict

        return two_replicas.experimental_local_results(two_replicas.run(of_replica))

    assert [bool(v) for v in step(1)] == [False, False]
    assert [bool(v) for v in step(0)] == [False, False]
    assert [bool(v) for v in step(7)] == [True, True]
    for variable, value in ((guard.skipped, 2), (guard.skipped_in_row, 0), (guard.gate, 1.0)):
        copies = two_replicas.experimental_local_results(variable)
        assert [float(copy) for copy in copies] == [value, value]


def test_a_bound_that_lets_nothing_pass_is_refused():
    with pytest.raises(ValueError, match="above 0, got 0"):
        UpdateGuard(loss_upper_bound=0)


def steps(optimizer, variable, guard, gradients, sound):
    for gradient, is_sound in zip(gradients, sound, strict=True):
        guard.judge(tf.constant(0), [tf.constant(1.0 if is_sound else np.nan)], [FINE])
        safe = tf.constant(gradient) if is_sound else tf.zeros_like(variable)
        optimizer.apply_gradients([(safe, variable)])
        guard.end_step()


def gated(beta_1=0.9, rate=0.1):
    guard, variable = UpdateGuard(), tf.Variable([1.0, -2.0, 3.0])
    optimizer = GatedAdam(rate, beta_1=beta_1, beta_2=0.9, guard=guard)
    optimizer.build([variable])
    return optimizer, variable, guard


GRADIENTS = [[0.5, -1.0, 0.0], [0.1, 2.0, -3.0], [-0.7, 0.2, 1.0], [1.0, 1.0, 1.0]]


FALLING = tf.keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.1, staircase=True)


@pytest.mark.parametrize("beta_1, rate", [(0.0, 0.1), (0.9, 0.1), (0.9, FALLING)])
def test_open_it_is_keras_adam(beta_1, rate):
    optimizer, variable, guard = gated(beta_1, rate)
    theirs, plain = tf.Variable([1.0, -2.0, 3.0]), tf.keras.optimizers.Adam(rate, beta_1, 0.9)
    steps(optimizer, variable, guard, GRADIENTS, [True] * 4)
    for gradient in GRADIENTS:
        plain.apply_gradients([(tf.constant(gradient), theirs)])
    np.testing.assert_allclose(variable, theirs, rtol=1e-6)


def test_its_rate_may_be_set_between_steps_that_are_traced():
    """As a callback of the user's does; docs/training.md says so."""
    optimizer, variable, guard = gated()
    optimizer.build([variable])

    @tf.function
    def step():
        guard.gate.assign(1.0)
        optimizer.apply_gradients([(tf.constant([1.0, 1.0, 1.0]), variable)])

    step()
    before = variable.numpy()
    optimizer.learning_rate = 0.0
    step()
    np.testing.assert_array_equal(variable, before)
    optimizer.learning_rate = 0.1
    step()
    assert (variable.numpy() < before).all()


def test_closed_steps_leave_no_trace():
    """Skipping steps equals never having seen them: weights, moments and bias correction."""
    optimizer, variable, guard = gated()
    steps(optimizer, variable, guard, GRADIENTS[:1] * 3 + GRADIENTS[1:], [0, 1, 0, 1, 1, 1])
    other, expected, other_guard = gated()
    steps(other, expected, other_guard, GRADIENTS, [True] * 4)
    np.testing.assert_array_equal(variable, expected)
    for ours, theirs in zip(optimizer.variables[2:], other.variables[2:], strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_zero_gradients_alone_would_leave_one():
    """What the gate is for: Keras's Adam moves on under a zero gradient."""
    plain, variable = tf.keras.optimizers.Adam(0.1, 0.9, 0.9), tf.Variable([1.0])
    plain.apply_gradients([(tf.constant([1.0]), variable)])
    before = variable.numpy()
    plain.apply_gradients([(tf.constant([0.0]), variable)])
    assert variable.numpy() != before
