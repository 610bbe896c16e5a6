"""Times the parts of the joint training step separately."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf

from rgan_tf.losses.retrieval import draw_anchors
from rgan_tf.model.judgement import Judge, discriminator_terms, generator_terms
from rgan_tf.model.moving_average import move_average
from rgan_tf.model.retrieval_losses import retrieval_losses
from rgan_tf.model.retrievegan import RetrieveGANModel, judged_paths
from training.bench.ceiling import seconds_of
from training.checkpoints import CheckpointFolder

Batch = dict[str, tf.Tensor]


def part_seconds(model: RetrieveGANModel, batch: Batch, repetitions: int) -> dict[str, float]:
    """Median seconds of each part, forward and backward, on one prefetched batch.

    The parts are separate graphs, cut where tensors are passed on. In the whole step some of them
    share work or run in parallel, so they need not add up to it.

    Args:
      model: compiled.
      batch: of the pipeline.
      repetitions: number of timed runs.

    Returns:
      `retrieval` (embedding, selection, both retrieval losses), `generator` (encoder, boxes,
      patches to images, perceptual losses), `discriminators` (both, for real and generated images,
      with the gradient to the images), `optimizer` (both updates and the moving average) and
      `guard` (its verdict).
    """
    parts = {
        "retrieval": _retrieval(model, batch),
        "generator": _generator(model, batch),
        "discriminators": _discriminators(model, batch),
        "optimizer": _optimizer(model),
        "guard": _guard(model),
    }
    return {name: seconds_of(tf.function(work), repetitions) for name, work in parts.items()}


def checkpoint_seconds(model: RetrieveGANModel, repetitions: int) -> float:
    """Median seconds of writing one checkpoint to the temporary folder."""
    times = []
    with tempfile.TemporaryDirectory(prefix="rgan-bench-") as folder:
        checkpoints = CheckpointFolder(Path(folder) / "checkpoints", model.state(), {})
        for step in range(repetitions):
            start = time.perf_counter()
            checkpoints.save(step)
            times.append(time.perf_counter() - start)
    return statistics.median(times)


def _retrieval(model: RetrieveGANModel, batch: Batch) -> Callable[[], tf.Tensor]:
    mask = batch["objects"] > 0  # [B, O]
    seeds = tf.random.stateless_uniform([mask.shape[0], 2], [1, 2], None, None, tf.int32)  # [B, 2]
    variables = model.networks.embedding.trainable_variables
    anchors = draw_anchors(mask, tf.constant([3, 4]))  # [B]

    def work() -> tf.Tensor:
        with tf.GradientTape() as tape:
            retrieved = model.retriever.retrieve(
                batch,
                mask,
                seeds=seeds,
                anchors=anchors,
                temperature=tf.constant(0.5),
                step=model.step,
            )
            losses = retrieval_losses(
                model.config.retrieval, retrieved, mask, anchors, batch["boxes"]
            )
            total = tf.reduce_sum(retrieved.crops) + tf.reduce_sum(
                losses["selection"] + losses["cooccurrence"]
            )
        return _sum_of(tape.gradient(total, variables))

    return work


def _generator(model: RetrieveGANModel, batch: Batch) -> Callable[[], tf.Tensor]:
    networks = model.networks
    own = tf.cast(batch["patch_crops"], tf.float32) / 127.5 - 1.0  # [B, O, h, w, 3]
    parts = (networks.encoder, networks.box_predictor, networks.generator)
    variables = [variable for part in parts for variable in part.trainable_variables]
    graph = {"objects": batch["objects"], "triples": batch["triples"]}

    def work() -> tf.Tensor:
        with tf.GradientTape() as tape:
            encoding = networks.encoder(graph)
            boxes = networks.predict_boxes(graph, encoding)  # [B, O, 4]
            both = [tf.concat([part, part], axis=0) for part in encoding]
            fakes = networks.generator(
                tf.concat([own, own], axis=0),
                type(encoding)(*both),
                tf.concat([batch["boxes"]] * 2, axis=0),
            )  # [2B, H, W, 3]
            maps = model.perceptual.maps(batch["image"])
            distances = [
                model.perceptual.between(model.perceptual.maps(fake), maps)
                for fake in tf.split(fakes, 2)
            ]
            total = tf.add_n([tf.reduce_sum(part) for part in (*distances, boxes)])
        return _sum_of(tape.gradient(total, variables))

    return work


def _discriminators(model: RetrieveGANModel, batch: Batch) -> Callable[[], tf.Tensor]:
    judge = Judge(model.config, model.discriminators, model.perceptual.maps)
    form, boxes = model.config.losses.adversarial, batch["boxes"]
    objects, mask = batch["objects"], batch["objects"] > 0
    fakes = [batch["image"][::-1], batch["image"] * 0.5][: judged_paths(model.config)]  # n images
    variables = model.discriminators.trainable_variables

    def work() -> tf.Tensor:
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(fakes)
            of_real, *of_fakes = judge(
                [batch["image"], *fakes],
                [boxes] * (1 + len(fakes)),
                mask,
                lambda purpose: model.batch_seeds(purpose, tf.constant(0), objects.shape[0]),
            )
            ours = discriminator_terms(of_real, of_fakes, objects, mask, form=form)
            theirs = generator_terms(of_fakes, objects, mask, form=form)
            total = tf.add_n([tf.reduce_sum(term) for term in ours.values()])
            of_generator = tf.add_n([tf.reduce_sum(term) for term in theirs.values()])
        gradients = tape.gradient(total, variables, unconnected_gradients="zero")
        return _sum_of(gradients) + _sum_of(tape.gradient(of_generator, fakes))

    return work


def _optimizer(model: RetrieveGANModel) -> Callable[[], tf.Tensor]:
    sides = (
        (model.generator_optimizer, model.networks.trainable_variables),
        (model.discriminator_optimizer, model.discriminators.trainable_variables),
    )
    gradients = [[tf.fill(v.shape, 1e-3) for v in variables] for _, variables in sides]

    def work() -> tf.Tensor:
        for (optimizer, variables), part in zip(sides, gradients, strict=True):
            optimizer.apply_gradients(zip(part, variables, strict=True))
        move_average(
            model.average,
            model.networks,
            step=model.step,
            decay=model.config.training.ema_decay,
            gate=model.guard.gate,
        )
        return tf.constant(0.0)

    return work


def _guard(model: RetrieveGANModel) -> Callable[[], tf.Tensor]:
    variables = [*model.networks.trainable_variables, *model.discriminators.trainable_variables]
    gradients = [tf.fill(variable.shape, 1e-3) for variable in variables]

    def work() -> tf.Tensor:
        is_sound = model.guard.judge(model.step, [tf.constant(1.0)] * 2, gradients)
        model.guard.end_step()
        return tf.cast(is_sound, tf.float32)

    return work


def _sum_of(gradients) -> tf.Tensor:
    """One number that depends on all gradients, so that none is optimised away."""
    return tf.add_n([tf.reduce_sum(tf.convert_to_tensor(gradient)) for gradient in gradients])
