"""How many steps of each system cost as many operations as those of RetrieveGAN."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.flops import count_flops
from rgan_tf.progress import note
from rgan_tf.registered_names import RIVALS
from rgan_tf.rivals.attngan.image_encoder import frozen_features
from rgan_tf.runs import DAMSM, EMBEDDING, stages_of
from rgan_tf.storage.files import read_json, write_json_atomic
from training.bench import step_flops
from training.compare.entries import settings_of
from training.configuration import named_config

UNCOUNTED = (
    "AttnGAN's encoders are trained besides (stage damsm). Their operations, counted without those "
    "of reading and matching texts, come on top of those of its joint steps."
)
"""What a reader has to know of the operations in the table."""

_LENGTHS = (".steps", ".embedding_steps", ".embedding_scenes", ".embedding_learning_rate")
_OURS = "retrievegan"
_VERSION = 2  # of the count; a new one discards those that are kept


def embedding_gflop(config: Config, feature_size: int) -> float:
    """GFLOP of φ's own stage; 0 without one.

    Counts every place for an object as taken, which is in the rivals' favour.

    Args:
      config: of the run.
      feature_size: Dx.
    """
    steps = stages_of(config).get(EMBEDDING, 0)
    settings = config.retrieval
    sizes = (feature_size, *settings.embedding_sizes)
    learned = sum(rows * columns for rows, columns in itertools.pairwise(sizes))
    fixed = feature_size * sizes[-1] if settings.embedding_start == "frozen" else 0
    # A multiplication and an addition, forward, and for what is learned twice more backward.
    of_a_patch = 6 * learned + 2 * fixed
    patches = settings.embedding_scenes * config.data.max_objects * (1 + settings.candidates)
    return steps * patches * of_a_patch / 1e9


def damsm_gflop(config: Config) -> float:
    """GFLOP of the stage of AttnGAN's encoders; 0 without it.

    Counts what their frozen network does on the images, which is nearly all of it.

    Args:
      config: of the run.
    """
    steps = stages_of(config).get(DAMSM, 0)
    if not steps:
        return 0.0
    image = tf.TensorSpec([1, config.data.image_size, config.data.image_size, 3])
    images = steps * config.attngan.damsm_batch_size
    return images * count_flops(frozen_features(), image) / 1e9


def steps_of_equal_cost(
    gflops: Mapping[str, float], steps: int, *, besides: float = 0.0
) -> dict[str, int]:
    """Joint steps of each system that cost what those of RetrieveGAN cost, by counted operations.

    Systems with RetrieveGAN's own networks have its number of steps.

    Args:
      gflops: of one step by system, from `step_gflops`.
      steps: RetrieveGAN's joint steps.
      besides: GFLOP of its training besides these steps.

    Returns:
      System -> steps, of the rivals; {} if there are none.
    """
    return {
        system: max(1, round((steps * gflops[_OURS] + besides) / each))
        for system, each in gflops.items()
        if system != _OURS
    }


def step_gflops(
    name: str,
    overrides: list[str],
    systems: list[str],
    data: PreparedData,
    remembered: Path,
    *,
    weights_dir: str | None,
) -> dict[str, float]:
    """GFLOP of one joint step of RetrieveGAN and of the rivals.

    Args:
      name: of the config.
      overrides: of every config.
      systems: the rows.
      data: gives a batch.
      remembered: JSON file of counts, as one takes a minute; made or extended.
      weights_dir: folder with backbone weight files.

    Returns:
      System -> GFLOP, of `retrievegan` and the rivals among the systems; {} if there are none.
    """
    rivals = [system for system in systems if system in RIVALS]
    if not rivals:
        return {}
    counts = read_json(remembered) if remembered.exists() else {}

    def gflop(system: str) -> float:
        config = named_config(name, [*overrides, *settings_of(system)])
        # What is counted does not depend on the length of the training, nor on φ's own stage.
        settings = {k: v for k, v in flat_settings(config).items() if not k.endswith(_LENGTHS)}
        key = json.dumps([data.fingerprint, settings, _VERSION], sort_keys=True)
        if key not in counts:
            note(f"compare: counting the operations of a step of {name}, {system}; takes a minute")
            counts[key] = step_flops.training_gflop(config, data, weights_dir=weights_dir)
            write_json_atomic(remembered, counts)
        return counts[key]

    return {system: gflop(system) for system in (_OURS, *rivals)}
