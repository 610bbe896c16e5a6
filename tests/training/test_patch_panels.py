"""Retrieved patches over their source images: the right image, and the box where the patch is."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rgan_tf.config import DataConfig
from rgan_tf.model.networks import build_retrieval_networks
from rgan_tf.model.synthesis import synthesise
from rgan_tf.retrieval.candidates import CandidateTable
from rgan_tf.retrieval.registry import retriever_for
from training import patch_panels, pictures
from training.patch_panels import boxed, patch_panel
from training.pictures import fixed_scenes, joint_pictures

RED = (255, 0, 0)


@pytest.fixture(scope="module")
def shown(tiny_world, trained_folder):
    """A run, its networks, and a batch whose objects have one candidate each."""
    from rgan_tf.runs import open_run

    run = open_run(str(trained_folder))
    networks = build_retrieval_networks(run.config, run.vocabulary, run.feature_size)
    rng = np.random.default_rng(3)
    ids = rng.integers(0, len(tiny_world.bank), [len(tiny_world.truth("val")), 4])
    table = CandidateTable(ids.astype(np.int32), np.zeros([len(tiny_world.bank), 8], np.float32))
    return SimpleNamespace(
        run=run,
        networks=networks,
        table=table,
        batch=fixed_scenes(run, tiny_world, "val", table, 8),
    )


def retrieved(shown):
    """[B, O]: what the training pictures retrieve."""
    rows = tf.range(len(shown.batch["objects"]))
    return synthesise(shown.networks, shown.batch, row_seeds=rows).choice


def record_sheets(monkeypatch):
    sheets = []

    def record(crops, labels, captions, cell, columns):
        sheets.append(SimpleNamespace(crops=crops, labels=labels, captions=captions, n=columns))
        return np.zeros([4, 4, 3], np.uint8)

    monkeypatch.setattr(patch_panels, "patch_sheet", record)
    return sheets


def test_every_patch_lies_in_its_source_image_where_the_box_is(shown, tiny_world, monkeypatch):
    sheets = record_sheets(monkeypatch)
    patch_panel(shown.run, tiny_world, shown.batch, retrieved(shown))
    objects = shown.batch["objects"].numpy()
    assert len(sheets) == min(4, len(objects))
    store = tiny_world.scenes("train", DataConfig(image_size=32, max_objects=6, max_triples=8))
    for row, sheet in enumerate(sheets):
        names = [shown.run.vocabulary.object_name(int(v)) for v in objects[row] if v]
        assert sheet.n == len(names) and sheet.labels[: sheet.n] == names
        assert len(sheet.crops) == len(sheet.captions) == 2 * sheet.n
        for slot in range(sheet.n):
            chosen = int(sheet.captions[slot].removeprefix("id "))
            assert chosen in shown.batch["candidate_ids"].numpy()[row, slot]
            entry = tiny_world.bank.rows[chosen]
            assert sheet.captions[sheet.n + slot] == f"image {entry['image_id']}, {entry['style']}"
            assert sheet.labels[sheet.n + slot] == entry["category"]
            np.testing.assert_array_equal(
                sheet.crops[slot], tiny_world.bank.crops_at(np.array(chosen), 16)
            )
            (at,) = np.flatnonzero(store.image_ids == entry["image_id"])
            source = Image.fromarray(store.images(np.array([at]))[0])
            plain = np.asarray(source.resize((112, 112), Image.Resampling.BICUBIC))
            differs = (sheet.crops[sheet.n + slot] != plain).any(axis=2)
            ys, xs = np.nonzero(differs)
            found = np.array([ys.min(), xs.min(), ys.max(), xs.max()]) / 111
            np.testing.assert_allclose(found, entry["box"], atol=0.01)


def test_the_same_graphs_and_seeds_give_the_same_panel(shown, tiny_world):
    first = patch_panel(shown.run, tiny_world, shown.batch, retrieved(shown))
    second = patch_panel(shown.run, tiny_world, shown.batch, retrieved(shown))
    np.testing.assert_array_equal(first, second)
    assert first.dtype == np.uint8 and first.shape[1] > 112


def model_of(shown, run):
    return SimpleNamespace(average=shown.networks, retriever=retriever_for(run.config))


@pytest.mark.parametrize("rule", ["learned", "nearest", "own", "noise"])
def test_it_comes_with_the_pictures_unless_no_patch_is_of_the_bank(shown, tiny_world, rule):
    config = shown.run.config
    retrieval = dataclasses.replace(config.retrieval, choice=rule)
    run = dataclasses.replace(shown.run, config=dataclasses.replace(config, retrieval=retrieval))
    drawn = joint_pictures(run, tiny_world, model_of(shown, run), shown.table)
    assert ("sources" in drawn) == (rule in ("learned", "nearest"))
    assert "retrievegan" in drawn


def test_the_panel_shows_the_patches_of_the_grid(shown, tiny_world, monkeypatch):
    """One synthesis for both, so one cannot show other patches than the other."""
    taken = []
    monkeypatch.setattr(
        pictures, "patch_panel", lambda run, data, batch, choice: taken.append(choice)
    )
    joint_pictures(shown.run, tiny_world, model_of(shown, shown.run), shown.table)
    np.testing.assert_array_equal(taken[0], retrieved(shown))


def test_objects_without_a_patch_and_images_that_are_gone_are_grey(shown, tiny_world, monkeypatch):
    sheets = record_sheets(monkeypatch)
    choice = tf.fill(shown.batch["objects"].shape, -1)
    patch_panel(shown.run, tiny_world, shown.batch, choice)
    assert set(sheets[0].captions[: sheets[0].n]) == {"none"}
    assert all((image == 127).all() for image in sheets[0].crops[sheets[0].n :])

    gone = SimpleNamespace(image_ids=np.zeros([0], np.int64))
    elsewhere = SimpleNamespace(bank=tiny_world.bank, scenes=lambda *_, **__: gone)
    patch_panel(shown.run, elsewhere, shown.batch, tf.zeros_like(choice))
    assert all((image == 127).all() for image in sheets[-1].crops[sheets[-1].n :])


def test_a_box_is_drawn_on_its_edges_and_stays_inside():
    image = np.zeros([8, 8, 3], np.uint8)
    drawn = boxed(image, [0.25, 0.5, 0.75, 1.5], 101, RED)
    red = (drawn == RED).all(axis=2)
    ys, xs = np.nonzero(red)
    assert (ys.min(), ys.max(), xs.min(), xs.max()) == (25, 75, 50, 100)
    assert not drawn[35:65, 60:90].any() and not image.any()
