"""Base of the callbacks of a stage."""

from __future__ import annotations

import math

import tensorflow as tf

from rgan_tf.errors import Diverged


class StageCallback(tf.keras.callbacks.Callback):
    """Knows the stage's step count, which continues over restarts.

    Args:
      first_step: steps done before this `fit`.
      total_steps: steps of the stage.
    """

    def __init__(self, first_step: int, total_steps: int):
        super().__init__()
        self.step = first_step
        self.total_steps = total_steps

    def on_train_batch_end(self, batch, logs=None):
        self.step += 1


def refuse_non_finite(step: int, logs: dict | None, broken: str = "") -> None:
    """Raises if training has become non-finite, whatever the guard let pass.

    Args:
      step: steps done.
      logs: name -> value.
      broken: other non-finite things, in words.

    Raises:
      Diverged: if a value is not finite, or `broken` is not empty.
    """
    names = sorted(name for name, value in (logs or {}).items() if not math.isfinite(value))
    names += [broken] if broken else []
    if names:
        raise Diverged(
            f"step {step}: {', '.join(names)} not finite; the last checkpoint is intact, but "
            "resuming from it will probably end here again: lower the learning rates or the "
            "adversarial weights, in another run"
        )
