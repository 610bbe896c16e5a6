"""The schedule of the relaxed selection's temperature."""

from __future__ import annotations

import tensorflow as tf


def exponential_temperature(
    step: tf.Tensor | int, *, start: float, end: float, anneal_steps: int
) -> tf.Tensor:
    """Falls from `start` to `end` by a constant factor per step, then stays at `end`.

    As in Jang et al., ICLR 2017. By the defaults of a config it is constantly 1 (method §3.6); 0.1,
    Xie & Ermon's constant, is the end in `faithful_64`.

    Args:
      step: integer scalar, the training step.
      start: temperature at step 0, above 0.
      end: temperature from step `anneal_steps` on, above 0.
      anneal_steps: length of the schedule in steps; with 0 it is always `end`.

    Returns:
      Scalar float32.

    Raises:
      ValueError: if a temperature is not above 0 or `anneal_steps` is negative.
    """
    if start <= 0 or end <= 0:
        raise ValueError(f"temperatures must be above 0, got start={start}, end={end}")
    if anneal_steps < 0:
        raise ValueError(f"anneal_steps must not be negative, got {anneal_steps}")
    if anneal_steps == 0:
        return tf.constant(end, tf.float32)
    progress = tf.minimum(tf.cast(step, tf.float32) / float(anneal_steps), 1.0)
    return start * tf.pow(tf.constant(end / start, tf.float32), progress)
