"""`train` from Python: configs as objects, callbacks of the user, what it hands to the model."""

from __future__ import annotations

import dataclasses
import random
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

import rgan_tf
from rgan_tf import registered_names
from rgan_tf.config import Config, changed
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.losses.own import Loss
from rgan_tf.model.retrievegan import generator_losses
from rgan_tf.retrieval import registry
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.retrieval.rules import NearestRetriever
from rgan_tf.runs import create_run, open_run
from rgan_tf.storage.image import encode_png
from training.api import Trained, train
from training.configuration import at_most
from training.stages import retrievegan
from training.stages.retrievegan import RetrieveGANTask
from training.trainer import _seeded

WEIGHTS = {"weights_sha256": "1"}


@pytest.fixture(autouse=True)
def quick_backbone(monkeypatch, pooled_backbone):
    monkeypatch.setattr("training.api.load_backbone", lambda name, folder: pooled_backbone)


class Noted(tf.keras.callbacks.Callback):
    """Which steps of which model it saw; ends training at one of them."""

    def __init__(self, stop_at=None):
        super().__init__()
        self.steps = []
        self._stop_at = stop_at

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append((type(self.model).__name__, int(self.model.step.numpy())))
        self.model.stop_training = self.steps[-1] == self._stop_at


@pytest.mark.parametrize("seed", [None, 3])
def test_a_training_leaves_the_generators_of_its_caller(seed):
    """Without a stage: what it trains is drawn from its own seed."""
    followed = []
    for own in (0, 1):
        tf.random.set_seed(seed)
        drawn = _next_draws()
        with _seeded(own):
            inside = tf.random.uniform([4]).numpy()
        assert _next_draws() == drawn
        followed.append(tf.random.uniform([4]).numpy())
        assert not np.array_equal(followed[-1], inside)
    assert np.array_equal(*followed) == (seed is not None)
    assert (tf.compat.v1.get_seed(None)[0] is None) == (seed is None)


def _next_draws() -> tuple:
    """What the caller's generators would draw next."""
    return random.getstate(), str(np.random.get_state())  # noqa: NPY002


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("joint", [0, pytest.param(3, marks=pytest.mark.thorough)])
def test_a_callback_sees_every_step_and_may_end_training(tiny_config, tiny_world, tmp_path, joint):
    """`joint`: steps of the third stage."""
    config, folder = at_most(tiny_config, 3), tmp_path / "run"
    config = dataclasses.replace(config, training=dataclasses.replace(config.training, steps=joint))
    first = Noted(stop_at=("CooccurrenceModel", 1))
    drawn = _next_draws()
    trained = train(config, tiny_world, folder, callbacks=[first])
    assert _next_draws() == drawn
    done = [*(("Sg2imModel", step) for step in (1, 2, 3)), ("CooccurrenceModel", 1)]
    assert first.steps == done
    assert trained.stages["sg2im"]["steps"] == 3
    assert trained.stages["cooccurrence"]["steps"] == 1 and trained.stages["retrievegan"] == {}
    # In a thread of its own, where Python has no signals.
    second, results = Noted(), []
    thread = threading.Thread(
        target=lambda: results.append(
            train(config, str(tiny_world.folder), str(folder), callbacks=[second])
        )
    )
    thread.start()
    thread.join()
    names = {"Sg2imModel": 3, "CooccurrenceModel": 3, "RetrieveGANModel": joint}
    every = [(name, step) for name, steps in names.items() for step in range(1, steps + 1)]
    assert done + second.steps == every
    (result,) = results
    assert [result.stages[stage]["steps"] for stage in result.stages] == [3, 3, joint]
    assert result.run.config.training.steps == joint


class Raising(Noted):
    """Raises at one step."""

    def on_train_batch_end(self, batch, logs=None):
        super().on_train_batch_end(batch, logs)
        if self.steps[-1][1] == 2:
            raise KeyError("mine")


@pytest.mark.thorough
@pytest.mark.usefixtures("eagerly")
def test_a_callback_that_raises_ends_training_and_the_same_call_continues(
    tiny_config, tiny_world, tmp_path
):
    settings = dataclasses.replace(tiny_config.training, steps=0, checkpoint_every_steps=1)
    none = dataclasses.replace(tiny_config.cooccurrence, steps=0)
    config = dataclasses.replace(at_most(tiny_config, 3), training=settings, cooccurrence=none)
    folder, drawn, first, second = tmp_path / "run", _next_draws(), Raising(), Noted()
    with pytest.raises(KeyError, match="mine"):
        train(config, tiny_world, folder, callbacks=[first])
    assert _next_draws() == drawn
    assert not list(folder.rglob("*.partial"))
    trained = train(config, tiny_world, folder, callbacks=[second])
    assert first.steps == [("Sg2imModel", 1), ("Sg2imModel", 2)]
    assert second.steps == [("Sg2imModel", 3)]
    assert trained.stages["sg2im"]["steps"] == 3


def test_what_was_opened_stands_where_its_folder_does(
    tiny_config, tiny_world, tmp_path, monkeypatch
):
    run, bank = create_run(tmp_path / "run", tiny_config, tiny_world), tiny_world.bank
    judge = "training.evaluation.evaluate.evaluate_split"
    monkeypatch.setattr(judge, lambda *args, **options: ({}, None))
    for named in (run, run.folder, str(run.folder)):
        assert rgan_tf.evaluate(named, tiny_world, out=tmp_path / "out")["run"] == str(run.folder)
        assert rgan_tf.write_report(named, data=tiny_world)["run"] == str(run.folder)
        with pytest.raises(BadInput, match=f"--stages-from {run.folder}: .* sg2im"):
            train(tiny_config, tiny_world, tmp_path / "other", stages_from=named)
        with pytest.raises(BadInput, match=f"--run {run.folder}: was started with"):
            train("procedural_64", tiny_world, named)
    copy = rgan_tf.build_bank(tmp_path / "bank", data=tiny_world)
    assert copy["patches"] == len(rgan_tf.PatchBank.open(copy["bank"])) == len(bank)
    (tmp_path / "mine" / "tree").mkdir(parents=True)
    (tmp_path / "mine" / "tree" / "1.png").write_bytes(encode_png(bank.crops[0]))
    for like in (run, tiny_world, bank):
        with pytest.raises(BadInput, match=f"squeezenet: {like.folder} has features of mob"):
            rgan_tf.build_bank(
                tmp_path / "new", folders=tmp_path / "mine", like=like, backbone="squeezenet"
            )
    shipped = open_run("released:procedural_64")  # nothing is written into the package
    with pytest.raises(BadInput, match="run released:procedural_64: comes without data"):
        rgan_tf.RetrieveGAN.from_run(shipped)
    with pytest.raises(BadInput, match="^bank .*procedural_64: is a run without a patch bank"):
        rgan_tf.RetrieveGAN.from_run(run, bank=shipped)
    with pytest.raises(BadInput, match=r"--run Trained\(.*: must be a path as text, or"):
        rgan_tf.evaluate(Trained(run, {}), tiny_world)


def test_a_config_by_hand_is_checked_as_a_file_is(tiny_config, tiny_world, tmp_path):
    wrong = dataclasses.replace(tiny_config.data, image_size=33)
    with pytest.raises(BadInput, match="image_size"):
        train(dataclasses.replace(tiny_config, data=wrong), tiny_world, tmp_path / "run")
    with pytest.raises(BadInput, match="max-steps 0"):
        train(tiny_config, tiny_world, tmp_path / "run", max_steps=0)
    two = {"retrieval": {"index": "scann"}, "training": {"deterministic": True}}
    with pytest.raises(BadInput, match="index=scann: .* the same result; set retrieval.index to"):
        train(changed(tiny_config, **two), tiny_world, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("steps", [0, 3])
def test_data_without_triplets_is_refused_before_the_first_stage(tiny_config, tiny_world, steps):
    """Images of one object each train stage 1 for hours, and stage 2 not at all."""
    data = PreparedData.open(tiny_world.folder)
    data.bank.image_ids = np.arange(len(data.bank))
    part = dataclasses.replace(tiny_config.cooccurrence, steps=steps)
    config = at_most(dataclasses.replace(tiny_config, cooccurrence=part), 3)
    message = "two patches" if steps else "--run .*is a file"
    with pytest.raises(BadInput, match=message) as caught:
        train(config, data, __file__)
    assert not steps or str(caught.value).startswith(f"--data {data.folder}: ")


MINE = NearestRetriever()
LOSS = Loss("dark", lambda outputs: outputs.selected[:, 0, 0, 0])


class Handed(Exception):
    """What a model was made of."""


@pytest.mark.parametrize(
    "given, expected",
    [
        pytest.param({}, {"retriever": None, "losses": ()}, marks=pytest.mark.thorough),
        ({"retriever": MINE, "losses": [LOSS]}, {"retriever": MINE, "losses": (LOSS,)}),
    ],
)
def test_a_retriever_and_losses_reach_the_model(
    tiny_config, tiny_world, tmp_path, monkeypatch, given, expected
):
    def made(*parts, **options):
        raise Handed(options)

    monkeypatch.setattr(retrievegan, "RetrieveGANModel", made)
    parts = {
        section: dataclasses.replace(getattr(tiny_config, section), steps=0)
        for section in ("sg2im", "cooccurrence")
    }
    config = dataclasses.replace(tiny_config, **parts)
    with pytest.raises(Handed) as caught:
        train(config, tiny_world, tmp_path / "run", **given)
    assert caught.value.args == (expected,)
    # A user's own part is not compiled unless the caller says so.
    stored = open_run(str(tmp_path / "run")).config.training
    assert stored.jit_compile == (False if given else "auto")


@pytest.mark.parametrize(
    "retrieval, given, message",
    [
        ({}, {"retriever": NearestRetriever}, "must be an instance of rgan_tf.Retriever"),
        ({"candidates": 64}, {"retriever": MINE}, "retriever nearest: needs retrieval.candidates"),
        ({"redraw_every_steps": 2}, {"retriever": MINE}, "no retrieval.redraw_every_steps"),
        ({}, {"retriever": Retriever()}, "retriever retriever: Retriever has no method choose"),
        ({}, {"losses": [LOSS, LOSS]}, "loss dark: another loss has this name"),
        ({}, {"losses": [dataclasses.replace(LOSS, name="box")]}, "loss box: another loss has"),
        ({}, {"losses": LOSS}, "losses: must be a list of rgan_tf.Loss, got one"),
        ({}, {"losses": [LOSS.compute]}, "losses: must be a list of rgan_tf.Loss, and holds <func"),
        ({}, {"callbacks": tf.keras.callbacks.Callback()}, "callbacks: .* got one; put it into a"),
        ({}, {"callbacks": [tf.keras.callbacks.Callback]}, "callbacks: .* and holds <class"),
        (
            {},
            {"callbacks": [tf.keras.callbacks.LearningRateScheduler(lambda epoch: 1.0)]},
            "callbacks: LearningRateScheduler sets the rate of model.optimizer, by which stages",
        ),
        ({}, {"callbacks": [tf.keras.callbacks.ReduceLROnPlateau()]}, "ReduceLROnPlateau sets"),
        ({}, {"callbacks": None}, "callbacks: must be a list of Keras callbacks, got None"),
        ({}, {"max_steps": 2.5}, "--max-steps 2.5: must be a whole number"),
        ({}, {"max_steps": "2"}, "--max-steps '2': must be a whole number"),
        ({}, {"profile_at": -1}, "--profile -1: must be a step, at least 0"),
        ({}, {"as_they_are": True}, "--as-they-are: only applies to --stages-from"),
    ],
)
def test_what_the_joint_stage_would_refuse_is_refused_before_the_first(
    tiny_config, tiny_world, tmp_path, retrieval, given, message
):
    part = dataclasses.replace(tiny_config.retrieval, **retrieval)
    with pytest.raises((BadInput, ValueError), match=message):
        train(
            dataclasses.replace(tiny_config, retrieval=part), tiny_world, tmp_path / "run", **given
        )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("steps, losses", [(3, []), (0, []), (3, [LOSS])])
def test_a_joint_stage_without_any_loss_is_refused_before_the_first(
    tiny_config, tiny_world, steps, losses
):
    weights = dict.fromkeys(generator_losses(tiny_config), 0.0)
    nothing = dataclasses.replace(tiny_config.losses, **weights)
    config = dataclasses.replace(
        tiny_config,
        losses=nothing,
        sg2im=dataclasses.replace(tiny_config.sg2im, steps=0),
        training=dataclasses.replace(tiny_config.training, steps=steps),
    )
    is_refused = bool(steps) and not losses
    message = "set one of losses.* above 0" if is_refused else "--run .*is a file"
    with pytest.raises(BadInput, match=message):
        train(config, tiny_world, __file__, losses=losses)


@pytest.mark.parametrize(
    "make, message",
    [
        (int, "retriever mine: is not an rgan_tf.Retriever, but int"),
        (Retriever, "has no method choose"),
    ],
)
def test_a_registered_retriever_is_made_before_the_first_stage(
    tiny_config, tiny_world, tmp_path, monkeypatch, make, message
):
    monkeypatch.setattr(registry, "RETRIEVERS", dict(registry.RETRIEVERS))
    registry.register_retriever("mine", make)
    try:
        part = dataclasses.replace(tiny_config.retrieval, choice="mine")
        with pytest.raises(BadInput, match=message):
            train(dataclasses.replace(tiny_config, retrieval=part), tiny_world, tmp_path / "run")
    finally:
        registered_names.RETRIEVERS.remove("mine")
    assert not (tmp_path / "run").exists()


def test_a_run_is_resumed_with_the_retriever_and_the_losses_that_it_began_with(tmp_path):
    class Mine(Retriever):
        name = "mine"

    def check(record, retriever=None, losses=()):
        task = object.__new__(RetrieveGANTask)
        records = {"retrievegan": record, "sg2im": WEIGHTS, "cooccurrence": WEIGHTS}
        task.run = SimpleNamespace(folder=tmp_path, config=Config(), stage_record=records.get)
        task.retriever, task.losses = retriever, losses
        task.check()
        return task._own()

    dark = Loss("dark", lambda outputs: outputs.selected[:, 0, 0, 0], weight=2.0)
    record = check({}, Mine(), [dark])  # it begins
    assert record == {"own_retriever": "mine", "own_losses": {"dark": 2.0}}
    assert check(record, Mine(), [dark]) == record
    with pytest.raises(BadInput, match="began with own retriever mine and now gets None"):
        check(record, None, [dark])
    with pytest.raises(BadInput, match="own losses .*dark.* and now gets None; pass the same"):
        check(record, Mine())
    assert check({"steps": 5}) == {}
    with pytest.raises(BadInput, match="began with own retriever None and now gets mine"):
        check({"steps": 5}, Mine())
