"""Batch and learning rates that grow with the number of replicas."""

from __future__ import annotations

import dataclasses
import math

from rgan_tf.config import Config
from rgan_tf.progress import note

_FACTORS = {"linear": float, "sqrt": math.sqrt}


def grown_with_replicas(config: Config, replicas: int) -> Config:
    """The config that n replicas train, by `training.scale_with_replicas`.

    "linear" and "sqrt" multiply `training.batch_size` by n, so that each replica computes the batch
    of the config, and both learning rates of stages 1 and 3 by n (Goyal et al. 2017) or by its
    square root (Krizhevsky 2014). Numbers of steps and all else stay. The result says "none": its
    numbers are final, and train the same on any number of replicas.

    Args:
      config: as asked for.
      replicas: n, over all processes.
    """
    settings = config.training
    if settings.scale_with_replicas == "none":
        return config
    factor = _FACTORS[settings.scale_with_replicas](replicas)
    grown = dataclasses.replace(
        settings,
        scale_with_replicas="none",
        batch_size=settings.batch_size * replicas,
        generator_learning_rate=settings.generator_learning_rate * factor,
        discriminator_learning_rate=settings.discriminator_learning_rate * factor,
    )
    note(
        f"{replicas} replicas: training.batch_size is {grown.batch_size}, "
        f"generator_learning_rate {grown.generator_learning_rate:g}, "
        f"discriminator_learning_rate {grown.discriminator_learning_rate:g}"
    )
    return dataclasses.replace(config, training=grown)
