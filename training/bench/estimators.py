"""Compares the gradients that a straight-through selection can have, on a trained run."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import load_backbone
from rgan_tf.config import Config, changed
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.losses.retrieval import draw_anchors
from rgan_tf.model.networks import RetrievalNetworks, build_retrieval_networks
from rgan_tf.model.retrieval_losses import retrieval_losses
from rgan_tf.progress import note
from rgan_tf.retrieval.gumbel import EXPECTED, PAPER, WITHIN_GROUP
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.runs import check_learns_retrieval, load_weights, open_run
from rgan_tf.seeds import Purpose, derive_batch_seeds
from training.bench.joint_step import training_batches
from training.evaluation.inputs import open_data_of
from training.first_stages import load_first_stages

ESTIMATORS = ((WITHIN_GROUP, 1.0), (WITHIN_GROUP, 0.1), (EXPECTED, 1.0), (PAPER, 1.0), (PAPER, 0.1))
OBJECTIVES = ("perceptual", "cooccurrence_sampled", "cooccurrence_expected", "selection")
_STEP = 0.03  # length of the descent step, relative to the length of φ's weights


def compare_estimators(
    run_name: str,
    data_folder: str | None,
    *,
    batches: int,
    draws: int,
    untrained: bool = False,
    weights_dir: str | None = None,
) -> dict[str, Any]:
    """Size, steadiness and usefulness of each gradient, on the same scenes and noise.

    Args:
      run_name: a trained run; its φ, encoder and generator are used.
      data_folder: prepared data; None takes that of the run.
      batches: number of batches, of the run's size, from the training split.
      draws: of the noise, per batch; the first half gives the average.
      untrained: take φ as it was before training.
      weights_dir: of the perceptual backbone.

    Returns:
      objective -> estimator -> `norm`: mean length of the gradient of one draw; `cosine`: mean
      cosine of one draw of the second half to the average over the first half; `descent`: change
      of the sampled objective, with the noise of the second half, after a step of one length along
      the average. The objectives are the perceptual distance of the generated images, the two
      forms of the co-occurrence loss, and the selection loss, all unweighted; no noise reaches
      the last.

    Raises:
      BadInput: if the run learned no retrieval, or does not fit the data.
    """
    run = open_run(run_name)
    check_learns_retrieval(run, run_name)
    data = open_data_of(run, run_name, data_folder)
    config = run.config
    exact = {"exact_candidates": config.retrieval.candidates, "straight_through": True}
    config = changed(config, retrieval=exact)
    networks = build_retrieval_networks(config, run.vocabulary, run.feature_size)
    load_weights(run, "retrievegan", networks)
    if untrained:
        networks.embedding.set_weights(networks.embedding.untrained(0).get_weights())
    table = load_first_stages(run).candidates(config, data, ["train"])["train"]
    scenes = list(training_batches(config, data, table).take(batches))
    perceptual = PerceptualDistance(load_backbone(config.losses.perceptual_backbone, weights_dir))
    result: dict[str, Any] = {
        "run": run_name,
        "untrained": untrained,
        "batches": batches,
        "draws": draws,
        "scale": round(float(networks.embedding.scale), 2),
        "estimators": {name: {} for name in OBJECTIVES},
    }
    for gradient, temperature in ESTIMATORS:
        probe = _Probe(config, networks, perceptual, gradient, temperature)
        figures = probe.figures(scenes, draws)
        for objective, values in figures.items():
            result["estimators"][objective][f"{gradient}, temperature {temperature:g}"] = values
        note(f"{gradient}, temperature {temperature:g}: done")
    return result


class _Probe:
    """One estimator: objectives and their gradients with respect to φ."""

    def __init__(
        self,
        config: Config,
        networks: RetrievalNetworks,
        perceptual: PerceptualDistance,
        gradient: str,
        temperature: float,
    ):
        self._config, self._networks, self._perceptual = config, networks, perceptual
        self._temperature = temperature
        self._variables = [v for v in networks.embedding.trainable_variables if v.shape.rank > 0]
        estimated = changed(config, retrieval={"gradient": gradient})
        self._retriever = LearnedRetriever(estimated, networks.embedding)
        self._forms = [
            dataclasses.replace(estimated.retrieval, cooccurrence_loss=form)
            for form in ("sampled", "expected")
        ]

    def figures(self, scenes: list, draws: int) -> dict[str, dict[str, float]]:
        """See `compare_estimators`."""
        half = draws // 2
        gradients = np.array(
            [
                [self._flat(self.gradients(batch, tf.constant(draw))) for draw in range(draws)]
                for batch in scenes
            ]
        )  # [batches, draws, objectives, weights]
        means = gradients[:, :half].mean(axis=(0, 1))  # [objectives, weights]
        result = {}
        for index, name in enumerate(OBJECTIVES):
            of_batch = gradients[:, :half, index].mean(axis=1, keepdims=True)
            cosines = cosine(gradients[:, half:, index], of_batch)
            result[name] = {
                "norm": float(f"{np.linalg.norm(gradients[:, :, index], axis=-1).mean():.3g}"),
                "cosine": round(float(cosines.mean()), 3),
                "descent": float(f"{self._descent(scenes, half, draws, index, means[index]):.3g}"),
            }
        return result

    @tf.function
    def objectives(self, batch: dict[str, tf.Tensor], draw: tf.Tensor) -> list[tf.Tensor]:
        """The means over the batch, in the order of `OBJECTIVES`."""
        graph = {"objects": batch["objects"], "triples": batch["triples"]}
        encoding = self._networks.encoder(graph)
        mask = encoding.object_mask  # [B, O]
        rows = tf.shape(mask)[0]
        seeds = derive_batch_seeds(0, draw, Purpose.GUMBEL_NOISE, rows=rows)  # [B, 2]
        anchors = draw_anchors(mask, tf.constant([0, 0]))  # [B]
        retrieved = self._retriever.retrieve(
            batch,
            mask,
            seeds=seeds,
            anchors=anchors,
            temperature=tf.constant(self._temperature),
            step=draw,
        )
        images = self._networks.generator(retrieved.crops, encoding, batch["boxes"])
        distance = self._perceptual.between(
            self._perceptual.maps(images), self._perceptual.maps(batch["image"])
        )  # [B]
        terms = [
            retrieval_losses(form, retrieved, mask, anchors, batch["boxes"]) for form in self._forms
        ]  # [B] each
        losses = [distance, *(term["cooccurrence"] for term in terms), terms[0]["selection"]]
        return [tf.reduce_mean(loss) for loss in losses]

    @tf.function
    def gradients(self, batch: dict[str, tf.Tensor], draw: tf.Tensor) -> list[list[tf.Tensor]]:
        """Gradients of each objective with respect to φ's weights."""
        with tf.GradientTape(persistent=True) as tape:
            losses = self.objectives(batch, draw)
        return [tape.gradient(loss, self._variables) for loss in losses]

    def _flat(self, gradients: list[list[tf.Tensor]]) -> np.ndarray:
        return np.array([np.concatenate([g.numpy().ravel() for g in part]) for part in gradients])

    def _descent(self, scenes, first: int, last: int, objective: int, direction) -> float:
        """Mean change of an objective over scenes and draws after a step against `direction`."""

        def measured() -> float:
            values = [
                self.objectives(batch, tf.constant(draw))[objective].numpy()
                for batch in scenes
                for draw in range(first, last)
            ]
            return float(np.mean(values))

        before, start = [v.numpy() for v in self._variables], measured()
        length = np.sqrt(sum((value**2).sum() for value in before))
        step = direction * (_STEP * length / max(np.linalg.norm(direction), 1e-30))
        for variable, value in zip(self._variables, before, strict=True):
            part, step = np.split(step, [value.size])
            variable.assign(value - part.reshape(value.shape))
        end = measured()
        for variable, value in zip(self._variables, before, strict=True):
            variable.assign(value)
        return end - start


def cosine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Cosine of vectors [..., D] -> [...]; 0 if one has length 0."""
    lengths = np.linalg.norm(first, axis=-1) * np.linalg.norm(second, axis=-1)
    return (first * second).sum(axis=-1) / np.maximum(lengths, 1e-300)
