"""The training processes: the devices of this machine, or of all machines in `TF_CONFIG`."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator

import tensorflow as tf

from rgan_tf.config import TrainingConfig
from rgan_tf.data.pipeline import Share
from rgan_tf.devices import grow_gpu_memory
from rgan_tf.errors import BadInput, one_line
from rgan_tf.rivals.attngan.model import check_devices
from training.cluster import read_cluster


class Workers:
    """The strategy, and agreement between the processes that share it.

    Attributes:
      strategy: a `MirroredStrategy`; a `OneDeviceStrategy` for a single GPU, and for several
        machines a `MultiWorkerMirroredStrategy`.
      count: number of processes.
      is_chief: whether this process writes the run; exactly one does.
    """

    def __init__(self, strategy: tf.distribute.Strategy, *, count: int, index: int):
        self.strategy = strategy
        self.count = count
        self.is_chief = index == 0

        def total(flag: tf.Tensor) -> tf.Tensor:
            def of_replica() -> tf.Tensor:
                context = tf.distribute.get_replica_context()
                own = tf.identity(flag)  # on the replica's device, as the reduction requires
                return context.all_reduce(tf.distribute.ReduceOp.SUM, own)

            return strategy.experimental_local_results(strategy.run(of_replica))[0]

        self._total = tf.function(total, input_signature=[tf.TensorSpec([], tf.float32)])

    @property
    def replicas(self) -> int:
        """Number of replicas over all processes."""
        return self.strategy.num_replicas_in_sync

    def check_fits(self, settings: TrainingConfig) -> None:
        """Refuses settings that these devices cannot train.

        Raises:
          BadInput: if a batch is not divisible into equal parts, or XLA cannot run on them.
        """
        parts = self.replicas * settings.accumulate_steps
        if settings.batch_size % parts:
            raise BadInput(
                f"training.batch_size {settings.batch_size} does not fall into {parts} equal parts "
                f"({self.replicas} replicas, training.accumulate_steps "
                f"{settings.accumulate_steps}); choose a multiple of {parts}"
            )
        if settings.system == "attngan":
            check_devices(settings, self.replicas)
        has_gpu = bool(tf.config.list_physical_devices("GPU"))
        if settings.jit_compile is True and self.replicas > 1 and not has_gpu:
            raise BadInput(
                "training.jit_compile: XLA cannot compile for several CPU replicas; set it to false"
            )

    def any(self, flag: bool) -> bool:
        """Whether the flag is set in any process; all processes must call it."""
        if self.count == 1:
            return flag
        return float(self._total(tf.constant(float(flag)))) > 0

    def wait(self) -> None:
        """Returns when all processes have called it."""
        self.any(False)

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Context for work after which all processes continue, or none does.

        Raises:
          BadInput: in the other processes, if one fails; that one raises its own error.
        """
        try:
            yield
        except BaseException:
            self.any(True)
            raise
        if self.any(False):
            raise BadInput("another process of TF_CONFIG could not start; see what it printed")

    def dataset(
        self, make: Callable[[Share], tf.data.Dataset]
    ) -> tf.data.Dataset | tf.distribute.DistributedDataset:
        """Batches for `fit`: every replica gets its share of every batch.

        Args:
          make: takes the shares of a process, returns a dataset that yields them in turn.
        """

        def of_process(context: tf.distribute.InputContext) -> tf.data.Dataset:
            local = self.replicas // context.num_input_pipelines
            return make(Share(context.input_pipeline_id * local, local, self.replicas))

        return self.strategy.distribute_datasets_from_function(of_process)


def start_workers() -> Workers:
    """All devices of this machine; with `TF_CONFIG` set, those of all its machines.

    All processes must run the same command with the same data and run folder.

    Raises:
      BadInput: if `TF_CONFIG` is not a usable cluster.
    """
    grow_gpu_memory()
    task = read_cluster(os.environ.get("TF_CONFIG", ""))
    if task is None:
        # TensorFlow reads it too, and rejects blanks as broken JSON.
        if not os.environ.get("TF_CONFIG", "{}").strip():
            del os.environ["TF_CONFIG"]
        gpus = tf.config.list_logical_devices("GPU")
        # One GPU mirrors nothing, and only without a mirror can XLA compile a whole step.
        alone = len(gpus) == 1
        strategy = (
            tf.distribute.OneDeviceStrategy(gpus[0].name)
            if alone
            else tf.distribute.MirroredStrategy()
        )
        return Workers(strategy, count=1, index=0)
    if len(task.addresses) > 1:
        others = [place for number, place in enumerate(task.addresses) if number != task.index]
        logging.getLogger(__name__).info(
            "TF_CONFIG: process %d of %d, at %s; waiting for %s",
            task.index + 1,
            len(task.addresses),
            task.addresses[task.index],
            ", ".join(others),
        )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise BadInput(
            f"TF_CONFIG: {task.addresses[task.index]} cannot join the cluster "
            f"({one_line(str(error), 200)}); is its port taken?"
        ) from error
    return Workers(strategy, count=len(task.addresses), index=task.index)
