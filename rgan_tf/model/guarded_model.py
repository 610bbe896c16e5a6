"""Base of all trained models: step count, guard, named metrics, and checkpoint content."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from rgan_tf.model.guard import UpdateGuard

Gradients = list[tf.Tensor]

SOUND_SHARE = "guard/sound_share"


class GuardedModel(tf.keras.Model):
    """A model whose steps are counted, guarded and reported.

    Args:
      seed: of the run.
      losses, loss_upper_bound, loss_jump, scales_loss: of the `UpdateGuard`.

    Attributes:
      step: int64 variable, number of batches, including skipped ones.
      guard: the `UpdateGuard`.
      rollback_count: int64 variable, how often training was rolled back. It changes all random
        numbers, so that the same failure is not repeated. Whoever rolls back sets it; it is not
        part of `state`.
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        losses: int = 1,
        loss_upper_bound: float = 1e6,
        loss_jump: float = 20.0,
        scales_loss: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.guard = UpdateGuard(
            losses=losses,
            loss_upper_bound=loss_upper_bound,
            loss_jump=loss_jump,
            scales_loss=scales_loss,
        )
        self._seed_of_run = seed
        # A step returns the same on all replicas; Keras would sum it over machines.
        self.distribute_reduction_method = "first"
        first = tf.VariableAggregation.ONLY_FIRST_REPLICA
        self.step = tf.Variable(
            tf.constant(0, tf.int64), trainable=False, name="step", aggregation=first
        )
        # On a GPU, TensorFlow keeps int32 variables in the memory of the host, where a compiled
        # step cannot read them.
        self.rollback_count = tf.Variable(
            tf.constant(0, tf.int64), trainable=False, name="rollbacks", aggregation=first
        )
        self._trackers: dict[str, tf.keras.metrics.Mean] = {}
        self.declare_metrics([SOUND_SHARE])

    def state(self) -> dict[str, tf.Module]:
        """What training needs to resume, by name: the content of a checkpoint."""
        return {"step": self.step, "guard": self.guard}

    def inference_networks(self) -> tf.keras.Model | tf.keras.layers.Layer:
        """The networks whose weights a stage saves for inference."""
        raise NotImplementedError

    def weights_are_finite(self) -> bool:
        """Whether every floating-point variable of `state` is finite."""
        variables: list[tf.Variable] = []
        for part in self.state().values():
            variables += [part] if isinstance(part, tf.Variable) else list(part.variables)
        return all(
            bool(tf.reduce_all(tf.math.is_finite(v))) for v in variables if v.dtype.is_floating
        )

    def not_finite(self) -> list[str]:
        """Names of the figures given to `track` that were not finite in the latest skipped step.

        On any replica; processes that share a strategy have to ask together. Sums are left out if
        a part of theirs, `<sum>/<part>`, is named. None is named if all were finite: a loss was
        too large, or a gradient was not finite.
        """
        values = self._skipped_figures.numpy()  # [F]
        pairs = zip(self._trackers, values, strict=True)
        names = [name for name, value in pairs if not np.isfinite(value)]
        return [name for name in names if not any(n.startswith(f"{name}/") for n in names)]

    @property
    def run_seed(self) -> tf.Tensor:
        """int32 scalar: the seed of the run, changed by every rollback."""
        # Any odd number would do; a large one keeps neighbouring user seeds apart.
        return self._seed_of_run + tf.cast(self.rollback_count, tf.int32) * 1_000_003

    @property
    def metrics(self) -> list[tf.keras.metrics.Metric]:
        """Means over the current logging interval."""
        return list(self._trackers.values())

    def declare_metrics(self, names: Sequence[str]) -> None:
        """Creates the trackers up front: under a strategy a step must not create variables."""
        for name in names:
            self._trackers[name] = tf.keras.metrics.Mean(name=name)
        self._skipped_figures = tf.Variable(
            tf.zeros([len(self._trackers)]),
            trainable=False,
            name="skipped_figures",
            # Each replica keeps its own, of its rows; their sum is not finite where one is not.
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.SUM,
        )

    def track(self, figures: dict[str, tf.Tensor], is_sound: tf.Tensor) -> dict[str, tf.Tensor]:
        """Adds one step to the interval's means, unless it was skipped.

        Args:
          figures: name -> [B] or scalar float32.
          is_sound: scalar bool.

        Returns:
          name -> mean so far, with `guard/skipped` (steps skipped since the beginning) and
          `guard/sound_share` (of the interval; at 0 the means are meaningless).

        Raises:
          KeyError: for a name that was not declared.
        """
        weight = tf.cast(is_sound, tf.float32)  # []
        self._trackers[SOUND_SHARE].update_state(weight)
        means = dict.fromkeys(self._trackers, tf.zeros([]))
        for name, value in figures.items():
            if name not in self._trackers:
                raise KeyError(f"metric {name} was not declared with declare_metrics")
            mean = tf.reduce_mean(tf.cast(value, tf.float32))  # []
            means[name] = mean
            self._trackers[name].update_state(tf.where(is_sound, mean, 0.0), sample_weight=weight)
        latest = tf.stack(list(means.values()))  # [F]
        self._skipped_figures.assign(tf.where(is_sound, self._skipped_figures, latest))
        results = {name: tracker.result() for name, tracker in self._trackers.items()}
        return {**results, "guard/skipped": tf.cast(self.guard.skipped, tf.float32)}


def zero_unless(is_sound: tf.Tensor, gradients: Gradients, *, fuses: bool = False) -> Gradients:
    """The gradients, or zeros of their shapes; copies nothing.

    Args:
      is_sound: scalar bool.
      gradients: any shapes.
      fuses: choose element by element, which XLA joins with what follows; a branch would divide its
        program, and a GPU would wait for the host to take it.
    """
    if fuses:
        return [tf.where(is_sound, g, tf.zeros_like(g)) for g in gradients]
    return tf.cond(is_sound, lambda: list(gradients), lambda: [tf.zeros_like(g) for g in gradients])


def dense(gradients: Sequence[tf.Tensor | tf.IndexedSlices]) -> Gradients:
    """Gradients as tensors, because sums need one type and vocabulary tables are small."""
    return [tf.convert_to_tensor(gradient) for gradient in gradients]


def in_parts(
    work: Callable[[dict[str, tf.Tensor], tf.Tensor], tuple],
    batch: dict[str, tf.Tensor],
    first_row: tf.Tensor,
    parts: int,
) -> tuple:
    """Sums what `work` returns for n equal parts of a batch, one after another.

    Needs memory for one part and one result only.

    Args:
      work: takes a part and the index of its first row; returns a structure of tensors.
      batch: name -> [B, ...]; B a multiple of n.
      first_row: int32 scalar, index of the batch's first row.
      parts: n, at least 1.

    Returns:
      The structure, summed over the parts.

    Raises:
      ValueError: if the batch is not divisible into equal parts (InvalidArgumentError if its size
        is only known when the step runs).
    """
    if parts == 1:
        return work(batch, first_row)
    static = next(iter(batch.values())).shape[0]
    if static is not None and static % parts:
        raise ValueError(f"a batch of {static} rows does not fall into {parts} equal parts")
    count = tf.shape(next(iter(batch.values())))[0]
    if static is None:  # rows of the rest would be left out unnoticed
        message = f"a batch does not fall into {parts} equal parts"
        with tf.control_dependencies([tf.debugging.assert_equal(count % parts, 0, message)]):
            count = tf.identity(count)
    rows = count // parts

    def part(index: tf.Tensor) -> tuple:
        piece = {}
        for name, value in batch.items():
            piece[name] = value[index * rows : (index + 1) * rows]
            static = value.shape[0] // parts if value.shape[0] else None
            piece[name].set_shape([static, *value.shape[1:]])
        return work(piece, first_row + index * rows)

    def add(index, total):
        return index + 1, tf.nest.map_structure(tf.add, total, part(index))

    # The first part is outside the loop to give the loop the structure.
    return tf.while_loop(
        lambda index, _: index < parts,
        add,
        (tf.constant(1), part(tf.constant(0))),
        parallel_iterations=1,
        swap_memory=False,
    )[1]
