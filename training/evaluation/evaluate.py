"""Evaluation from Python: `evaluate` is what `rgan eval` calls."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rgan_tf import released
from rgan_tf.arguments import path_text, text_list, whole_number
from rgan_tf.config import Config, changed
from rgan_tf.data.prepared import PreparedData
from rgan_tf.devices import grow_gpu_memory
from rgan_tf.errors import BadInput
from rgan_tf.registered_names import OPEN_TO_MORE, RETRIEVERS, RIVALS
from rgan_tf.retrieval.registry import check_retriever, retriever_for
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.runs import STAGES, Run, check_own_retriever, open_run, run_name
from training.evaluation.inputs import (
    check_choices,
    check_images,
    check_resamples,
    check_seed,
    check_split,
    check_writable,
    open_data_of,
)
from training.evaluation.names import TASKS
from training.evaluation.protocol import Protocol
from training.evaluation.report import image_keeper, write_report
from training.evaluation.rival import evaluate_rival_split
from training.evaluation.run import evaluate_split

_PICTURE_SCENES = 12


def evaluate(
    run: Run | str | Path,
    data: PreparedData | str | Path | None = None,
    *,
    split: str = "val",
    only: str | None = None,
    systems: Sequence[str] | None = None,
    seed: int = 0,
    resamples: int = 20,
    out: str | Path | None = None,
    save_images: str | Path | None = None,
    metric_backbone: str = "mobilenet_v2",
    diversity_network: str = "mobilenet_v2",
    repeats: bool = True,
    batch_size: int = 16,
    retriever: Retriever | str | None = None,
    noise: bool = True,
    weights_dir: str | Path | None = None,
) -> dict[str, Any]:
    """Evaluates a run on one or all splits; writes metrics, TensorBoard summaries and pictures.

    Args:
      run: run folder, `released:NAME`, or the `run` that `train` returns.
      data: prepared folder, or an opened one; None takes that of the run.
      split: "train", "val", "test" or "all".
      only: "images", "diversity", "layout", "retrieval" or "cooccurrence"; None runs all of them.
      systems: whose images are judged, one or several, such as "retrievegan", "pasted_canvas",
        "first_stage"; None takes all that the run has. Another name is refused with the list of
        them.
      seed: of the random retrieval and of the intervals.
      resamples: for the intervals of distances, and 50 times as many for means; 0: no intervals.
      out: folder for the results; None takes the run folder, or writes nothing for a released run
        and for images that are not the run's own: by another retriever than it was trained
        with, without noise or without repeats.
      save_images: folder for every judged image as PNG, or None.
      metric_backbone: network of the distances and scores: "mobilenet_v2", "inception_v3" (they
        are FID, KID and IS then), or one that `register_backbone` added.
      diversity_network: network of the distance between two samples of a graph: "mobilenet_v2",
        "squeezenet", "vgg19", one that `register_backbone` added with perceptual layers, or with
        LPIPS's learned heads "lpips_alex", "lpips_squeeze", "lpips_vgg" or
        "lpips_squeezenet_caffe".
      repeats: whether objects of a scene may get the same patch while others are free.
      batch_size: scenes per batch.
      retriever: chooses the patches, itself or by its name in the registry; None takes that of the
        run's config. A run trained with `train(..., retriever=...)` needs it again; its results
        bear its `name`.
      noise: whether patches are drawn with it, as a user's are; without, every graph has one image,
        and `first_stage` and `own_patches` are the same.
      weights_dir: folder with backbone weight files.

    Returns:
      `run`, `data`, `seed`, and for each split its metrics: name -> value.

    Raises:
      BadInput: if run, data and options do not fit together, or the run was trained with a
        retriever that is not given.
      CorruptData: if a file is damaged.

    Example:
      ```python
      import rgan_tf

      metrics = rgan_tf.evaluate("RUN", split="val", only="retrieval")["val"]
      print(metrics["retrieval/learned/gt_recall@1"])
      ```
    """
    check_seed(seed)
    check_resamples(resamples)
    if not isinstance(retriever, str):
        check_retriever(retriever)
    if systems is not None:
        systems = text_list(systems, "systems")
        check_choices(systems, "systems")
    if whole_number(batch_size, "--batch-size") < 1:
        raise BadInput(f"--batch-size {batch_size}: must be at least 1")
    if only is not None and only not in TASKS:
        raise BadInput(f"--only {only}: must be one of {', '.join(TASKS)}")
    if out:
        out = path_text(out, "--out")
    if save_images:
        save_images = path_text(save_images, "--save-images")
    if save_images and only not in (None, "images"):
        raise BadInput(
            f"--save-images {save_images}: --only {only} saves no images; leave out one of them, "
            "or name --only images"
        )
    if out and Path(out).exists() and not Path(out).is_dir():
        raise BadInput(f"--out {out}: is a file; name a folder")
    seed, resamples, batch_size = int(seed), int(resamples), int(batch_size)  # none of NumPy
    grow_gpu_memory()
    name = run_name(run)
    opened = open_run(name)
    prepared = open_data_of(opened, name, data)
    is_own = noise and repeats and is_its_own(retriever, opened)
    if not out and is_own and not name.startswith(released.PREFIX):
        out = opened.folder
    if out:
        check_writable(Path(out))
    result: dict[str, Any] = {"run": name, "data": str(prepared.folder), "seed": seed}
    splits = ("train", "val", "test") if split == "all" else (split,)
    for each in splits:  # before the first of them is judged
        check_split(prepared, each)
        if only in (None, "images"):
            check_images(prepared, each)
    keepers = {each: image_keeper(save_images, each) for each in splits if save_images}
    if opened.config.training.system in RIVALS:
        for option, is_given in (
            ("--choice", isinstance(retriever, str)),
            ("--without-noise", not noise),
            ("--without-repeats", not repeats),
        ):
            if is_given:
                raise BadInput(
                    f"{option}: --run {name} is of {opened.config.training.system}, which takes no "
                    "retriever and knows no such option; leave it out"
                )
        if retriever is not None:
            raise BadInput(f"--run {name}: is of a rival, which takes no retriever")
        judge = evaluate_rival_split
    else:
        check_own_retriever(opened, name, is_given=retriever is not None)
        if isinstance(retriever, str):
            retriever = _registered(retriever, opened.config)
        judge = functools.partial(evaluate_split, repeats=repeats, retriever=retriever, noise=noise)
    for each in splits:
        # Before they are read: a run in training has others by the time the figures are there.
        step, weights = opened.stage_record("retrievegan").get("steps"), opened.fingerprint()
        metrics, picture = judge(
            opened,
            prepared,
            Protocol(each, seed=seed, resamples=resamples),
            tasks=(only,) if only else TASKS,
            compared=systems,
            metric_backbone=metric_backbone,
            diversity_network=diversity_network,
            weights_dir=weights_dir,
            batch_size=batch_size,
            picture_scenes=_PICTURE_SCENES,
            keep=keepers.get(each),
        )
        if out:
            write_report(
                Path(out),
                each,
                metrics,
                picture,
                step=step,
                weights=weights,
                data=prepared.fingerprint,
            )
        result[each] = metrics
    return result


def is_its_own(retriever: Retriever | str | None, run: Run) -> bool:
    """Whether a run was trained with this retriever, as far as its record tells.

    A subclass of one that has a name, such as the learned one's, may bear that name too.

    Args:
      retriever: as given to `evaluate`.
      run: opened.
    """
    passed = run.stage_record(STAGES[-1]).get("own_retriever")  # to `train`; only its name is known
    if retriever is None:
        return True
    if isinstance(retriever, str):
        return passed is None and retriever == run.config.retrieval.choice
    if passed is not None:
        return retriever.name == passed
    its_own = retriever_for(run.config)
    return retriever.name == its_own.name and type(retriever) is type(its_own)


def _registered(choice: str, config: Config) -> Retriever:
    if choice not in RETRIEVERS:
        known = ", ".join(RETRIEVERS)
        raise BadInput(f"--choice {choice}: must be one of {known}; {OPEN_TO_MORE}")
    return retriever_for(changed(config, retrieval={"choice": choice}))
