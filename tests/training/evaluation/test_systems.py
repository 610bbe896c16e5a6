"""Who is compared with whom, on which boxes, with which noise."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.backbones.networks import SPECS
from rgan_tf.backbones.torchvision import TORCHVISION
from rgan_tf.cli import COMMANDS, _build_parser
from rgan_tf.config import Config
from rgan_tf.model.networks import build_retrieval_networks, build_sg2im_networks
from rgan_tf.registered_names import RIVALS
from rgan_tf.retrieval import rules
from rgan_tf.retrieval.candidates import CandidateTable
from rgan_tf.retrieval.registry import RETRIEVERS
from rgan_tf.runs import load_weights, open_run
from training.evaluation.names import JUDGES, NAMES, SYSTEMS, diversity_networks, system_names
from training.evaluation.systems import drawing_with, row_seeds, systems_of
from training.pictures import fixed_scenes


@pytest.fixture(scope="module")
def parts(tiny_world, trained_folder):
    run = open_run(str(trained_folder))
    networks = build_retrieval_networks(run.config, run.vocabulary, run.feature_size)
    load_weights(run, "retrievegan", networks)
    sg2im = build_sg2im_networks(run.config, run.vocabulary)
    load_weights(run, "sg2im", sg2im)
    rng = np.random.default_rng(0)
    ids = rng.integers(0, len(tiny_world.bank), [len(tiny_world.truth("train")), 4])
    related = np.zeros([len(tiny_world.bank), 2], np.float32)
    table = CandidateTable(ids.astype(np.int32), related)
    batch = fixed_scenes(run, tiny_world, "train", table, 4)
    return networks, sg2im, batch


@pytest.fixture(scope="module")
def drawn(parts):
    """The images of every system."""
    return images(parts)


def images(parts, seed=0, batch=None) -> dict[tuple[str, str], np.ndarray]:
    networks, sg2im, whole = parts
    systems = systems_of(drawing_with(networks), networks, sg2im, image_size=32, seed=seed)
    return {(s.name, s.boxes): s.draw(batch or whole).images.numpy() for s in systems}


def test_three_systems_in_both_layouts_and_the_oracle(drawn):
    found = drawn
    names = ("retrievegan", "first_stage", "pasted_canvas")
    expected = {(name, boxes) for name in names for boxes in ("predicted", "true")}
    assert set(found) == expected | {("own_patches", "true")}
    for name, image in found.items():
        assert image.shape == (4, 32, 32, 3) and np.abs(image).max() <= 1.0, name
    for name in names:
        assert np.abs(found[name, "predicted"] - found[name, "true"]).max() > 1e-4


@pytest.mark.thorough  # test_retrieval has the seeds
def test_only_retrieval_depends_on_the_seed(parts, drawn):
    zero, again, one = drawn, images(parts), images(parts, seed=1)
    for key, image in zero.items():
        np.testing.assert_array_equal(image, again[key])
        is_random = key[0] in ("retrievegan", "pasted_canvas")
        assert (np.abs(image - one[key]).max() > 1e-5) == is_random, key


def test_a_scene_looks_the_same_in_another_batch(parts, drawn):
    whole = drawn
    alone = images(parts, batch={name: value[2:3] for name, value in parts[2].items()})
    for key, image in whole.items():
        np.testing.assert_allclose(alone[key][0], image[2], atol=1e-5, err_msg=str(key))


def test_traced_as_in_an_evaluation_they_draw_the_same(parts, drawn):
    """With a seed that is a tensor, as that of the diversity, inside another trace."""
    networks, sg2im, batch = parts
    names = {("retrievegan", "predicted"), ("pasted_canvas", "predicted"), ("own_patches", "true")}

    @tf.function(reduce_retracing=True, autograph=False)
    def draw(batch, seed):
        systems = systems_of(drawing_with(networks), networks, sg2im, image_size=32, seed=seed)
        found = {(system.name, system.boxes): system for system in systems}
        return [found[name].draw(batch).images for name in sorted(names)]

    traced, other = (draw(batch, tf.constant(seed, tf.int64)) for seed in (0, 1))
    for name, image in zip(sorted(names), traced, strict=True):
        np.testing.assert_allclose(image, drawn[name], atol=1e-5, err_msg=str(name))
    assert np.abs(other[-1] - traced[-1]).max() > 1e-5  # RetrieveGAN's follow the seed


def test_seeds_come_from_the_image_and_the_seed():
    ids = tf.constant([5, 9, 5, 2**40, -3], tf.int64)
    seeds = row_seeds({"image_id": ids}, 7).numpy()
    assert seeds.dtype == np.int32 and (seeds >= 0).all()
    assert seeds[0] == seeds[2] and len(set(seeds)) == 4
    np.testing.assert_array_equal(row_seeds({"image_id": ids[1:2]}, 7), seeds[1:2])
    assert (row_seeds({"image_id": ids}, 8).numpy() != seeds).all()


@pytest.mark.parametrize("rule", RETRIEVERS)
def test_a_rule_names_its_system(parts, rule):
    networks, sg2im, batch = parts
    retriever = RETRIEVERS[rule](Config(), None, None)
    systems = systems_of(
        drawing_with(networks, retriever=retriever),
        networks,
        sg2im,
        image_size=32,
        seed=0,
        rule=retriever.name,
    )
    names = {system.name for system in systems}
    assert NAMES[rule] in names and "first_stage" in names
    assert ("pasted_canvas" in names) == (rule != rules.NOISE)
    assert ("own_patches" in names) == (rule not in (rules.NOISE, rules.OWN))
    for system in systems:
        if system.name == NAMES[rule]:
            drawn = system.draw(batch)
            assert np.abs(drawn.images).max() <= 1.0
            same = np.allclose(drawn.boxes, batch["boxes"])
            assert same == (system.boxes == "true")


def test_every_choice_has_a_name_and_the_command_knows_it():
    assert set(NAMES) == set(RETRIEVERS)
    of_choices = {name for rule in NAMES for name in system_names(rule)}
    assert of_choices | set(RIVALS) == set(SYSTEMS)


def test_the_commands_offer_the_judges_that_there_are():
    assert {name for name, spec in SPECS.items() if spec.classifier_files} == set(JUDGES)
    with_maps = {name for name, spec in SPECS.items() if spec.perceptual_layers}
    lpips = {f"lpips_{name}" for name in ("squeezenet_caffe", *TORCHVISION)}
    assert set(diversity_networks()) == with_maps | lpips
    for command, option, offered in (
        ("eval", "--metric-backbone", JUDGES),
        ("compare", "--metric-backbone", JUDGES),
        ("eval", "--diversity-network", diversity_networks()),
    ):
        (tasks,) = (a for a in _build_parser([command], COMMANDS)._actions if a.choices)
        (action,) = (a for a in tasks.choices[command]._actions if option in a.option_strings)
        assert list(action.choices) == list(offered)
