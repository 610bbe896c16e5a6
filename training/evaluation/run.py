"""Evaluates one split of a run: loads the networks and runs the tasks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.data.pipeline import scenes_once
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.model.cooccurrence import same_image_auc
from rgan_tf.model.networks import build_retrieval_networks
from rgan_tf.retrieval.learned import chooses_by_embedding
from rgan_tf.retrieval.patch_library import library_for
from rgan_tf.retrieval.prefilter import foreign_objects
from rgan_tf.retrieval.registry import retriever_for
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.retrieval.rules import OWN
from rgan_tf.runs import Run, load_weights
from training.evaluation.diversity import diversity_metrics
from training.evaluation.image_task import image_task
from training.evaluation.images import Keep
from training.evaluation.judges import load_judges
from training.evaluation.layout import layout_metrics
from training.evaluation.names import DRAWING, FIRST_STAGE, system_name, system_names
from training.evaluation.pictures import comparison
from training.evaluation.protocol import Protocol
from training.evaluation.retrieval import retrieval_metrics
from training.evaluation.rule_retrieval import rule_metrics
from training.evaluation.systems import boxes_by, drawing_with, row_seeds, systems_of
from training.first_stages import load_first_stages

_RETRIEVING = DRAWING | {"retrieval"}  # tasks whose metrics depend on patches
_CANDIDATES_AT_ONCE = 128  # per object, at the full batch size


def evaluate_split(
    run: Run,
    data: PreparedData,
    protocol: Protocol,
    *,
    tasks: Sequence[str],
    compared: Sequence[str] | None,
    metric_backbone: str,
    diversity_network: str,
    weights_dir: str | None,
    batch_size: int,
    picture_scenes: int,
    keep: Keep | None = None,
    repeats: bool = True,
    retriever: Retriever | None = None,
    noise: bool = True,
) -> tuple[dict[str, Any], np.ndarray | None]:
    """Runs the tasks on one split.

    Args:
      run, data: what to evaluate.
      protocol: the split, and how to judge it.
      tasks: names of tasks.
      compared: names of the systems to judge and show; None takes all.
      metric_backbone: network of the distances and the judge of objects.
      diversity_network: see `load_distance`.
      weights_dir: folder of their weights.
      batch_size: scenes per batch.
      picture_scenes: rows of the picture.
      keep: called with all images of the task "images".
      repeats: whether objects of a scene may get the same patch while others are free.
      retriever: chooses the patches; None takes that of the run.
      noise: whether the images of the tasks "images" and "diversity" are drawn with it.

    Returns:
      metric name -> value, and a picture of the first scenes under every system, or None if no
      task draws images.

    Raises:
      BadInput: if the run does not have a requested system, or nothing that its only task measures.
    """
    config, vocabulary = run.config, run.vocabulary
    split, seed = protocol.split, protocol.seed
    retriever = retriever or retriever_for(config)
    rule = retriever.name
    names = system_names(rule)
    for name in compared or ():
        if name not in names:
            raise BadInput(f"--system {name}: with the choice {rule} there are {', '.join(names)}")
    if not (repeats or retriever.takes_candidates):
        raise BadInput(
            f"--without-repeats: the choice {rule} retrieves no patches that could repeat; leave "
            "the option out"
        )
    if set(tasks) == {"retrieval"} and not (retriever.takes_candidates or rule == OWN):
        raise BadInput(
            f"--only retrieval: the choice {rule} takes no patches, so there is nothing to "
            "measure; name another task"
        )
    first_stages = load_first_stages(run)
    sg2im = first_stages.sg2im
    networks = build_retrieval_networks(config, vocabulary, run.feature_size)
    load_weights(run, "retrievegan", networks)
    retriever = retriever.bound_to(networks.embedding)
    # After all checks of run and data, as weights may be downloaded, but before any computing.
    backbone, distance = load_judges(tasks, metric_backbone, diversity_network, weights_dir)
    table = first_stages.candidates(config, data, [split])[split]

    # Limits the number of candidate embeddings at a time, whatever their number per object.
    scenes_per_batch = min(
        batch_size, max(1, batch_size * _CANDIDATES_AT_ONCE // config.retrieval.candidates)
    )

    def scenes(name: str = split, candidates=table):
        return scenes_once(data, name, config, batch_size=scenes_per_batch, candidates=candidates)

    reader = PatchReader(data.bank, table.cooccurrence, crop_size=config.data.crop_size)
    library = library_for(config, retriever, reader)
    drawing = drawing_with(
        networks, retriever=retriever, library=library, repeats=repeats, noise=noise
    )
    systems = systems_of(
        drawing, networks, sg2im, image_size=config.data.image_size, seed=seed, rule=rule
    )
    systems = [system for system in systems if compared is None or system.name in compared]
    metrics: dict[str, Any] = {}
    if retriever.takes_candidates and not _RETRIEVING.isdisjoint(tasks):
        rows = data.scenes(split, config.data).patch_rows
        foreign = foreign_objects(data.truth(split), data.bank, rows)
        metrics = {"other_category_objects": foreign} if foreign else {}
    if backbone is not None:
        metrics |= image_task(
            data,
            config.data,
            systems,
            scenes,
            backbone=backbone,
            protocol=protocol,
            keep=keep,
        )
    if distance is not None:
        metrics |= diversity_metrics(
            system_name(rule), drawing, boxes_by(networks), scenes(), distance, protocol
        )
    if "layout" in tasks:
        metrics |= layout_metrics(networks, scenes(candidates=None), vocabulary, protocol)
        if compared is not None and FIRST_STAGE in compared:  # it has its own box predictor
            found = layout_metrics(sg2im, scenes(candidates=None), vocabulary, protocol)
            metrics |= {f"{FIRST_STAGE}/{name}": value for name, value in found.items()}
    if "retrieval" in tasks and chooses_by_embedding(retriever):
        metrics |= retrieval_metrics(
            networks.embedding, scenes(), data, table, seed=seed, library=library, repeats=repeats
        )
    elif "retrieval" in tasks:
        metrics |= rule_metrics(
            retriever,
            scenes(),
            data,
            split,
            table,
            seed=seed,
            library=library,
            repeats=repeats,
        )
    if "cooccurrence" in tasks:
        auc = same_image_auc(first_stages.cooccurrence, data.truth(split))
        metrics["cooccurrence/same_image_auc"] = auc
    if DRAWING.isdisjoint(tasks):
        return metrics, None
    first = next(iter(scenes().unbatch().batch(picture_scenes)))
    made = drawing(first, None, row_seeds(first, seed))
    return metrics, comparison(run, systems, first, made)
