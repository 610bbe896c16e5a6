"""Trains the encoder and box predictor alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.data.prepared import PreparedData
from rgan_tf.losses.total import weighted_sum
from rgan_tf.model.box_losses import box_losses
from rgan_tf.model.networks import GraphNetworks, empty_graph
from training.evaluation.layout import layout_metrics
from training.evaluation.protocol import Protocol

_WARM_UP = 100  # steps; without it some runs get stuck at boxes of the whole image
_RATE = 1e-3
_VAL_SEED = 123


def drop_relations(triples: np.ndarray, keep: float, generator: np.random.Generator) -> np.ndarray:
    """Triples [N, T, 3]; each object loses all of its own with probability 1 - `keep`."""
    kept = generator.random((len(triples), int(triples.max()) + 2)) < keep  # [N, objects]
    ends = [np.take_along_axis(kept, np.maximum(triples[..., end], 0), 1) for end in (0, 2)]
    return np.where((ends[0] & ends[1])[..., None], triples, -1).astype(triples.dtype)


def measure(
    config: Config, data: PreparedData, *, steps: int, rows: int, keep: float, seed: int
) -> dict[str, Any]:
    """Trains encoder and box predictor and evaluates them on val; see `rgan bench boxes`."""
    tf.keras.utils.set_random_seed(seed)
    networks = GraphNetworks(config, data.vocabulary)
    graph = empty_graph(config)
    networks.predict_boxes(graph, networks.encoder(graph))
    rates = tf.keras.optimizers.schedules.CosineDecay(
        0.0, steps, warmup_target=_RATE, warmup_steps=min(_WARM_UP, steps)
    )
    optimizer = tf.keras.optimizers.Adam(rates, global_clipnorm=1.0)
    variables = networks.trainable_variables
    optimizer.build(variables)
    weights = {"box": config.losses.box, "box_overlap": config.losses.box_overlap}

    @tf.function
    def step(objects, boxes, triples):
        graph = {"objects": objects, "triples": triples}
        with tf.GradientTape() as tape:
            predicted = networks.predict_boxes(graph, networks.encoder(graph))  # [B, O, 4]
            terms = box_losses(config, predicted, boxes, graph, objects > 0)
            loss = tf.reduce_mean(weighted_sum(terms, weights))
        gradients = tape.gradient(loss, variables, unconnected_gradients="zero")
        optimizer.apply_gradients(zip(gradients, variables, strict=True))

    scenes = data.scenes("train", config.data)
    generator = np.random.default_rng(seed)
    for _ in range(steps):
        drawn = generator.integers(len(scenes), size=rows)
        triples = drop_relations(scenes.triples[drawn], keep, generator)
        step(*map(tf.constant, (scenes.objects[drawn], scenes.boxes[drawn], triples)))

    held_out = data.scenes("val", config.data)
    triples = drop_relations(held_out.triples, keep, np.random.default_rng(_VAL_SEED))
    batch = {"objects": held_out.objects, "boxes": held_out.boxes, "triples": triples}
    batches = tf.data.Dataset.from_tensor_slices(batch).batch(64)
    metrics = layout_metrics(networks, batches, data.vocabulary, Protocol("val", resamples=0))
    return {name.removeprefix("layout/"): value for name, value in metrics.items()}
