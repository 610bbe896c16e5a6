"""What breaks in training ends as it should: skipped, rolled back, given up, or refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.data.pipeline import WHOLE
from rgan_tf.model.adversarial_model import AdversarialModel
from rgan_tf.runs import open_run
from training.callbacks.guarding import CollapseWatch
from training.rollbacks import SKIPPED_IN_ROW
from training.stages.sg2im import Sg2imTask

STEPS = 30


@pytest.fixture
def train(config_file, tiny_world, tmp_path, rgan):
    """Stage 1 of a tiny run, on the command line; the other stages have no steps."""

    def run(*words):
        folder = tmp_path / "run"
        options = [f"sg2im.steps={STEPS}", "cooccurrence.steps=0", "training.steps=0"]
        options += ["training.checkpoint_every_steps=8", *words]
        sets = [word for option in options for word in ("--set", option)]
        reply = rgan("train", config_file, "--data", tiny_world.folder, "--run", folder, *sets)
        return reply, folder

    return run


@pytest.fixture
def poisoned(monkeypatch):
    """Makes one pixel of the batches of given steps NaN, until training is rolled back."""

    def poison(steps, also_after_rollbacks=False):
        inner = Sg2imTask.batches

        def scenes(task, start_step, share, seed):
            dataset = inner(task, start_step, share, seed)
            if seed != task.config.training.seed and not also_after_rollbacks:
                return dataset
            bad = tf.constant(list(steps), tf.int64)

            def spoil(number, batch):
                hit = tf.reduce_any(bad == number)
                pixel = tf.reshape(tf.one_hot(0, tf.size(batch["image"])), batch["image"].shape)
                image = tf.where(hit & (pixel > 0), np.nan, batch["image"])
                return {**batch, "image": image}

            return dataset.enumerate(start_step).map(spoil)

        monkeypatch.setattr(Sg2imTask, "batches", scenes)

    return poison


def finite(folder) -> bool:
    record = open_run(str(folder)).stage_record("sg2im")
    reader = tf.train.load_checkpoint(str(folder / "sg2im" / record["weights"]))
    return all(
        np.isfinite(reader.get_tensor(name)).all()
        for name, kind in reader.get_variable_to_dtype_map().items()
        if kind.is_floating
    )


@pytest.mark.thorough
def test_a_nan_pixel_costs_one_step(train, poisoned):
    poisoned([5])
    reply, folder = train()
    assert reply.code == 0, reply.err
    record = open_run(str(folder)).stage_record("sg2im")
    assert record["steps"] == STEPS and record["skipped_steps"] == 1 and record["rollbacks"] == 0
    assert finite(folder)
    assert not (folder / "sg2im" / "rollbacks.json").exists()
    logged = [json.loads(line) for line in reply.err.splitlines() if '"guard/skipped"' in line]
    assert logged[0]["guard/skipped"] == 0.0 and logged[-2]["guard/skipped"] == 1.0


@pytest.mark.thorough
def test_ten_in_a_row_go_back_and_take_another_road(train, poisoned):
    poisoned(range(11, 40))
    reply, folder = train()
    assert reply.code == 0, reply.err
    record = open_run(str(folder)).stage_record("sg2im")
    assert record["steps"] == STEPS and record["rollbacks"] == 1 and finite(folder)
    (entry,) = json.loads((folder / "sg2im" / "rollbacks.json").read_text())
    assert entry["at_step"] == 11 + SKIPPED_IN_ROW
    assert [skip["step"] for skip in entry["skipped"]] == list(range(11, 11 + SKIPPED_IN_ROW))
    # Back to the last checkpoint before it began.
    assert "step-00000008" in reply.err and "rolling back" in reply.err


def test_three_times_end_with_the_scenes_by_name(train, poisoned, tiny_world, tiny_config):
    poisoned(range(11, 40), also_after_rollbacks=True)
    reply, folder = train()
    assert reply.code == 3 and reply.out == ""
    assert "rollbacks.json names the batches" in reply.err.splitlines()[-1]
    entries = json.loads((folder / "sg2im" / "rollbacks.json").read_text())
    assert len(entries) == 3
    for rollback, entry in enumerate(entries):
        run = open_run(str(folder))
        seed = run.config.training.seed + 1_000_003 * rollback
        batch = next(iter(Sg2imTask(run, tiny_world).batches(11, WHOLE, seed).take(1)))
        assert entry["skipped"][0]["image_ids"] == batch["image_id"].numpy().tolist()
    # What was good stays.
    assert open_run(str(folder)).stage_record("sg2im")["steps"] == 8


@pytest.mark.thorough
def test_a_stage_does_not_end_on_a_skipped_step(train, poisoned):
    poisoned([STEPS - 1])
    reply, folder = train()
    assert reply.code == 0, reply.err
    record = open_run(str(folder)).stage_record("sg2im")
    assert record["steps"] == STEPS and record["rollbacks"] == 1


def test_a_nan_gradient_on_one_replica_is_skipped_on_all(
    tiny_config, make_toy_of_two, two_replicas
):
    model, fit = make_toy_of_two
    before = [variable.numpy() for variable in model.networks.variables]
    figures = fit(nan_replica=1)
    for old, variable in zip(before, model.networks.variables, strict=True):
        for copy in two_replicas.experimental_local_results(variable):
            np.testing.assert_array_equal(copy, old)
    assert figures["guard/skipped"] == 1.0
    assert int(model.step.numpy()) == 1
    figures = fit(nan_replica=-1)
    assert figures["guard/skipped"] == 1.0
    assert any(
        (old != variable.numpy()).any()
        for old, variable in zip(before, model.networks.variables, strict=True)
    )


@pytest.fixture
def make_toy_of_two(tiny_config, two_replicas):
    """A model on two replicas; the weight gradient of one of them can be made NaN."""
    from rgan_tf.model.adversarial_model import LossTerms

    class Weight(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.value = tf.Variable([1.0, 2.0])

    @tf.custom_gradient
    def spoiled(value, is_bad):
        return tf.identity(value), lambda upstream: (
            tf.where(is_bad, np.nan, upstream),
            None,
        )

    class Toy(AdversarialModel):
        def __init__(self, config):
            super().__init__(
                config,
                Weight(),
                Weight(),
                Weight(),
                generator_weights={"a": 1.0},
                discriminator_weights={"b": 1.0},
            )
            self.declare_metrics(["loss/generator/a", "loss/discriminator/b"])

        def compute_terms(self, batch, first_row):
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            is_bad = tf.cast(replica, tf.int32) == batch["bad"][0]
            value = spoiled(self.networks.value, is_bad)
            return LossTerms(
                {"a": tf.reduce_sum(value) * batch["x"]},
                {"b": tf.reduce_sum(self.discriminators.value) * batch["x"]},
                {},
            )

    with two_replicas.scope():
        model = Toy(tiny_config)
        model.compile()

    def fit(nan_replica):
        batch = {"x": tf.ones([4]), "bad": tf.fill([4], nan_replica)}
        dataset = tf.data.Dataset.from_tensor_slices(batch).repeat().batch(4, True)
        history = model.fit(dataset, steps_per_epoch=1, epochs=1, verbose=0)
        return {name: values[-1] for name, values in history.history.items()}

    return model, fit


@pytest.mark.thorough
@pytest.mark.parametrize("rate", ["generator", "discriminator"])
def test_a_learning_rate_a_thousand_times_too_large(train, rate):
    rates = {"generator": 2.5e-4 * 1000, "discriminator": 1e-3 * 1000}
    reply, folder = train(f"training.{rate}_learning_rate={rates[rate]}")
    if rate == "generator":
        # Adam's steps are bounded, and so are images and boxes: bad weights, but numbers, and no
        # loss that tells of them. What it leads to is the business of `CollapseWatch`.
        assert reply.code == 0, reply.err
        assert finite(folder)
    else:
        assert reply.code == 3, reply.err
        assert "not finite or too large" in reply.err.splitlines()[-1]
        assert "Traceback" not in reply.err
        assert len(json.loads((folder / "sg2im" / "rollbacks.json").read_text())) == 3


def test_a_truncated_record_is_named_and_nothing_is_trained(
    tiny_world, config_file, tmp_path, rgan
):
    data = shutil.copytree(tiny_world.folder, tmp_path / "data")
    shard = sorted((data / "records").rglob("*train*"))[0]
    shard = shard if shard.is_file() else sorted(p for p in shard.rglob("*") if p.is_file())[0]
    shard.write_bytes(shard.read_bytes()[:-7])
    reply = rgan("train", config_file, "--data", data, "--run", tmp_path / "run")
    assert reply.code == 4 and reply.out == ""
    assert shard.name in reply.err.splitlines()[-1]
    assert not (tmp_path / "run").exists()


def test_collapse_is_told_once_it_lasts(capsys):
    watch = CollapseWatch(0, 9000, adversarial="hinge", patience_steps=0)
    watch.step = 100
    healthy = {"loss/discriminator/adversarial_image": 1.2, "layout/generalised_iou": 0.3}
    blind = {"loss/discriminator/adversarial_image": 2.001, "layout/generalised_iou": -0.2}
    for logs in [blind] * 4 + [healthy] + [blind] * 4:
        watch.on_epoch_end(0, logs)
    assert watch.warnings == []
    for _ in range(3):
        watch.on_epoch_end(0, blind)
    assert [warning["what"] for warning in watch.warnings] == [
        "the image discriminator tells nothing apart",
        "predicted boxes lie beside the true ones",
    ]
    again = CollapseWatch(0, 9000, adversarial="hinge", warnings=watch.warnings)
    assert again.warnings is watch.warnings  # those of an earlier process are kept
    assert capsys.readouterr().err.count("docs/training.md") == 2


def test_a_discriminator_that_is_never_wrong_is_told():
    watch = CollapseWatch(0, 9000, adversarial="non_saturating", patience_steps=0)
    watch.step = 1
    for _ in range(5):
        watch.on_epoch_end(0, {"loss/discriminator/adversarial_object": 0.001})
    (warning,) = watch.warnings
    assert warning["what"] == "the object discriminator is never wrong"


def test_intervals_without_a_sound_step_say_nothing():
    watch = CollapseWatch(0, 9000, adversarial="hinge", patience_steps=0)
    watch.step = 1
    for _ in range(9):
        watch.on_epoch_end(
            0, {"loss/discriminator/adversarial_image": 0.0, "guard/sound_share": 0.0}
        )
    assert watch.warnings == []


def test_nothing_is_told_in_the_beginning():
    watch = CollapseWatch(0, 9000, adversarial="hinge", patience_steps=500)
    watch.step = 400
    for _ in range(9):
        watch.on_epoch_end(0, {"loss/discriminator/adversarial_image": 2.0})
    assert watch.warnings == []
