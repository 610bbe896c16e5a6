"""The step that stages 1 and 3 share, on a model small enough to work out by hand."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.model.adversarial_model import AdversarialModel, LossTerms, _batch_position


class Scalar(tf.keras.Model):
    """One number that learns, and one that does not."""

    def __init__(self, value: float):
        super().__init__()
        self.value = tf.Variable(value, name="value")
        self.fixed = tf.Variable(5.0, trainable=False, name="fixed")
        self.unused = tf.Variable(2.0, name="unused")


class Toy(AdversarialModel):
    """Generator cost w*x + 3w; discriminator cost v*w."""

    def __init__(self, config, **kwargs):
        super().__init__(
            config,
            Scalar(1.0),
            Scalar(9.0),
            Scalar(2.0),
            generator_weights={"first": 2.0, "second": 0.5},
            discriminator_weights={"only": 1.0},
            **kwargs,
        )
        names = ["generator/first", "generator/second", "discriminator/only"]
        self.declare_metrics([f"loss/{name}" for name in names] + ["watch"])

    def compute_terms(self, batch, first_row):
        x = batch["x"]  # [B]
        w, v = self.networks.value, self.discriminators.value
        return LossTerms(
            generator={"first": w * x, "second": 3.0 * w + 0.0 * x},
            discriminator={"only": v * w + 0.0 * x},
            monitors={"watch": tf.reduce_max(x)},
        )


@pytest.fixture
def toy(tiny_config):
    config = dataclasses.replace(
        tiny_config,
        training=dataclasses.replace(tiny_config.training, batch_size=4, ema_decay=0.15),
    )
    model = Toy(config)
    model.compile(tf.keras.optimizers.SGD(0.1), tf.keras.optimizers.SGD(0.1))
    return model


BATCH = {"x": tf.constant([1.0, 2.0, 3.0, 4.0])}


def test_one_step_by_hand(toy):
    figures = {name: float(value) for name, value in toy.train_step(BATCH).items()}
    # d/dw of the mean of 2*w*x + 0.5*3*w is 2 * 2.5 + 1.5 = 6.5; w = 1 - 0.1 * 6.5
    assert float(toy.networks.value) == pytest.approx(0.35)
    # d/dv of v*w is w before its own update, 1: both sides use one forward pass
    assert float(toy.discriminators.value) == pytest.approx(1.9)
    assert float(toy.networks.unused) == 2.0
    assert figures["loss/generator/first"] == pytest.approx(2.5)
    assert figures["loss/generator/second"] == pytest.approx(3.0)
    assert figures["loss/generator"] == pytest.approx(6.5)
    assert figures["loss/discriminator"] == figures["loss/discriminator/only"]
    assert figures["loss/discriminator/only"] == pytest.approx(2.0)
    assert figures["watch"] == 4.0
    assert int(toy.step) == 1


def test_average_starts_at_the_networks_and_follows_by_hand(toy):
    assert float(toy.average.value) == 1.0  # not the 9 it was built with
    toy.train_step(BATCH)
    # decay min(0.15, (1 + 0) / (10 + 0)) = 0.1: average = 0.1 * 1 + 0.9 * 0.35
    assert float(toy.average.value) == pytest.approx(0.415)
    w = float(toy.networks.value)
    toy.train_step(BATCH)
    w -= 0.1 * 6.5
    # decay min(0.15, 2 / 11) = 0.15
    assert float(toy.average.value) == pytest.approx(0.15 * 0.415 + 0.85 * w)
    assert float(toy.average.fixed) == 5.0


def test_optimiser_slots_exist_before_the_first_step(tiny_config):
    # A checkpoint that is restored at once must find them.
    model = Toy(tiny_config)
    model.compile(tf.keras.optimizers.Adam(), tf.keras.optimizers.Adam())
    before = {variable.name for variable in model.generator_optimizer.variables}
    model.train_step(BATCH)
    assert {variable.name for variable in model.generator_optimizer.variables} == before
    assert len(before) > 2


def test_figures_are_means_over_the_interval(toy):
    toy.train_step(BATCH)
    figures = toy.train_step({"x": BATCH["x"] + 10.0})
    assert float(figures["watch"]) == pytest.approx((4.0 + 14.0) / 2)
    toy.reset_metrics()
    assert float(toy.train_step(BATCH)["watch"]) == 4.0


def test_an_undeclared_figure_is_a_mistake(toy):
    with pytest.raises(KeyError, match="declare_metrics"):
        toy.track({"new": tf.constant(1.0)}, tf.constant(True))


def test_what_was_not_finite_in_a_skipped_step_has_a_name(toy):
    toy.train_step(BATCH)
    assert toy.not_finite() == []
    toy.train_step({"x": tf.constant([1.0, np.nan, 3.0, 4.0])})
    # `second` and `only` are NaN too, as they hold 0 * x; the sums `loss/generator` and
    # `loss/discriminator` say no more than their parts.
    assert toy.not_finite() == [
        "loss/generator/first",
        "loss/generator/second",
        "loss/discriminator/only",
        "watch",
    ]
    toy.train_step({"x": BATCH["x"] * 1e9})  # too large, but finite
    assert int(toy.guard.skipped) == 2 and toy.not_finite() == []


@pytest.mark.parametrize("row", [0, 3])
def test_what_was_not_finite_on_any_replica_has_a_name(tiny_config, two_replicas, fit_once, row):
    with two_replicas.scope():
        double = Toy(tiny_config)
        double.compile(tf.keras.optimizers.SGD(0.1), tf.keras.optimizers.SGD(0.1))
    x = np.ones([4], np.float32)
    x[row] = np.nan
    fit_once(double, {"x": tf.constant(x), "objects": tf.zeros([4])})
    assert "loss/generator/first" in double.not_finite()
    fit_once(double, {"x": tf.ones([4]), "objects": tf.zeros([4])})  # the latest one skipped
    assert "loss/generator/first" in double.not_finite()
    fit_once(double, {"x": tf.fill([4], 1e9), "objects": tf.zeros([4])})
    assert int(double.guard.skipped.numpy()) == 2 and double.not_finite() == []


def test_uneven_replicas_equal_one(toy, tiny_config, two_replicas, fit_once):
    """Rows are summed and divided by the global batch: 2 + 1 rows are 3 rows."""
    config = dataclasses.replace(
        tiny_config,
        training=dataclasses.replace(tiny_config.training, batch_size=3, ema_decay=0.15),
    )
    batch = {"x": tf.constant([1.0, 2.0, 6.0]), "objects": tf.zeros([3])}
    with two_replicas.scope():
        double = Toy(config)
        double.compile(tf.keras.optimizers.SGD(0.1), tf.keras.optimizers.SGD(0.1))
    fit_once(double, batch)
    single = Toy(config)
    single.compile(tf.keras.optimizers.SGD(0.1), tf.keras.optimizers.SGD(0.1))
    single.train_step(batch)
    for part in ("networks", "average", "discriminators"):
        np.testing.assert_allclose(
            getattr(double, part).value.numpy(), getattr(single, part).value.numpy(), rtol=1e-6
        )


def _clipped(x):
    if tf.reduce_max(x) > 3.0:
        return x - 1.0
    return x


def _of_ones_own(toy, monkeypatch, loss):
    def compute_terms(batch, first_row):
        w, v = toy.networks.value, toy.discriminators.value
        terms = {"first": w * loss(batch["x"]), "second": w + 0.0 * batch["x"]}
        return LossTerms(terms, {"only": v + 0.0 * batch["x"]}, {})

    monkeypatch.setattr(toy, "compute_terms", compute_terms)
    return tf.function(toy.train_step)


def test_a_condition_on_a_tensor_works_in_a_function_of_tensorflow(toy, monkeypatch):
    figures = _of_ones_own(toy, monkeypatch, tf.function(_clipped))(BATCH)
    assert float(figures["loss/generator/first"]) == pytest.approx(1.5)


@pytest.mark.parametrize(
    ("parts", "jit_compile"), [(1, False), (2, False), (2, True)], ids=["plain", "parts", "XLA"]
)
def test_and_elsewhere_is_refused_and_not_taken_for_true(toy, monkeypatch, parts, jit_compile):
    settings = {"accumulate_steps": parts, "jit_compile": jit_compile}
    training = dataclasses.replace(toy.config.training, **settings)
    toy.config = dataclasses.replace(toy.config, training=training)
    with pytest.raises(
        tf.errors.OperatorNotAllowedInGraphError, match="decorating this function with @tf.function"
    ):
        _of_ones_own(toy, monkeypatch, _clipped)(BATCH)


@pytest.mark.parametrize("rows", [2, 4, 7])
def test_the_loss_does_not_depend_on_the_size_of_the_batch_that_fit_is_given(toy, rows):
    """The config says 4; a batch of equal rows costs the same and moves the weights the same."""
    figures = toy.train_step({"x": tf.fill([rows], 2.0)})
    assert float(figures["loss/generator"]) == pytest.approx(2.0 * 2.0 + 0.5 * 3.0)
    assert float(toy.networks.value) == pytest.approx(1.0 - 0.1 * (2.0 * 2.0 + 0.5 * 3.0))


def test_replicas_with_fewer_rows_stand_at_their_own_place(two_replicas):
    """Of five rows the second replica has the last two: numbers 3 and 4."""

    @tf.function
    def places():
        def place():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            rows = tf.where(replica == 0, 3, 2)
            return _batch_position(rows)

        return two_replicas.run(place)

    first_row, total_rows = places()
    assert [int(v) for v in two_replicas.experimental_local_results(first_row)] == [0, 3]
    assert [int(v) for v in two_replicas.experimental_local_results(total_rows)] == [5, 5]
