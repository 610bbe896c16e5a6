"""AttnGAN's encoders are a stage of their own: it resumes, and the generators keep to its end."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import Config, config_from_dict
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
from training.stages import attngan
from training.stages.attngan import AttnganTask, DamsmTask
from training.stages.rivals import rival_tasks
from training.stop import StopSignals
from training.trainer import Trainer
from training.workers import Workers

TINY = Sizes(embedding=8, hidden=4)


@pytest.fixture
def make_run(tmp_path, tiny_config, tiny_world, pooled_backbone, monkeypatch):
    """A run of AttnGAN with tiny encoders: (folder, steps of DAMSM) -> run."""

    def build(config, vocabulary, **options):
        features = ImageFeatures(pooled_backbone, side=32)
        return build_damsm(config, vocabulary, TINY, features=features, **options)

    monkeypatch.setattr(attngan, "build_damsm", build)
    monkeypatch.setattr(attngan, "_POOL", 2)

    def make(name: str, steps: int):
        config = dataclasses.replace(
            tiny_config,
            attngan=dataclasses.replace(tiny_config.attngan, damsm_steps=steps, damsm_batch_size=6),
            training=dataclasses.replace(tiny_config.training, system="attngan"),
        )
        return create_run(tmp_path / name, config, tiny_world)

    return make


def train(run, data) -> None:
    workers = Workers(tf.distribute.get_strategy(), count=1, index=0)
    assert Trainer(run, workers, StopSignals()).train(DamsmTask(run, data))


def weights_of(run, data) -> list[np.ndarray]:
    model = DamsmTask(run, data).build_model()
    load_weights(run, "damsm", model.encoders)
    return [variable.numpy() for variable in model.encoders.variables]


def test_a_run_takes_encoders_that_would_be_its_own_and_no_others(make_run, tiny_world):
    source = make_run("source", 1)
    train(source, tiny_world)
    training = dataclasses.replace(source.config.training, system="sg2im")
    other = dataclasses.replace(source.config, training=training)
    of_sg2im = create_run(source.folder.with_name("sg2im"), other, tiny_world)
    for run, taken in (
        (make_run("same", 1), True),
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


def test_encoders_resume_where_they_stopped_and_are_judged_at_the_end(make_run, tiny_world):
    straight = make_run("straight", 3)
    train(straight, tiny_world)
    train(make_run("stopped", 1), tiny_world)
    stopped = make_run("stopped", 3)
    assert stopped.stage_record("damsm")["steps"] == 1
    train(stopped, tiny_world)
    for a, b in zip(weights_of(straight, tiny_world), weights_of(stopped, tiny_world), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    record = straight.stage_record("damsm")
    assert record["steps"] == 3
    assert 0 <= record["r_precision_val"] <= 1
    assert record["r_precision_val_scenes"] <= tiny_world.record_count("val")
    assert all(0 <= share <= 1 for share in record["r_precision_val_by_triples"].values())


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
