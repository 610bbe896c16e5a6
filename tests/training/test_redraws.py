"""Half of the candidates from the embedding that is being trained."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.errors import CorruptData
from rgan_tf.retrieval.candidates import CandidateTable
from training.redraws import Redraws
from training.trainer import segments


class Scaled(tf.keras.layers.Layer):
    """Embeds by the first two features, times a weight that training would change."""

    def __init__(self):
        super().__init__()
        self.weight = tf.Variable(1.0)

    def call(self, features):
        return features[:, :2] * self.weight


@pytest.fixture
def redraws(tmp_path, tiny_config, tiny_world):
    retrieval = dataclasses.replace(tiny_config.retrieval, redraw_every_steps=10, candidates=6)
    training = dataclasses.replace(tiny_config.training, checkpoint_every_steps=5)
    config = dataclasses.replace(tiny_config, retrieval=retrieval, training=training)
    bank = tiny_world.bank
    rng = np.random.default_rng(0)
    ids = np.stack([rng.permutation(len(bank))[:6] for _ in range(len(bank))]).astype(np.int32)
    source = CandidateTable(ids, np.zeros([len(bank), 2], np.float32))
    return Redraws(tmp_path / "redraws", config, bank, source, Scaled()), source


def test_before_the_first_redraw_nothing_changes(redraws):
    drawing, source = redraws
    assert drawing.candidates(0) is source and drawing.candidates(9) is source


def test_half_of_the_candidates_are_nearest_by_the_embedding(redraws, tiny_world):
    drawing, source = redraws
    bank = tiny_world.bank
    found = drawing.candidates(10).ids_of(np.arange(len(bank)))
    assert found.shape == (len(bank), 6)
    np.testing.assert_array_equal(found[:, :3], source.ids[:, :3])
    embedded = np.asarray(bank.features[:, :2], np.float16).astype(np.float64)
    for row in range(0, len(bank), 17):
        learned = found[row, 3:]
        alike = (bank.category_ids == bank.category_ids[row]) & (
            bank.image_ids != bank.image_ids[row]
        )
        alike[source.ids[row, :3]] = False
        distances = np.linalg.norm(embedded - embedded[row], axis=1)
        nearest = np.sort(distances[alike])[: min(3, alike.sum())]
        np.testing.assert_allclose(
            np.sort(distances[learned])[: len(nearest)] if alike.sum() >= 3 else nearest,
            nearest,
            atol=1e-3,
        )
        assert len(set(found[row])) == 6


def test_a_continued_run_reads_what_was_drawn_and_not_what_it_would_draw_now(redraws):
    drawing, source = redraws
    rows = np.arange(source.rows)
    drawn = drawing.candidates(10).ids_of(rows)
    drawing._embedding.weight.assign(-3.0)
    drawing._embedding.call = None  # asking it again would fail
    np.testing.assert_array_equal(drawing.candidates(17).ids_of(rows), drawn)
    with pytest.raises(CorruptData, match="step-20.npy: is missing, and step 24"):
        drawing.candidates(24)


def test_a_damaged_redraw_is_refused(redraws):
    drawing, _ = redraws
    drawing.candidates(10)
    path = drawing._folder / "step-10.npy"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CorruptData, match="step-10.npy: damaged"):
        drawing.candidates(12)


def test_old_redraws_are_forgotten_when_no_checkpoint_can_need_them(redraws):
    drawing, _ = redraws
    for step in range(10, 81, 10):
        drawing.candidates(step)
    left = sorted(int(path.stem.split("-")[1]) for path in drawing._folder.iterdir())
    assert left == [50, 60, 70, 80]  # 4 checkpoints of 5 steps, and one redraw before them


def test_after_going_back_later_redraws_are_made_anew(redraws):
    """Else the embedding of the road that led into trouble would be taken for the new one's."""
    drawing, source = redraws
    rows = np.arange(source.rows)
    drawing.candidates(10), drawing.candidates(20)
    drawing.forget_after(15)
    assert [path.name for path in drawing._folder.iterdir()] == ["step-10.npy"]
    before = (drawing._folder / "step-10.npy").read_bytes()
    drawing._embedding.weight.assign(-3.0)
    anew = drawing.candidates(20).ids_of(rows)
    assert anew.shape == (source.rows, 6)
    assert (drawing._folder / "step-10.npy").read_bytes() == before
    stored = np.load(drawing._folder / "step-20.npy").astype(np.float32)
    kept = np.load(drawing._folder / "step-10.npy").astype(np.float32)
    np.testing.assert_allclose(stored, -3.0 * kept, rtol=2e-3)


def test_a_process_that_does_not_write_waits_for_the_one_that_does(redraws):
    drawing, _ = redraws
    drawing._writes = False
    waited = []
    drawing._wait = lambda: waited.append(True)
    with pytest.raises(CorruptData, match="step-10.npy"):
        drawing.candidates(10)  # nobody has written it
    assert waited == [True] and not drawing._folder.exists()


def test_the_age_is_that_of_the_last_step(redraws):
    drawing, _ = redraws
    assert [drawing.age(step) for step in (1, 9, 10, 11, 20, 21)] == [1, 9, 10, 1, 10, 1]


@pytest.mark.parametrize(
    ("first", "last", "redraw", "expected"),
    [
        (0, 10, 0, [(4, 2), (2, 1)]),
        (0, 10, 5, [(4, 1), (1, 1), (4, 1), (1, 1)]),
        (3, 10, 5, [(2, 1), (4, 1), (1, 1)]),
        (5, 10, 5, [(4, 1), (1, 1)]),
    ],
)
def test_training_pauses_where_candidates_are_drawn(first, last, redraw, expected):
    assert segments(first, last, 4, redraw) == expected
