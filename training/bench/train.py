"""`rgan bench train`: times the joint training step and counts the generator's operations."""

from __future__ import annotations

import argparse
from typing import Any

from rgan_tf.options import add_config, add_weights_dir

_SETTLING_S = 0.5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the options."""
    add_config(parser)
    parser.add_argument("--data", required=True, help="folder made by `rgan prepare`")
    parser.add_argument(
        "--steps", type=int, default=20, help="number of timed steps per repetition (20)"
    )
    parser.add_argument(
        "--repetitions",
        type=int,
        default=3,
        help="number of repetitions, whose median is reported (3)",
    )
    add_weights_dir(parser)


def main(args: argparse.Namespace) -> dict[str, Any]:
    """Times the joint step on real batches, with untrained weights.

    Returns:
      `images_per_second`, `step_seconds`, `input_images_per_second` (the pipeline alone, which
      searches the index for the candidates of every batch, without caching),
      `candidate_search_images_per_second` (the search alone), `input_to_step_ratio`,
      `part_milliseconds` (see `training.bench.step_parts`; with `input`, of the pipeline alone, and
      `checkpoint`, of writing one), `guard_share` and `checkpoint_share` (of the step, and of the
      time between two checkpoints), `step_gflop`, `achieved_gflops` (GFLOP/s), `ceiling_gflops` (of
      this machine, measured here), `share_of_ceiling` (of the convolution's),
      `generator_gflop_per_image` (forward pass), `parameters`, `peak_memory_mb`.
    """
    import resource
    import statistics
    import time

    import numpy as np
    import tensorflow as tf

    from rgan_tf.arguments import check_least
    from rgan_tf.data.prepared import PreparedData
    from rgan_tf.model.flops import count_flops, count_weights
    from rgan_tf.model.networks import build_cooccurrence_embedding, build_sg2im_networks
    from rgan_tf.progress import note
    from rgan_tf.retrieval.prefilter import prefilter
    from training.api import check_data_fits
    from training.bench.ceiling import measured_ceilings
    from training.bench.joint_step import build_joint_step, skip_made_ahead
    from training.bench.step_flops import step_gflop
    from training.bench.step_parts import checkpoint_seconds, part_seconds
    from training.configuration import named_config

    check_least(args, 1, "steps", "repetitions")
    config = named_config(args.config, args.overrides)
    data = PreparedData.open(args.data)
    check_data_fits(config, data)
    width = data.bank.feature_size
    sg2im = build_sg2im_networks(config, data.vocabulary)
    cooccurrence = build_cooccurrence_embedding(config, width)
    source = prefilter(config, data, ["train"], sg2im, cooccurrence, remembers=False)["train"]
    model, batches, step = build_joint_step(config, data, source, weights_dir=args.weights_dir)
    networks = model.networks

    def generate(objects, triples, crops):
        graph = {"objects": objects, "triples": triples}
        encoding = networks.encoder(graph)
        boxes = networks.predict_boxes(graph, encoding)  # [1, O, 4]
        return networks.generator(crops, encoding, boxes)  # [1, H, W, 3]

    objects, size = config.data.max_objects, config.data.crop_size
    flops = count_flops(
        generate,
        tf.TensorSpec([1, objects], tf.int32),
        tf.TensorSpec([1, config.data.max_triples, 3], tf.int32),
        tf.TensorSpec([1, objects, size, size, 3]),
    )

    def timed(work) -> float:
        start = time.perf_counter()
        for _ in range(args.steps):
            work()
        return (time.perf_counter() - start) / args.steps

    note("tracing the joint step")
    for _ in range(3):
        step(next(batches))
    images = config.training.batch_size
    rng = np.random.default_rng(0)
    joint, alone, search = [], [], []
    for repetition in range(args.repetitions):
        joint.append(timed(lambda: step(next(batches))["loss/generator"].numpy()))
        skip_made_ahead(batches)
        alone.append(timed(lambda: next(batches)))
        time.sleep(_SETTLING_S)  # let the pipeline finish prefetching
        objects = rng.integers(len(data.bank), size=[images, config.data.max_objects])
        search.append(timed(lambda objects=objects: source.ids_of(objects)))
        note(f"repetition {repetition + 1}: {joint[-1]:.3f} s per step")
    note("taking the step apart")
    batch = next(batches)
    parts = part_seconds(model, batch, args.repetitions)
    parts["input"] = statistics.median(alone)
    parts["checkpoint"] = checkpoint_seconds(model, args.repetitions)
    gflop, ceilings = step_gflop(model, batch), measured_ceilings(config.training.precision)
    seconds = statistics.median(joint)
    interval = seconds * config.training.checkpoint_every_steps
    return {
        "config": config.name,
        "batch_size": images,
        "step_seconds": round(statistics.median(joint), 4),
        "images_per_second": round(images / statistics.median(joint), 2),
        "input_images_per_second": round(images / statistics.median(alone), 2),
        "candidate_search_images_per_second": round(images / statistics.median(search), 2),
        "input_to_step_ratio": round(statistics.median(joint) / statistics.median(alone), 2),
        "part_milliseconds": {name: round(1e3 * value, 2) for name, value in parts.items()},
        "guard_share": round(parts["guard"] / seconds, 5),
        "checkpoint_share": round(parts["checkpoint"] / interval, 5),
        "step_gflop": round(gflop, 2),
        "achieved_gflops": round(gflop / seconds, 1),
        "ceiling_gflops": {name: round(value, 1) for name, value in ceilings.items()},
        "share_of_ceiling": round(gflop / seconds / ceilings["convolution"], 3),
        "generator_gflop_per_image": round(flops / 1e9, 3),
        "parameters": {
            "generator_side": count_weights(networks),
            "discriminators": count_weights(model.discriminators),
        },
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }
