"""Whole training steps as one XLA program, as they are where a GPU is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.bank.resident_reader import ResidentReader
from rgan_tf.config_files import config_from_dict

# XLA takes about half a minute for each on a quiet machine, and many times that on a busy one.
pytestmark = [pytest.mark.thorough, pytest.mark.timeout(1200)]

_PASSES_ON = {"Placeholder", "Identity", "NoOp"}


@pytest.fixture
def settings(tiny_settings):
    """As few and as small layers as there can be."""
    tiny_settings["data"] |= {"crop_size": 8, "max_objects": 2, "max_triples": 1}
    tiny_settings["graph"] |= {"layers": 1}
    tiny_settings["retrieval"] |= {"candidates": 2, "embedding_sizes": [8]}
    tiny_settings["generator"] |= {"canvas_blocks": 0}
    tiny_settings["sg2im"] |= {"decoder_channels": [4]}
    tiny_settings["discriminators"] |= {"image_channels": [4], "object_channels": [4]}
    # With a small epsilon Adam makes a whole step of the rounding of a tiny gradient.
    tiny_settings["training"] |= {"batch_size": 2, "epsilon": 1e-2, "jit_compile": True}
    return tiny_settings


@pytest.fixture
def smallest(settings):
    return config_from_dict(settings)


@pytest.fixture
def every_switch(settings):
    """What any shipped config has switched on."""
    settings["graph"]["instance_codes"] = True
    settings["retrieval"] |= {"embedding_start": "frozen", "gradient": "expected"}
    settings["generator"] |= {"composition": True, "masks": True, "skip": True}
    settings["discriminators"] |= {"feature": True, "augmentation": "color,translation"}
    settings["losses"] |= {"perceptual_backbone": "squeezenet"}  # the other one judges images
    settings["training"] |= {
        "relit_patches": 0.5,
        "exchanged_patches": 0.5,
        "predicted_boxes": 0.5,
        "predicted_boxes_from": 0.0,
    }
    return config_from_dict(settings)


def plain(config):
    training = dataclasses.replace(config.training, jit_compile=False)
    return dataclasses.replace(config, training=training)


def own_adam(make):
    """Makes models with the product's optimisers, whose updates belong to the program."""

    def made(config, **options):
        model = make(config, **options)
        model.compile()
        return model

    return made


def assert_same(model, other, found, expected):
    for name, value in expected.items():
        assert float(found[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-5), name
    assert found["guard/sound_share"] == 1
    for part in ("networks", "average", "discriminators"):
        pairs = zip(getattr(model, part).variables, getattr(other, part).variables, strict=True)
        for one, two in pairs:
            np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5, err_msg=one.name)


def check(model, other, batch):
    """The step is one program, asks for nothing outside it, and equals the plain step."""
    assert model.compiles_whole_step() and not other.compiles_whole_step()
    graph = tf.function(model.train_step, autograph=False).get_concrete_function(batch).graph
    (program,) = (op for op in graph.get_operations() if op.type not in _PASSES_ON)
    assert program.get_attr("_XlaMustCompile")
    # On a GPU such a variable would lie in the host's memory, where no compiled step reads it.
    assert not [v.name for v in graph.variables if v.dtype == tf.int32]

    # What the step asks for, before XLA chooses kernels: a call of Python would be a custom call.
    # There is none, and the CPU's compiler adds none (`rgan bench nodes --kernels`).
    text = model._compiled_step.experimental_get_compiler_ir(batch)(stage="hlo")
    assert "ENTRY" in text and "custom-call" not in text
    assert_same(model, other, model.train_step(batch), other.train_step(batch))


def test_the_joint_step(every_switch, make_joint, make_batch):
    make = own_adam(make_joint)
    check(make(every_switch), make(plain(every_switch)), make_batch(every_switch, rows=2))


def test_many_candidates_of_a_bank_on_the_device(
    smallest, make_joint, make_batch, reader, random_bank
):
    retrieval = dataclasses.replace(
        smallest.retrieval, candidates=6, exact_candidates=3, loaded_candidates=2
    )
    data = dataclasses.replace(smallest.data, bank_on_device=True)
    config = dataclasses.replace(smallest, retrieval=retrieval, data=data)
    batch = make_batch(config, rows=2)
    ids = tf.where(batch["candidate_valid"], batch["candidate_ids"] % len(reader), -1)
    left = ("candidate_crops", "candidate_features", "candidate_cooccurrence")
    batch = {name: value for name, value in batch.items() if name not in left}
    models = []
    for kind, settings in ((ResidentReader, config), (PatchReader, plain(config))):
        of_bank = kind(random_bank, reader._cooccurrence, crop_size=config.data.crop_size)
        models.append(own_adam(make_joint)(settings, reader=of_bank))
        models[-1].start()
    check(*models, batch | {"candidate_ids": ids})


def test_the_first_stages_step_by_fit(smallest, make_sg2im, make_batch, fit_once):
    """On one device, as `rgan train` makes it."""
    batch = make_batch(smallest, rows=2)
    scene = {name: value for name, value in batch.items() if "candidate" not in name}
    with tf.distribute.OneDeviceStrategy("CPU:0").scope():
        model = own_adam(make_sg2im)(smallest)
    other = own_adam(make_sg2im)(plain(smallest))
    assert_same(model, other, fit_once(model, scene), other.train_step(scene))
    assert model._compiled_step.experimental_get_tracing_count() == 1


def test_replicas_and_parts_are_compiled_up_to_the_gradients(smallest, make_joint, two_replicas):
    model = make_joint(smallest)
    assert model.compiles_whole_step()
    with two_replicas.scope():
        assert not model.compiles_whole_step()
    training = dataclasses.replace(smallest.training, accumulate_steps=2)
    assert not make_joint(dataclasses.replace(smallest, training=training)).compiles_whole_step()
