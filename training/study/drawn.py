"""Scenes of a split, each with the pictures that two runs draw of it; of any two systems."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.data.pipeline import scenes_once
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.model.networks import build_retrieval_networks
from rgan_tf.registered_names import RIVALS
from rgan_tf.retrieval.patch_library import library_for
from rgan_tf.retrieval.registry import retriever_for
from rgan_tf.rivals.pastegan.selector import TEST_CANDIDATES
from rgan_tf.rivals.registry import rival_networks
from rgan_tf.runs import STAGES, Run, load_weights
from rgan_tf.storage.image import float_to_uint8
from training.evaluation.rival import drawing_of
from training.evaluation.systems import Batch, drawing_with, row_seeds
from training.first_stages import load_first_stages
from training.rival_candidates import rival_candidates
from training.study.plan import Chosen, Scene
from training.study.scenes import graphs_of

_BATCH = 8
_SAME = ("image_size", "max_objects", "max_triples")  # or a picture would tell whose it is


class Pictures:
    """The pictures of a study by number; equal pictures have one number."""

    def __init__(self):
        self._numbers: dict[str, int] = {}
        self._pictures: list[np.ndarray] = []

    def __getitem__(self, number: int) -> np.ndarray:
        return self._pictures[number]

    def add(self, picture: np.ndarray) -> int:
        """The number of a picture [H, W, 3] uint8."""
        digest = hashlib.sha256(picture.tobytes()).hexdigest()
        number = self._numbers.setdefault(digest, len(self._pictures))
        if number == len(self._pictures):
            self._pictures.append(picture)
        return number


def check_alike(first: Run, second: Run, names: tuple[str, str]) -> None:
    """Refuses two runs whose pictures differ in size, or that read different parts of a graph.

    Args:
      first, second: opened runs.
      names: of both, as the user named them.

    Raises:
      BadInput: names the setting.
    """
    for key in _SAME:
        values = [getattr(run.config.data, key) for run in (first, second)]
        if values[0] != values[1]:
            raise BadInput(
                f"--other {names[1]}: has data.{key}={values[1]} and --run {names[0]} {values[0]}; "
                "pictures are compared with the same"
            )


def drawn_scenes(
    first: Run, second: Run, data: PreparedData, split: str, pictures: Pictures, *, seed: int
) -> Iterator[Scene]:
    """The scenes of a split in a seeded order, each with one picture by each run.

    A system draws in the layout that it predicts; layout2im, which predicts none, in that of its
    run's first stage.

    Args:
      first, second: the runs, of any systems; see `check_alike`.
      data, split: the source of the scenes.
      pictures: gets the pictures, to which the scenes refer.
      seed: of the order of the scenes and of both systems.

    Raises:
      BadInput: if a stage of a run is not trained.
      CorruptData: if weights or data are damaged.
    """
    both = (_drawn(run, data, split, seed) for run in (first, second))
    for (batch, one), (_, other) in zip(*both, strict=True):
        for (image_id, objects, relationships), a, b in zip(
            graphs_of(batch, data), one, other, strict=True
        ):
            yield Scene(
                image_id=image_id,
                objects=objects,
                relationships=relationships,
                shown=None,
                a=Chosen((pictures.add(a),), {}),
                b=Chosen((pictures.add(b),), {}),
            )


def _drawn(
    run: Run, data: PreparedData, split: str, seed: int
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Batches of the split with the run's pictures of them [B, H, W, 3] uint8."""
    config, system, table = run.config, run.config.training.system, None
    if system in RIVALS:
        networks = rival_networks(config, run.vocabulary)
        load_weights(run, STAGES[-1], networks, system=system)
        drawing = drawing_of(run, networks)
        if networks.reads_patches:
            table = rival_candidates(run, data, {split: TEST_CANDIDATES})[split]
    else:
        table = load_first_stages(run).candidates(config, data, [split])[split]
        networks = build_retrieval_networks(config, run.vocabulary, run.feature_size)
        load_weights(run, STAGES[-1], networks)
        retriever = retriever_for(config).bound_to(networks.embedding)
        reader = PatchReader(data.bank, table.cooccurrence, crop_size=config.data.crop_size)
        library = library_for(config, retriever, reader)
        drawing = drawing_with(networks, retriever=retriever, library=library, repeats=False)
    batches = scenes_once(data, split, config, batch_size=_BATCH, candidates=table, order_seed=seed)
    for batch in batches:
        yield batch, float_to_uint8(drawing(batch, None, row_seeds(batch, seed)).images)
