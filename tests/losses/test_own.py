"""Losses of a user's own, and the table of those of equation (7)."""

from __future__ import annotations

import importlib
import json
from fractions import Fraction

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import Config, LossConfig
from rgan_tf.config_files import flat_settings
from rgan_tf.losses import GENERATOR_LOSSES
from rgan_tf.losses.own import Loss, StepOutputs, check_names, own_terms

OUTPUTS = StepOutputs(*[None] * 5, selected=tf.fill([3, 4, 4, 3], 0.5), reconstructed=None)


def brightness(outputs):
    return tf.reduce_mean(outputs.selected, axis=[1, 2, 3])


def test_the_table_names_functions_and_weights_that_exist():
    for entry in GENERATOR_LOSSES:
        module, name = entry.function.rsplit(".", 1)
        assert callable(getattr(importlib.import_module(module), name)), entry
        assert isinstance(getattr(LossConfig(), entry.name), float), entry
        assert entry.switch is None or entry.switch in flat_settings(Config()), entry


def test_a_loss_is_one_number_per_scene():
    terms = own_terms([Loss("brightness", brightness, 2.0)], OUTPUTS)
    assert terms["brightness"].numpy().tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(
        ValueError, match=r"loss flat: returned shape \(\), expected one number per scene"
    ):
        own_terms([Loss("flat", lambda outputs: tf.reduce_mean(outputs.selected))], OUTPUTS)
    with pytest.raises(ValueError, match=r"loss one: returned shape \(1,\), expected one number"):
        own_terms([Loss("one", lambda outputs: brightness(outputs)[:1])], OUTPUTS)
    for nothing, kind in ((None, "NoneType"), ({}, "dict")):
        with pytest.raises(ValueError, match=f"loss no: returned {kind}, expected one number per"):
            own_terms([Loss("no", lambda outputs, nothing=nothing: nothing)], OUTPUTS)
    doubles = Loss("doubles", lambda outputs: tf.cast(brightness(outputs), tf.float64))
    assert own_terms([doubles], OUTPUTS)["doubles"].dtype == tf.float32


@pytest.mark.parametrize("name", ["a b", "", 3])
def test_names_are_checked(name):
    with pytest.raises(ValueError, match="name it by letters, digits and underscores"):
        Loss(name, brightness)


@pytest.mark.parametrize("weight", [0.0, -1.0, float("inf"), float("nan"), "1", None])
def test_weights_are_checked(weight):
    with pytest.raises(ValueError, match="loss good: its weight must be above 0 and finite"):
        Loss("good", brightness, weight)


@pytest.mark.parametrize("weight", [np.float32(0.5), np.int64(2), 2, Fraction(1, 2)])
def test_a_weight_is_a_number_that_a_record_can_hold(weight):
    loss = Loss("good", brightness, weight)
    assert json.loads(json.dumps(loss.weight)) == weight
    assert (loss.weight * brightness(OUTPUTS)).dtype == tf.float32


def test_a_loss_is_a_function():
    with pytest.raises(ValueError, match="loss good: compute must be a function"):
        Loss("good", 3.0)


def test_two_losses_of_one_name_are_refused():
    with pytest.raises(ValueError, match="loss selection: another loss has this name"):
        check_names([Loss("selection", brightness)], ["selection"])
    with pytest.raises(ValueError, match="loss twice"):
        check_names([Loss("twice", brightness), Loss("twice", brightness)], [])
