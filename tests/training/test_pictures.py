"""The grids of the stages: always the same scenes, in the order that their titles say."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.model.networks import build_retrieval_networks, build_sg2im_networks
from rgan_tf.retrieval.candidates import CandidateTable
from rgan_tf.retrieval.registry import retriever_for
from training.evaluation.pictures import comparison
from training.evaluation.systems import drawing_with, row_seeds, systems_of
from training.pictures import (
    fixed_scenes,
    held_out_split,
    joint_pictures,
    layouts,
    patch_tiles,
    sg2im_pictures,
)


@pytest.fixture(scope="module")
def table(tiny_world, tiny_config):
    rng = np.random.default_rng(0)
    shape = [len(tiny_world.truth("val")), tiny_config.retrieval.candidates]
    ids = rng.integers(0, len(tiny_world.bank), shape).astype(np.int32)
    return CandidateTable(ids, np.zeros([len(tiny_world.bank), 3], np.float32))


def test_scenes_are_the_same_each_time_and_no_more_than_there_are(trained, tiny_world, table):
    first = fixed_scenes(trained, tiny_world, "val", table, 8)
    second = fixed_scenes(trained, tiny_world, "val", table, 8)
    assert len(first["image_id"]) == tiny_world.record_count("val") < 8
    for name, value in first.items():
        np.testing.assert_array_equal(value, second[name])
    assert len(fixed_scenes(trained, tiny_world, "train", None, 3)["image_id"]) == 3


def test_layouts_show_real_objects_only(trained, tiny_world, monkeypatch):
    seen = []

    def record(names, boxes, size, relationships):
        seen.append((names, len(boxes), relationships))
        return np.zeros([size, size, 3], np.uint8)

    monkeypatch.setattr("training.pictures.draw_layout", record)
    batch = fixed_scenes(trained, tiny_world, "val", None, 8)
    assert len(layouts(trained.vocabulary, batch, batch["boxes"])) == len(batch["objects"])
    table = trained.vocabulary
    for (names, boxes, relationships), objects, triples in zip(
        seen, batch["objects"].numpy(), batch["triples"].numpy(), strict=True
    ):
        assert names == [table.objects[value] for value in objects if value > 0]
        assert boxes == len(names)
        assert relationships == [(s, table.predicates[p], o) for s, p, o in triples if s >= 0]


@pytest.mark.parametrize("count", [1, 3, 4, 8, 10])
def test_every_patch_has_its_place(count):
    crops = np.zeros([2, count, 4, 4, 3], np.float32)
    crops += np.linspace(-1, 1, 2 * count).reshape(2, count, 1, 1, 1)
    first, second = patch_tiles(tf.constant(crops))
    assert first.shape == second.shape
    colors = {int(value) for value in np.unique(first)} - {127}
    expected = {int(v) for v in np.round((crops[0, :, 0, 0, 0] + 1) * 127.5)} - {127}
    assert all(min(abs(c - e) for e in expected) <= 1 for c in colors)
    assert len(colors) == len(expected)


def test_the_pictures_of_both_stages(trained, tiny_world, table):
    sg2im = build_sg2im_networks(trained.config, trained.vocabulary)
    networks = build_retrieval_networks(trained.config, trained.vocabulary, trained.feature_size)
    model = SimpleNamespace(average=networks, retriever=retriever_for(trained.config))
    drawn = sg2im_pictures(trained, tiny_world, sg2im)
    drawn |= joint_pictures(trained, tiny_world, model, table)
    assert set(drawn) == {"sg2im", "retrievegan", "sources"}
    rows = tiny_world.record_count("val")
    for picture, columns in ((drawn["sg2im"], 3), (drawn["retrievegan"], 6)):
        assert picture.dtype == np.uint8 and picture.ndim == 3
        assert picture.shape[0] >= rows * 128 and picture.shape[1] >= columns * 128
    drawing = drawing_with(networks)
    systems = systems_of(drawing, networks, sg2im, image_size=32, seed=0)[:2]
    batch = fixed_scenes(trained, tiny_world, "val", table, 8)
    picture = comparison(trained, systems, batch, drawing(batch, None, row_seeds(batch, 0)))
    assert picture.shape[1] >= 5 * 128


def test_training_scenes_are_shown_only_where_nothing_is_held_out(tiny_world):
    assert held_out_split(tiny_world) == "val"
    assert held_out_split(SimpleNamespace(record_count=lambda split: 0)) == "train"
