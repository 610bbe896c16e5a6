"""AttnGAN's encoders are a stage of their own: it resumes, and the generators keep to its end."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import Config, TrainingConfig
from rgan_tf.config_files import config_from_dict
from rgan_tf.data.pipeline import Share
from rgan_tf.errors import BadInput
from rgan_tf.rivals.attngan.damsm import build_damsm
from rgan_tf.rivals.attngan.image_encoder import ImageFeatures
from rgan_tf.rivals.attngan.sizes import Sizes
from rgan_tf.runs import STAGES, create_run, load_weights
from rgan_tf.runs.continuing import take_stages
from rgan_tf.storage.files import write_json_atomic
from rgan_tf.vocabulary import Vocabulary
from training.api import check_data_fits
from training.configuration import at_most
from training.report.notes import Notes
from training.report.stages import read_records, stage_entries
from training.stages import attngan
from training.stages.attngan import AttnganTask, DamsmTask
from training.stages.rivals import rival_tasks
from training.stop import StopSignals
from training.trainer import Trainer
from training.workers import Workers

TINY = Sizes(embedding=8, hidden=4)


@pytest.fixture(scope="module", autouse=True)
def tiny_encoders(pooled_backbone):
    """Encoders of AttnGAN are tiny."""

    def build(config, vocabulary, **options):
        features = ImageFeatures(pooled_backbone, side=32)
        return build_damsm(config, vocabulary, TINY, features=features, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attngan, "build_damsm", build)
        patch.setattr(attngan, "_POOL", 2)
        yield


@pytest.fixture(scope="module")
def make_run_in(tiny_config, tiny_world):
    """A run of AttnGAN: (folder, steps of DAMSM) -> run."""

    def make(folder: Path, steps: int):
        config = dataclasses.replace(
            tiny_config,
            attngan=dataclasses.replace(tiny_config.attngan, damsm_steps=steps, damsm_batch_size=6),
            training=dataclasses.replace(tiny_config.training, system="attngan"),
        )
        return create_run(folder, config, tiny_world)

    return make


@pytest.fixture
def make_run(make_run_in, tmp_path):
    """As `make_run_in`, with the name of a folder."""
    return lambda name, steps: make_run_in(tmp_path / name, steps)


@pytest.fixture(scope="module")
def one_step(make_run_in, tiny_world, tmp_path_factory):
    """A run with encoders of one step; not to be changed."""
    run = make_run_in(tmp_path_factory.mktemp("one_step") / "run", 1)
    train(run, tiny_world)
    return run


def train(run, data) -> None:
    workers = Workers(tf.distribute.get_strategy(), count=1, index=0)
    assert Trainer(run, workers, StopSignals()).train(DamsmTask(run, data))


def weights_of(run, data) -> list[np.ndarray]:
    model = DamsmTask(run, data).build_model()
    load_weights(run, "damsm", model.encoders)
    return [variable.numpy() for variable in model.encoders.variables]


def test_a_run_takes_encoders_that_would_be_its_own_and_no_others(
    make_run, one_step, tiny_world, tmp_path
):
    source = one_step
    training = dataclasses.replace(source.config.training, system="sg2im")
    other = dataclasses.replace(source.config, training=training)
    of_sg2im = create_run(tmp_path / "sg2im", other, tiny_world)
    means = dataclasses.replace(source.config.attngan, averages_words=True)
    by_means = dataclasses.replace(source.config, attngan=means)
    stages = dataclasses.replace(source.config.attngan, stages=1, matching_weight=5.0)
    of_stages = dataclasses.replace(source.config, attngan=stages)
    for run, taken in (
        (make_run("same", 1), True),
        (create_run(tmp_path / "means", by_means, tiny_world), False),  # another matching loss
        (create_run(tmp_path / "stages", of_stages, tiny_world), True),
        (make_run("longer", 2), False),
        (of_sg2im, False),
    ):
        for stage in STAGES[:2]:  # it has its own
            run.stage_folder(stage).mkdir()
        take_stages(run, source)
        assert run.stage_folder("damsm").exists() == taken
    same = weights_of(make_run("same", 1), tiny_world)
    for a, b in zip(weights_of(source, tiny_world), same, strict=True):
        np.testing.assert_array_equal(a, b)


def test_encoders_are_judged_at_the_end(one_step, tiny_world):
    record = one_step.stage_record("damsm")
    assert record["steps"] == 1
    assert 0 <= record["r_precision_val"] <= 1
    assert record["r_precision_val_scenes"] <= tiny_world.record_count("val")
    assert all(0 <= share <= 1 for share in record["r_precision_val_by_triples"].values())


@pytest.mark.thorough
def test_encoders_resume_where_they_stopped(make_run, one_step, tiny_world, tmp_path):
    straight = make_run("straight", 3)
    train(straight, tiny_world)
    shutil.copytree(one_step.folder, tmp_path / "stopped")
    stopped = make_run("stopped", 3)
    assert stopped.stage_record("damsm")["steps"] == 1
    train(stopped, tiny_world)
    for a, b in zip(weights_of(straight, tiny_world), weights_of(stopped, tiny_world), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert straight.stage_record("damsm")["steps"] == 3


def test_every_replica_gets_the_whole_batch(make_run, tiny_world):
    batches = iter(DamsmTask(make_run("run", 3), tiny_world).batches(0, Share(0, 2, 2), seed=0))
    first, second, third = (next(batches) for _ in range(3))
    assert first["image"].shape == (6, 32, 32, 3)
    np.testing.assert_array_equal(first["image_id"], second["image_id"])
    assert set(third["image_id"].numpy()) != set(first["image_id"].numpy())


def test_its_first_weights_are_those_of_no_other_stage(make_run, tiny_world):
    run = make_run("run", 3)
    places = [task.place for task in rival_tasks(run, tiny_world, None)]
    assert places == [3, 2]  # the first two stages have 0 and 1


def test_generators_are_not_continued_with_other_encoders(make_run, tiny_world):
    run = make_run("run", 3)
    for stage, record in (
        ("damsm", {"weights_sha256": "new"}),
        ("retrievegan", {"weights_sha256": "x", "damsm_weights": "old"}),
    ):
        run.stage_folder(stage).mkdir(parents=True)
        whole = {"weights": "weights-1", "steps": 1, **record}
        write_json_atomic(run.stage_folder(stage) / "stage.json", whole)
    with pytest.raises(BadInput, match="damsm was trained further since retrievegan began"):
        AttnganTask(run, tiny_world, None).check()
    record = {"weights": "weights-1", "steps": 1, "weights_sha256": "old"}
    write_json_atomic(run.stage_folder("damsm") / "stage.json", record)
    AttnganTask(run, tiny_world, None).check()


def test_a_short_run_has_short_encoders():
    assert at_most(Config(), 7).attngan.damsm_steps == 7


def test_names_that_no_text_can_mention_are_refused_before_any_training(tiny_settings):
    tiny_settings["training"]["system"] = "attngan"
    config = config_from_dict(tiny_settings)
    data = SimpleNamespace(
        check_config=lambda config: None,
        record_count=lambda split: 99,
        vocabulary=Vocabulary.from_categories(["car", "\u5929"]),
    )
    with pytest.raises(BadInput, match="has no word of ASCII"):
        check_data_fits(config, data)
    data.vocabulary = Vocabulary.from_categories(["car", "sky"])
    check_data_fits(config, data)


def test_a_compiled_step_on_several_devices_is_refused_before_training():
    settings = TrainingConfig(system="attngan", jit_compile=True)
    with pytest.raises(BadInput, match="AttnGAN's step cannot be compiled for several devices"):
        Workers.check_fits(SimpleNamespace(replicas=2), settings)
    Workers.check_fits(SimpleNamespace(replicas=1), settings)


def test_a_report_shows_the_stage_of_the_encoders(trained):
    config = dataclasses.replace(
        trained.config, training=dataclasses.replace(trained.config.training, system="attngan")
    )
    run, notes = dataclasses.replace(trained, config=config), Notes()
    entries = stage_entries(run, read_records(run, notes), notes)
    assert [entry["name"] for entry in entries] == ["sg2im", "cooccurrence", "damsm", "retrievegan"]
    assert entries[2]["row"][:3] == ["not trained", None, config.attngan.damsm_steps]
