"""How a stage is cut into calls of `fit`, and what a stage without steps leaves."""

from __future__ import annotations

import copy
import dataclasses
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_cooccurrence_embedding, build_sg2im_networks
from rgan_tf.runs import create_run, load_weights, open_run
from rgan_tf.storage.files import write_json_atomic
from training.stages import cooccurrence
from training.stages.cooccurrence import CooccurrenceTask
from training.stages.sg2im import Sg2imTask
from training.stop import StopSignals
from training.trainer import Trainer, segments
from training.workers import Workers


@pytest.fixture
def make_run(tmp_path, tiny_config, tiny_world):
    """A fresh run of the tiny config with some settings replaced, by section."""

    def make(**sections):
        config = copy.copy(tiny_config)
        for section, values in sections.items():
            part = dataclasses.replace(getattr(config, section), **values)
            config = dataclasses.replace(config, **{section: part})
        return create_run(tmp_path / "run", config, tiny_world)

    return make


def trainer(run, callbacks=()) -> Trainer:
    """One replica, nobody who stops it."""
    workers = Workers(tf.distribute.get_strategy(), count=1, index=0)
    return Trainer(run, workers, StopSignals(), callbacks=callbacks)


@given(st.integers(0, 500), st.integers(1, 60))
def test_intervals_are_whole_but_the_last(steps, interval):
    parts = segments(0, steps, interval, 0)
    assert sum(size * epochs for size, epochs in parts) == steps
    assert all(size > 0 and epochs > 0 for size, epochs in parts)
    assert all(size == interval for size, _ in parts[:-1])
    assert len(parts) <= 2


def test_second_stage_does_every_step_once(make_run, tiny_world, monkeypatch, capsys):
    run = make_run(cooccurrence={"steps": 5})
    drawn = []
    inner = cooccurrence.triplet_dataset

    def recorded(*arguments, start_step, **options):
        drawn.append(start_step)
        return inner(*arguments, start_step=start_step, **options)

    monkeypatch.setattr(cooccurrence, "triplet_dataset", recorded)
    assert trainer(run).train(CooccurrenceTask(run, tiny_world))
    assert drawn == [0, 4]  # two intervals of 2, and the odd one
    assert '"step": 5, "of": 5' in capsys.readouterr().err
    assert run.stage_record("cooccurrence")["steps"] == 5
    assert trainer(run).train(CooccurrenceTask(run, tiny_world))
    assert drawn == [0, 4]  # done is done


def test_no_steps_leave_initial_weights(make_run, tiny_world):
    run = make_run(sg2im={"steps": 0}, cooccurrence={"steps": 0})
    assert trainer(run).train(Sg2imTask(run, tiny_world))
    assert trainer(run).train(CooccurrenceTask(run, tiny_world))
    run = open_run(str(run.folder))
    load_weights(run, "sg2im", build_sg2im_networks(run.config, run.vocabulary))
    embedding = build_cooccurrence_embedding(run.config, run.feature_size)
    load_weights(run, "cooccurrence", embedding)
    (mean,) = (variable for variable in embedding.variables if "mean" in variable.name)
    np.testing.assert_allclose(mean, tiny_world.bank.features.astype(np.float64).mean(0), atol=1e-3)
    assert run.stage_record("sg2im")["steps"] == 0


@pytest.mark.parametrize(
    "taken", [pytest.param({}, marks=pytest.mark.thorough), {"taken_from": "OTHER"}]
)
@pytest.mark.usefixtures("eagerly")
def test_a_stage_is_not_begun_again_over_the_weights_that_it_has(make_run, tiny_world, taken):
    """Whoever deleted the checkpoints to save room and asks for more steps keeps what there is."""
    run = make_run(cooccurrence={"steps": 2})
    assert trainer(run).train(CooccurrenceTask(run, tiny_world))
    folder = run.stage_folder("cooccurrence")
    write_json_atomic(folder / "stage.json", {**run.stage_record("cooccurrence"), **taken})
    shutil.rmtree(folder / "checkpoints")
    assert trainer(run).train(CooccurrenceTask(run, tiny_world))  # is done: nothing to go on with
    weights = run.stage_record("cooccurrence")
    more = make_run(cooccurrence={"steps": 3})
    with pytest.raises(
        BadInput, match="no checkpoint from which cooccurrence could resume"
    ) as told:
        trainer(more).train(CooccurrenceTask(more, tiny_world))
    assert ("taken from OTHER" in str(told.value)) == bool(taken)
    assert run.stage_record("cooccurrence") == weights
    shutil.rmtree(folder)  # as the message says
    assert trainer(more).train(CooccurrenceTask(more, tiny_world))
    assert run.stage_record("cooccurrence")["steps"] == 3


@pytest.mark.usefixtures("eagerly")
def test_a_stage_from_the_start_forgets_what_an_earlier_one_left(make_run, tiny_world):
    """Checkpoints that were deleted before there were weights: embeddings of the redraws remain."""
    run = make_run(cooccurrence={"steps": 1})
    task, forgotten = CooccurrenceTask(run, tiny_world), []
    task.forget_after = forgotten.append
    assert trainer(run).train(task)
    assert forgotten == [0]


@pytest.mark.parametrize("images", [1, pytest.param(2, marks=pytest.mark.thorough)])
@pytest.mark.usefixtures("eagerly")
def test_second_stage_ends_beside_a_split_that_allows_no_figure(make_run, tiny_world, images):
    """Its steps are done: a held-out split of one image does not take their result away."""
    run = make_run(cooccurrence={"steps": 1})

    class HeldOut:
        features = np.zeros([2 * images, run.feature_size], np.float16)
        image_ids = np.repeat(np.arange(images), 2)
        category_ids = np.tile([1, 2], images)
        boxes = np.array([[0, 0, 1, 0.5], [0, 0.5, 1, 1]] * images)

        def __len__(self):
            return len(self.features)

    data = copy.copy(tiny_world)
    data.truth = lambda split: HeldOut() if split == "val" else tiny_world.truth(split)
    assert trainer(run).train(CooccurrenceTask(run, data))
    record = run.stage_record("cooccurrence")
    assert record["steps"] == 1 and "same_image_auc_train" in record
    assert ("same_image_auc_val" in record) == (images > 1)


class Built(Exception):
    """Ends a stage whose model has been built."""


def test_initial_weights_do_not_depend_on_what_was_done_before(make_run, tiny_world):
    run = make_run()

    def initial(name: str, place: int) -> np.ndarray:
        layer = tf.keras.layers.Dense(4)

        def build_model():
            layer.build([None, 4])
            raise Built

        task = SimpleNamespace(
            name=name,
            steps=3,
            place=place,
            check=lambda: None,
            prepare=lambda: None,
            build_model=build_model,
        )
        with pytest.raises(Built):
            trainer(run).train(task)
        return layer.kernel.numpy()

    first = initial("retrievegan", 2)
    for _ in range(3):
        tf.keras.layers.Dense(4).build([None, 4])
    np.testing.assert_array_equal(initial("retrievegan", 2), first)
    assert (initial("sg2im", 0) != first).any()
