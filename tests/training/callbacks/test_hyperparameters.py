"""What the HParams page of TensorBoard shows of a run."""

from __future__ import annotations

import dataclasses

import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.data_provider import MultiplexerDataProvider
from tensorboard.backend.event_processing.plugin_event_multiplexer import EventMultiplexer
from tensorboard.context import RequestContext
from tensorboard.plugins import base_plugin
from tensorboard.plugins.hparams import api_pb2, list_session_groups
from tensorboard.plugins.hparams.backend_context import Context

from rgan_tf.config import Config, TrainingConfig
from training.callbacks.hyperparameters import HEADLINES, Hyperparameters, hparam_values


class Board:
    """TensorBoard's own reading of a folder."""

    def __init__(self, folder):
        multiplexer = EventMultiplexer()
        multiplexer.AddRunsFromDirectory(str(folder))
        multiplexer.Reload()
        provider = MultiplexerDataProvider(multiplexer, str(folder))
        self._backend = Context(base_plugin.TBContext(data_provider=provider, logdir=str(folder)))
        self._request = RequestContext()

    def experiment(self):
        found = self._backend.hparams_metadata(self._request, "")
        return self._backend.experiment_from_metadata(self._request, "", True, found, [])

    def groups(self):
        infos = self.experiment().metric_infos
        asked = api_pb2.ListSessionGroupsRequest(
            allowed_statuses=[
                api_pb2.STATUS_SUCCESS, api_pb2.STATUS_RUNNING, api_pb2.STATUS_UNKNOWN
            ],
            col_params=[api_pb2.ColParams(metric=info.name) for info in infos],
            slice_size=100,
        )  # fmt: skip
        reply = list_session_groups.Handler(self._request, self._backend, "", asked).run()
        return list(reply.session_groups)


def callback(folder, stage="retrievegan", *, config=None, steps=4, figures=None, **options):
    return Hyperparameters(
        0,
        steps,
        config=config or Config(name="demo"),
        trial=options.pop("trial", "RUN"),
        stage=stage,
        folder=folder,
        figures=lambda: figures or {},
        **options,
    )


def train(made, steps=4):
    made.on_train_begin()
    for step in range(steps):
        made.on_train_batch_end(step)
        made.on_epoch_end(step)
    made.on_train_begin()  # the second call of `fit`


def figures_of(group):
    return {(m.name.group, m.name.tag): m.value for m in group.metric_values}


def test_one_run_is_one_session_with_the_figures_of_all_its_stages(tmp_path):
    record = {"same_image_auc_val": 0.75, "weights": "weights-4", "seconds": 12, "is": True}
    train(callback(tmp_path, "cooccurrence", figures=record))
    train(callback(tmp_path, figures={"seconds": 99.5}, is_last=True))
    for stage, tag, value in (
        ("retrievegan", "loss/generator", 3.5),
        ("sg2im", "loss/generator", 2.5),
        ("eval-val", "layout/box_iou", 0.5),
    ):
        writer = tf.summary.create_file_writer(str(tmp_path / stage))
        with writer.as_default(step=1):
            tf.summary.scalar(tag, 9.0)
            tf.summary.scalar(tag, value, step=4)
        writer.close()
    (group,) = Board(tmp_path).groups()
    assert group.hparams["name"].string_value == "demo"
    assert group.hparams["training.batch_size"].number_value == 16
    assert group.hparams["generator.decoder_channels"].string_value == "64, 32"
    assert group.hparams["data.flip"].bool_value is Config().data.flip
    found = figures_of(group)
    assert found == {
        ("retrievegan", "loss/generator"): 3.5,
        ("sg2im", "loss/generator"): 2.5,
        ("eval-val", "layout/box_iou"): 0.5,
        ("", "cooccurrence/same_image_auc_val"): 0.75,
        ("", "retrievegan/seconds"): 99.5,
    }
    assert set(found) <= set(HEADLINES)
    (session,) = group.sessions
    assert session.status == api_pb2.STATUS_SUCCESS


def test_a_run_in_training_is_shown_and_is_not_done(tmp_path):
    train(callback(tmp_path, steps=5))  # four of five
    (group,) = Board(tmp_path).groups()
    (session,) = group.sessions
    assert session.status != api_pb2.STATUS_SUCCESS and not figures_of(group)


def test_runs_are_compared_and_none_is_hidden_by_the_settings_of_another(tmp_path):
    for seed in (0, 1):
        config = Config(training=TrainingConfig(seed=seed, deterministic=bool(seed)))
        folder = tmp_path / f"run{seed}" / "logs"
        train(callback(folder, config=config, trial=f"run{seed}", is_last=True))
    board = Board(tmp_path)
    groups = board.groups()
    assert [group.hparams["training.seed"].number_value for group in groups] == [0, 1]
    for info in board.experiment().hparam_infos:
        assert info.WhichOneof("domain") is None


def test_settings_that_are_not_the_default_come_first(tmp_path):
    config = Config(name="demo", training=TrainingConfig(seed=3))
    train(callback(tmp_path, config=config))
    infos = Board(tmp_path).experiment().hparam_infos
    assert [info.name for info in infos[:2]] == ["name", "training.seed"]
    kinds = {info.name: info.type for info in infos}
    assert set(kinds) == set(hparam_values(config))
    assert kinds["name"] == api_pb2.DATA_TYPE_STRING
    assert kinds["training.seed"] == api_pb2.DATA_TYPE_FLOAT64
    assert kinds["training.deterministic"] == api_pb2.DATA_TYPE_BOOL


@pytest.mark.parametrize("section", [f.name for f in dataclasses.fields(Config)])
def test_every_section_is_there(section):
    names = hparam_values(Config())
    assert section in names or any(name.startswith(f"{section}.") for name in names)
