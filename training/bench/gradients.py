"""Effects of truncation and cache age on a trained run, on its own data."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import load_backbone
from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.config import changed
from rgan_tf.errors import BadInput
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.losses.total import weighted_sum
from rgan_tf.model.retrievegan import RetrieveGANModel
from rgan_tf.progress import note
from rgan_tf.retrieval.cache import EmbeddingCache
from rgan_tf.retrieval.cached import CachedRetriever
from rgan_tf.retrieval.prefilter import embed_rows
from rgan_tf.retrieval.selector import GroupRetrieval
from rgan_tf.runs import check_learns_retrieval, checkpoint_identity, open_run
from rgan_tf.seeds import Purpose, derive_row_seeds
from training.bench.estimators import compare_estimators, cosine
from training.bench.joint_step import training_batches
from training.checkpoints import CheckpointFolder
from training.evaluation.inputs import open_data_of
from training.first_stages import load_first_stages
from training.stages.retrievegan import build_retrievegan

LOADED = (4, 8, 16)
PARTS = ("total", "through_selection", "selection_loss")


def has_checkpoints(run_name: str) -> bool:
    """Whether a run still has checkpoints of its joint stage."""
    folder = open_run(run_name).stage_folder("retrievegan") / "checkpoints"
    return any(folder.glob("step-*"))


def compare_both(
    run_name: str,
    data_folder: str | None,
    *,
    draws: int,
    untrained: bool,
    candidates: int,
    batches: int,
    weights_dir: str | None,
) -> dict[str, Any]:
    """The result of `compare_estimators`; if the run has checkpoints, `truncation` holds that of
    `compare_gradients`."""
    shared = {"batches": batches, "weights_dir": weights_dir}
    result = compare_estimators(run_name, data_folder, draws=draws, untrained=untrained, **shared)
    if not untrained and has_checkpoints(run_name):
        result["truncation"] = compare_gradients(
            run_name, data_folder, candidates=candidates, **shared
        )
    return result


def compare_gradients(
    run_name: str,
    data_folder: str | None,
    *,
    candidates: int,
    batches: int,
    weights_dir: str | None = None,
    loaded: tuple[int, ...] = LOADED,
    temperatures: tuple[float, ...] | None = None,
) -> dict[str, Any]:
    """Compares the truncated gradient of φ with the full one, and cached choices with fresh ones.

    Args:
      run_name: a trained run with its checkpoints.
      data_folder: prepared data; None takes that of the run.
      candidates: K.
      batches: number of batches, of the run's size, from the training split.
      weights_dir: of the perceptual backbone.
      loaded: values of m; K is added.
      temperatures: of the selection; None takes the first and last of the run's schedule.

    Returns:
      `cosine`: temperature -> m -> part -> mean over the batches of the cosine between truncated
      and full gradient, with a fresh cache. The parts are the gradient of the whole loss, that
      through the selected patches, and that of the selection loss.
      `cosine_of_mean`: the same for gradients averaged over the batches.
      `choices_differ`: share of objects whose choice differs from that with fresh embeddings of all
      K, by the age of the cache: `oldest`, every row at `age_steps`; `spread`, ages uniform over 0
      to `age_steps`, as in training. `cached_alone` is the share without re-embedding the m.

    Raises:
      BadInput: if the run has no checkpoints, learned no retrieval, or does not fit the data.
    """
    run = open_run(run_name)
    check_learns_retrieval(run, run_name)
    data = open_data_of(run, run_name, data_folder)
    folder = run.stage_folder("retrievegan") / "checkpoints"
    if not has_checkpoints(run_name):
        raise BadInput(f"--run {run_name}: has no checkpoints of the joint stage in {folder}")
    config = changed(
        run.config, retrieval={"candidates": candidates, "exact_candidates": candidates}
    )
    table = load_first_stages(run).candidates(config, data, ["train"])["train"]
    reader = PatchReader(data.bank, table.cooccurrence, crop_size=config.data.crop_size)
    perceptual = PerceptualDistance(load_backbone(config.losses.perceptual_backbone, weights_dir))
    model = build_retrievegan(config, run.vocabulary, perceptual, reader)
    aged, steps = [], []
    state = {"step": model.step, "networks": model.networks}
    identity = checkpoint_identity(run, "retrievegan")
    for step in CheckpointFolder(folder, state, identity, writes=False).restore_each():
        aged.append(embed_rows(model.networks.embedding, data.bank.features))
        steps.append(step)
    scenes = list(training_batches(config, data, table, start_step=steps[-1]).take(batches))
    cache = EmbeddingCache(rows=len(data.bank), width=aged[-1].shape[1], max_age_steps=1)
    result: dict[str, Any] = {
        "run": run_name,
        "step": steps[-1],
        "candidates": candidates,
        "batches": batches,
        "batch_size": config.training.batch_size,
        "cosine": {},
        "cosine_of_mean": {},
    }
    cache.vectors.assign(aged[-1])
    schedule = (config.retrieval.temperature_start, config.retrieval.temperature_end)
    for temperature in temperatures or schedule:
        figures = _cosines(
            model,
            config,
            scenes,
            cache,
            reader,
            temperature,
            (*loaded, candidates),
            steps[-1],
            run.config.retrieval.exact_candidates,
        )
        for kind, values in zip(("cosine", "cosine_of_mean"), figures, strict=True):
            result[kind][f"temperature {temperature:g}"] = values
    spread = np.stack(aged)[np.arange(len(data.bank)) % len(aged), np.arange(len(data.bank))]
    result["age_steps"] = steps[-1] - steps[0]
    result["choices_differ"] = {
        name: _choices_differ(model, config, scenes, cache, reader, stale, aged[-1])
        for name, stale in (("oldest", aged[0]), ("spread", spread), ("fresh", aged[-1]))
    }
    return result


def _cosines(model, config, scenes, cache, reader, temperature, loaded, first_step, run_exact):
    """Cosines by m, of each batch and of the mean over the batches."""
    fixed = {"temperature_end": temperature, "temperature_anneal_fraction": 0.0}
    model.config = changed(config, retrieval=fixed)
    exact = model.retriever
    full = _gradients(model, scenes, first_step)  # [batches, parts, weights of φ]
    each, of_mean = {}, {}
    for number in loaded:
        limits = {"loaded_candidates": number, "exact_candidates": run_exact}
        truncated = changed(model.config, retrieval=limits)
        model.retriever = CachedRetriever(truncated, model.networks.embedding, cache, reader)
        cut = _gradients(model, scenes, first_step)
        note(f"temperature {temperature:g}, m = {number}: done")
        each[number] = _by_part(cosine(full, cut).mean(axis=0))
        of_mean[number] = _by_part(cosine(full.mean(axis=0), cut.mean(axis=0)))
    model.retriever, model.config = exact, config
    return each, of_mean


def _gradients(model: RetrieveGANModel, scenes: list, first_step: int) -> np.ndarray:
    """[batches, parts, weights] float64: gradients of φ, without the scale of the distances."""
    variables = [v for v in model.networks.embedding.trainable_variables if v.shape.rank > 0]

    @tf.function
    def gradients(batch):
        with tf.GradientTape(persistent=True) as tape:
            terms = model.compute_terms(batch, tf.constant(0)).generator
            total = tf.reduce_sum(weighted_sum(terms, model.generator_weights))
            weight = model.generator_weights["selection"]
            selection = weight * tf.reduce_sum(terms["selection"])
            rest = total - selection
        parts = [tape.gradient(loss, variables) for loss in (rest, selection)]
        return [[a + b for a, b in zip(*parts, strict=True)], *parts]

    result = []
    for index, batch in enumerate(scenes):
        model.step.assign(first_step + index)  # new noise for every batch
        flat = [[part.numpy().ravel() for part in parts] for parts in gradients(batch)]
        result.append([np.concatenate(parts) for parts in flat])
    return np.asarray(result, np.float64)


def _by_part(values: np.ndarray) -> dict[str, float]:
    return {name: round(float(value), 4) for name, value in zip(PARTS, values, strict=True)}


def _choices_differ(model, config, scenes, cache, reader, stale, fresh) -> dict[str, float]:
    """Shares of objects that get another patch than with fresh embeddings of all K."""
    cache.vectors.assign(stale)
    embedding = model.networks.embedding
    cached = CachedRetriever(config, embedding, cache, reader)
    temperature = config.retrieval.temperature_end
    counts = np.zeros(3)
    for index, batch in enumerate(scenes):
        ids, valid = batch["candidate_ids"], batch["candidate_valid"]
        rows = tf.range(tf.shape(ids)[0]) + 1000 * index
        seeds = derive_row_seeds(rows, Purpose.GUMBEL_NOISE)
        short = cached.select(ids, valid, cache.lookup(ids), seeds, temperature=temperature)
        ours = tf.gather(short.slots, tf.maximum(short.selection.choice, 0), batch_dims=2)
        true, alone = (
            GroupRetrieval()(
                tf.gather(vectors, tf.maximum(ids, 0)), valid, seeds, scale=embedding.scale
            ).choice.numpy()
            for vectors in (tf.constant(fresh), cache.vectors)
        )
        present = true >= 0
        counts += [
            present.sum(),
            (ours.numpy() != true)[present].sum(),
            (alone != true)[present].sum(),
        ]
    return {
        "choices_differ": round(counts[1] / max(counts[0], 1), 4),
        "cached_alone": round(counts[2] / max(counts[0], 1), 4),
        "loaded_candidates": config.retrieval.loaded_candidates,
    }
