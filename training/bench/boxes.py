"""`rgan bench boxes`: what instance codes and the overlap loss teach the box predictor."""

from __future__ import annotations

import argparse
from typing import Any

VARIANTS = {
    "plain": {"instance_codes": False, "box_overlap": 0.0},
    "overlap": {"instance_codes": False, "box_overlap": 1.0},
    "codes": {"instance_codes": True, "box_overlap": 0.0},
    "codes_and_overlap": {"instance_codes": True, "box_overlap": 1.0},
}
_WARM_UP = 100  # steps; without it some runs fall into boxes of the whole image and stay there
_RATE = 1e-3
_VAL_SEED = 123


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    parser.add_argument("config", help="a YAML file, or the name of a shipped config")
    parser.add_argument("--data", required=True, help="folder made by `rgan prepare`")
    parser.add_argument(
        "--keep",
        type=float,
        default=0.5,
        help="probability that an object keeps its relations; the others stand alone (0.5)",
    )
    parser.add_argument("--steps", type=int, default=1000, help="of training, per variant")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--seed", type=int, default=0)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Trains encoder and box predictor alone, under every variant, and judges them on val.

    Returns:
      For every variant the figures of `rgan eval --only layout`, without their prefix.

    Raises:
      BadInput: if an option is out of range, or the data has no val split.
    """
    import dataclasses
    import sys

    from rgan_tf.config import load_config
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.errors import BadInput
    from training.train import config_path

    if not 0 < args.keep <= 1 or min(args.steps, args.batch_size) < 1:
        raise BadInput("rgan bench boxes: need 0 < --keep <= 1, --steps and --batch-size >= 1")
    config = load_config(config_path(args.config))
    data = PreparedData.open(args.data)
    if not data.record_count("val"):
        raise BadInput(f"--data {args.data}: has no val scenes to judge by")
    result: dict[str, Any] = {"config": config.name, "keep": args.keep, "steps": args.steps}
    for name, variant in VARIANTS.items():
        graph = dataclasses.replace(config.graph, instance_codes=variant["instance_codes"])
        losses = dataclasses.replace(config.losses, box_overlap=variant["box_overlap"])
        changed = dataclasses.replace(config, graph=graph, losses=losses)
        result[name] = _measure(changed, data, args)
        iou = result[name]["box_iou"]
        print(f"{name}: mean overlap {iou:.3f}", file=sys.stderr, flush=True)
    return result


def drop_relations(triples, keep: float, generator):
    """Triples [N, T, 3] without those of objects that lose all of theirs, each with 1 - `keep`."""
    import numpy as np

    kept = generator.random((len(triples), int(triples.max()) + 2)) < keep  # [N, objects]
    ends = [np.take_along_axis(kept, np.maximum(triples[..., end], 0), 1) for end in (0, 2)]
    return np.where((ends[0] & ends[1])[..., None], triples, -1).astype(triples.dtype)


def _measure(config, data, args: argparse.Namespace) -> dict[str, Any]:
    import numpy as np
    import tensorflow as tf

    from rgan_tf.losses.total import weighted_sum
    from rgan_tf.model.box_losses import box_losses
    from rgan_tf.model.networks import GraphNetworks, empty_graph
    from training.evaluation.layout import layout_metrics
    from training.evaluation.protocol import Protocol

    tf.keras.utils.set_random_seed(args.seed)
    networks = GraphNetworks(config, data.vocabulary)
    graph = empty_graph(config)
    networks.predict_boxes(graph, networks.encoder(graph))
    rates = tf.keras.optimizers.schedules.CosineDecay(
        0.0, args.steps, warmup_target=_RATE, warmup_steps=min(_WARM_UP, args.steps)
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

    sizes = {"max_objects": config.data.max_objects, "max_triples": config.data.max_triples}
    scenes = data.scenes("train", image_size=config.data.image_size, **sizes)
    generator = np.random.default_rng(args.seed)
    for _ in range(args.steps):
        rows = generator.integers(len(scenes), size=args.batch_size)
        triples = drop_relations(scenes.triples[rows], args.keep, generator)
        step(*map(tf.constant, (scenes.objects[rows], scenes.boxes[rows], triples)))

    held_out = data.scenes("val", image_size=config.data.image_size, **sizes)
    triples = drop_relations(held_out.triples, args.keep, np.random.default_rng(_VAL_SEED))
    batch = {"objects": held_out.objects, "boxes": held_out.boxes, "triples": triples}
    batches = tf.data.Dataset.from_tensor_slices(batch).batch(64)
    metrics = layout_metrics(networks, batches, data.vocabulary, Protocol("val", resamples=0))
    return {name.removeprefix("layout/"): value for name, value in metrics.items()}
