"""Config and headline metrics for TensorBoard's HParams page, which compares runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api_pb2, summary, summary_v2

from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings
from training.callbacks.stage import StageCallback
from training.configuration import changed_settings

# (log folder, tag) of the metrics beside each config; the page shows their latest values and leaves
# a cell empty if there is none yet.
HEADLINES = (
    ("retrievegan", "loss/generator"),
    ("retrievegan", "loss/discriminator"),
    ("retrievegan", "loss/generator/selection"),
    ("retrievegan", "loss/generator/perceptual_image"),
    ("retrievegan", "guard/skipped"),
    ("sg2im", "loss/generator"),
    ("cooccurrence", "violations"),
    ("", "cooccurrence/same_image_auc_val"),
    ("", "retrievegan/seconds"),
    ("", "retrievegan/rollbacks"),
    ("eval-val", "layout/box_iou"),
    ("eval-val", "retrieval/learned/style_agreement"),
    ("eval-val", "retrieval/learned/gt_recall@1"),
    ("eval-val", "cooccurrence/same_image_auc"),
)


class Hyperparameters(StageCallback):
    """Writes the config for the HParams page when a stage begins and its metrics when it ends.

    All stages of a run are one session, in the folder above their own: so the page shows their
    metrics, and those of evaluations, beside one config.

    Args:
      first_step, total_steps: see `StageCallback`.
      config: of the run.
      trial: the run's name among others.
      stage: the stage's name.
      folder: TensorBoard folder of the run, above those of its stages.
      figures: the stage's record, once its weights are saved; non-numbers are left out.
      is_last: whether this is the run's last stage.
    """

    def __init__(
        self,
        first_step: int,
        total_steps: int,
        *,
        config: Config,
        trial: str,
        stage: str,
        folder: Path,
        figures: Callable[[], dict[str, Any]],
        is_last: bool = False,
    ):
        super().__init__(first_step, total_steps)
        self._config = config
        self._trial = trial
        self._stage = stage
        self._folder = folder
        self._figures = figures
        self._is_last = is_last
        self._writer: tf.summary.SummaryWriter | None = None

    def on_train_begin(self, logs=None):
        if self._writer is not None:  # `fit` may be called several times per stage
            return
        self._writer = tf.summary.create_file_writer(str(self._folder))
        self._write(experiment_summary(self._config))
        self._write(summary_v2.hparams_pb(hparam_values(self._config), trial_id=self._trial))

    def on_epoch_end(self, epoch, logs=None):
        if self.step != self.total_steps or self._writer is None:
            return
        with self._writer.as_default(step=self.step):
            for name, value in self._figures().items():
                if isinstance(value, (int, float)) and not isinstance(value, bool):
                    tf.summary.scalar(f"{self._stage}/{name}", float(value))
        if self._is_last:
            self._write(summary.session_end_pb(api_pb2.STATUS_SUCCESS))

    def _write(self, message) -> None:
        with self._writer.as_default():
            tf.summary.experimental.write_raw_pb(message.SerializeToString(), step=0)
        self._writer.flush()


def hparam_values(config: Config) -> dict[str, bool | float | str]:
    """Every setting in a type that the page accepts: lists become text."""
    return {
        key: ", ".join(map(str, value)) if isinstance(value, list) else value
        for key, value in flat_settings(config).items()
    }


def experiment_summary(config: Config):
    """Columns of the page: settings that differ from the defaults first, then the others.

    No setting has a domain, because the page would hide runs with other values.
    """
    changed = changed_settings(config)
    hparams = [
        api_pb2.HParamInfo(name=name, type=_kind(value), differs=name in changed)
        for name, value in hparam_values(config).items()
    ]
    metrics = [
        api_pb2.MetricInfo(
            name=api_pb2.MetricName(group=group, tag=tag),
            display_name=f"{group}: {tag}" if group else tag,
        )
        for group, tag in HEADLINES
    ]
    return summary.experiment_pb(hparams, metrics)


def _kind(value: bool | float | str) -> int:
    if isinstance(value, bool):
        return api_pb2.DATA_TYPE_BOOL
    return api_pb2.DATA_TYPE_STRING if isinstance(value, str) else api_pb2.DATA_TYPE_FLOAT64
