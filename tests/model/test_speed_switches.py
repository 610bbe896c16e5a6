"""What makes a step faster or smaller does not change what it computes."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import changed
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.networks import build_discriminators, build_retrieval_networks
from rgan_tf.model.retrievegan import RetrieveGANModel
from tests.sums import widest_sum

FEATURES = 12


@pytest.fixture(scope="module")
def tiny_config(tiny_config):
    """With fewer objects, as patches are chosen for one after another, and each is traced."""
    return changed(tiny_config, data={"max_objects": 3, "max_triples": 4})


@pytest.fixture(scope="module")
def batch(tiny_config, make_batch):
    return make_batch(tiny_config)


@pytest.fixture(scope="module")
def after_a_step(tiny_config, make_lasting_joint, batch):
    """Weights and figures after one step under other settings."""

    def step(config, is_traced=True):
        model, figures = make_lasting_joint(config), None
        if is_traced:
            traced = tf.function(model.train_step).get_concrete_function(batch)
            assert widest_sum(traced) <= 2  # else its bits depend on how busy the machine is
            figures = traced(batch)
        else:
            figures = model.train_step(batch)
        weights = [variable.numpy() for variable in model.variables]
        return weights, {name: float(value) for name, value in figures.items()}

    return step


@pytest.fixture(scope="module")
def plain(after_a_step, tiny_config):
    """(whether it is traced) -> what a step under the plain settings comes to, each once."""
    return functools.cache(lambda is_traced: after_a_step(tiny_config, is_traced))


@pytest.mark.parametrize(
    ("settings", "is_traced"),
    [
        # Tracing takes most of the time; that of a joint step stays in `test_wide_sums`.
        ({"accumulate_steps": 2, "recompute": True}, False),
        *(
            pytest.param(settings, True, marks=pytest.mark.thorough)
            for settings in (
                {"accumulate_steps": 2, "recompute": True},
                {"accumulate_steps": 2},
                {"accumulate_steps": 4},
                {"recompute": True},
                {"jit_compile": True},
            )
        ),
        pytest.param(
            {"jit_compile": True, "accumulate_steps": 2, "recompute": True},
            True,
            marks=pytest.mark.slow,  # compiles for a minute
        ),
    ],
    ids=str,
)
def test_the_step_is_the_same(after_a_step, plain, tiny_config, settings, is_traced):
    weights, figures = after_a_step(changed(tiny_config, training=settings), is_traced)
    expected, told = plain(is_traced)
    for ours, theirs in zip(weights, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=2e-5)
    for name, value in told.items():
        if name != "retrieval/signal_to_noise":  # of the rows that are together
            assert figures[name] == pytest.approx(value, rel=1e-3, abs=1e-4), name


@pytest.mark.thorough
def test_the_comparison_can_fail(after_a_step, plain, tiny_config):
    """A step with another seed of the noise, compared like the others."""
    weights, _ = after_a_step(changed(tiny_config, training={"seed": 7}))
    assert any(
        not np.allclose(ours, theirs, rtol=1e-4, atol=2e-5)
        for ours, theirs in zip(weights, plain(True)[0], strict=True)
    )


@pytest.mark.thorough
def test_with_many_candidates_parts_are_the_same_too(tiny_config, make_joint, reader, make_batch):
    many = {"candidates": 6, "exact_candidates": 3, "loaded_candidates": 3}
    config = changed(tiny_config, retrieval=many)
    batch = make_batch(config)
    ids = tf.where(batch["candidate_valid"], batch["candidate_ids"] % 60, -1)
    batch = {
        name: value
        for name, value in {**batch, "candidate_ids": ids}.items()
        if name not in ("candidate_crops", "candidate_features", "candidate_cooccurrence")
    }
    weights = []
    for parts in (1, 2):
        model = make_joint(changed(config, training={"accumulate_steps": parts}), reader=reader)
        model.train_step(batch)
        weights.append([variable.numpy() for variable in model.networks.variables])
    for whole, split in zip(*weights, strict=True):
        np.testing.assert_allclose(split, whole, rtol=1e-4, atol=2e-5)


@pytest.fixture(scope="module")
def half(tiny_config, vocabulary, pooled_backbone):
    """A compiled joint model in one of the half precisions."""

    def make(precision):
        config = changed(tiny_config, training={"precision": precision})
        tf.keras.utils.set_random_seed(1)
        model = RetrieveGANModel(
            config,
            build_retrieval_networks(config, vocabulary, FEATURES, precision=precision),
            build_retrieval_networks(config, vocabulary, FEATURES),
            build_discriminators(config, vocabulary, precision=precision),
            PerceptualDistance(pooled_backbone),
        )
        model.compile()
        return model

    return make


@pytest.mark.thorough
@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_learns_like_the_whole(half, batch, precision):
    model, whole = half(precision), half("float32")
    assert tf.keras.mixed_precision.global_policy().name == "float32"
    assert all(variable.dtype == tf.float32 for variable in model.networks.trainable_variables)
    outputs = []
    for one in (model, whole):
        terms = one.compute_terms(batch, tf.constant(0))
        for side in (terms.generator, terms.discriminator, terms.monitors):
            for name, term in side.items():
                assert term.dtype == tf.float32, name
                assert np.isfinite(term).all(), name
        outputs.append({name: term.numpy() for name, term in terms.generator.items()})
    ours, theirs = outputs
    # Selection, boxes and what follows from them alone are float32 in both.
    for name in ("selection", "cooccurrence", "box"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-5, err_msg=name)
    assert np.abs(ours["reconstruction"] - theirs["reconstruction"]).max() > 0
    np.testing.assert_allclose(ours["reconstruction"], theirs["reconstruction"], rtol=0.05)

    before = [variable.numpy() for variable in model.networks.generator.trainable_variables]
    step = tf.function(model.train_step)
    for _ in range(2):
        figures = step(batch)
    assert float(figures["guard/skipped"]) == 0
    assert float(model.guard.loss_scale) == (2.0**15 if precision == "float16" else 1.0)
    for old, variable in zip(before, model.networks.generator.trainable_variables, strict=True):
        assert np.isfinite(variable).all() and (old != variable.numpy()).any()


@pytest.mark.thorough  # test_guard has the scale, test_switches the precision
def test_an_overflow_of_float16_is_skipped_and_the_scale_lowered(half, batch):
    model = half("float16")
    model.guard.loss_scale.assign(1e30)
    before = [variable.numpy() for variable in model.networks.variables]
    model.train_step(batch)
    for old, variable in zip(before, model.networks.variables, strict=True):
        np.testing.assert_array_equal(old, variable)
    assert float(model.guard.loss_scale) == np.float32(0.5e30)
    assert int(model.guard.skipped) == 0 and int(model.guard.closed_steps) == 1
