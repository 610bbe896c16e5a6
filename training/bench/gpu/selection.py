"""`gumbel_group_select` with its gradient, as a program, and what TensorFlow makes of it."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.retrieval.gumbel import gumbel_group_select
from training.bench.gpu.hlo import program_of, with_full_products
from training.bench.gpu.package import Package

_SCENES = 8
_RESULTS = ("choice", "order", "weights", "gradient_of_features", "gradient_of_query")
_EXACT = ("choice", "order")


def add_selection(package: Package, config: Config, candidates: int) -> None:
    """Adds one check of the selection, with the config's own form of it and seeded input.

    Args:
      package: to add to.
      config: gives objects, width, scale and gradient.
      candidates: K.
    """
    settings = config.retrieval

    def select(features, valid, query, gumbel, values):
        with tf.GradientTape() as tape:
            tape.watch([features, query])
            selection = gumbel_group_select(
                features,  # [B, O, K, D]
                valid,  # [B, O, K]
                query,  # [B, D]
                gumbel,  # [B, O, K]
                scale=settings.initial_scale,
                temperature=settings.temperature_start,
                straight_through=settings.straight_through,
                gradient=settings.gradient,
            )
            total = tf.reduce_sum(selection.weights * values)  # []
        gradients = tape.gradient(total, [features, query], unconnected_gradients="zero")
        return [selection.choice, selection.order, selection.weights, *gradients]

    arguments = _arguments(config.data.max_objects, candidates, settings.embedding_sizes[-1])
    program = program_of(select, arguments)
    expected = tf.function(select)(*arguments)
    package.add(
        f"select_{candidates}",
        "selection",
        program,
        # With fewer bits near ties would be decided otherwise.
        with_full_products(program.hlo),
        arguments=[package.keep(argument) for argument in arguments],
        expected={
            name: package.keep(value) for name, value in zip(_RESULTS, expected, strict=True)
        },
        exact=list(_EXACT),
    )


def _arguments(objects: int, candidates: int, width: int) -> list[np.ndarray]:
    """features, valid, query, gumbel, values; one scene has an object less, one object fewer
    candidates."""
    rng = np.random.default_rng(0)
    each = (_SCENES, objects, candidates)
    features = rng.normal(size=(*each, width))  # [B, O, K, D]
    features /= np.linalg.norm(features, axis=-1, keepdims=True)
    valid = np.ones(each, bool)  # [B, O, K]
    valid[0, -1] = False
    valid[1, 0, candidates // 2 :] = False
    query = features[:, 0, 0]  # [B, D]
    gumbel = rng.gumbel(size=each)  # [B, O, K]
    values = rng.normal(size=each)  # [B, O, K]
    floats = [array.astype(np.float32) for array in (features, query, gumbel, values)]
    return [floats[0], valid, *floats[1:]]
