"""Stage 3: trains retrieval and generator together."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import Backbone
from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.bank.resident_reader import ResidentReader, resident_bytes
from rgan_tf.config import Config
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.losses.own import Loss
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.networks import build_discriminators, build_retrieval_networks
from rgan_tf.model.retrievegan import RetrieveGANModel
from rgan_tf.progress import note
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.embedding import PatchEmbedding
from rgan_tf.retrieval.prefilter import embed_rows, foreign_objects
from rgan_tf.retrieval.retriever import Retriever
from rgan_tf.runs import EMBEDDING, Run, load_weights, stages_of
from rgan_tf.vocabulary import Vocabulary
from training.callbacks.reports import IndexAge
from training.callbacks.stage import StageCallback
from training.first_stages import load_first_stages
from training.pictures import held_out_split, joint_pictures
from training.redraws import Redraws
from training.stages.earlier import check_earlier_weights, earlier_weights
from training.stages.task import SceneTask, half_size_of, sample_features
from training.workers import Workers

_OWN = ("own_retriever", "own_losses")  # of the record


class RetrieveGANTask(SceneTask):
    """Trains the patch embedding φ and the generator that reads the retrieved patches.

    Args:
      run, data: see `Task`.
      perceptual: distance on a frozen backbone.
      workers: the training processes; one of them writes the redrawn candidates.
      backbone: the network of the data's features, if the config wants patches at half the size.
      retriever, losses: see `build_retrievegan`.
    """

    name = "retrievegan"
    model: RetrieveGANModel

    def __init__(
        self,
        run: Run,
        data: PreparedData,
        perceptual: PerceptualDistance,
        workers: Workers,
        *,
        backbone: Backbone | None = None,
        retriever: Retriever | None = None,
        losses: Sequence[Loss] = (),
    ):
        super().__init__(run, data, steps=run.config.training.steps)
        self.perceptual = perceptual
        self.workers = workers
        self.backbone = backbone
        self.retriever = retriever
        self.losses = losses
        self.break_every_steps = run.config.retrieval.redraw_every_steps

    def check(self) -> None:
        """Refuses a run in which this stage cannot be resumed.

        Raises:
          BadInput: if stage 1 or 2, on whose weights it builds, was trained further since it began,
            or it began with another retriever or other losses of the user's own.
        """
        run = self.run
        check_earlier_weights(run)
        record = run.stage_record(self.name)
        own = self._own()
        for key in _OWN if record else ():
            if record.get(key) != own.get(key):
                raise BadInput(
                    f"--run {run.folder}: {self.name} began with {key.replace('_', ' ')} "
                    f"{record.get(key)} and now gets {own.get(key)}; pass the same, or name "
                    "another run"
                )

    def prepare(self) -> None:
        """Pre-filters the candidates of the training scenes and of those shown."""
        shown = held_out_split(self.data)
        tables = load_first_stages(self.run).candidates(
            self.config,
            self.data,
            {"train", shown},
            progress=note,
        )
        self.table, self.shown = tables["train"], tables[shown]
        self.half_size = half_size_of(self.data, self.backbone)

    def build_model(self) -> RetrieveGANModel:
        reader = patch_reader(self.config, self.data.bank, self.table.cooccurrence)
        model = build_retrievegan(
            self.config,
            self.run.vocabulary,
            self.perceptual,
            reader,
            half_size=self.half_size,
            begin=self._begin,
            retriever=self.retriever,
            losses=self.losses,
        )
        self.redraws = Redraws(
            self.run.stage_folder(self.name) / "redraws",
            self.config,
            self.data.bank,
            self.table,
            model.networks.embedding,
            writes=self.workers.is_chief,
            wait=self.workers.wait,
        )
        return model

    def candidates(self, step: int) -> CandidateSource:
        return self.redraws.candidates(step)

    def callbacks(self, first_step: int) -> list[StageCallback]:
        if not self.break_every_steps:
            return []
        return [IndexAge(first_step, self.steps, age=self.redraws.age)]

    def pictures(self) -> dict[str, np.ndarray]:
        return joint_pictures(self.run, self.data, self.model, self.shown)

    def embeddings(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        phi = embed_rows(self.model.average.embedding, self.data.bank.features[rows])
        return {"phi": phi, "cooccurrence": self.table.cooccurrence[rows]}

    def record(self, step: int) -> dict[str, Any]:
        foreign = self._foreign if self.model.retriever.takes_candidates else {}
        return {
            **earlier_weights(self.run),
            **self._own(),
            "fallback_objects": sum(foreign.values()),
            "other_category_objects": foreign,
        }

    @functools.cached_property
    def _foreign(self) -> dict[str, int]:
        bank, scenes = self.data.bank, self.data.scenes("train", self.config.data)
        return foreign_objects(bank, bank, scenes.patch_rows)

    def forget_after(self, step: int) -> None:
        self.redraws.forget_after(step)

    def _begin(self, embedding: PatchEmbedding) -> None:
        """Gives φ what its own stage has learned, if the config has that stage and it was trained.

        A retriever that does not learn trains none.
        """
        if EMBEDDING in stages_of(self.config) and self.run.stage_record(EMBEDDING):
            load_weights(self.run, EMBEDDING, embedding)

    def _own(self) -> dict[str, Any]:
        """The retriever and the losses that the user passed, by name; nothing where none were."""
        retriever = {} if self.retriever is None else {"own_retriever": self.retriever.name}
        losses = {loss.name: loss.weight for loss in self.losses}
        return {**retriever, **({"own_losses": losses} if losses else {})}


def patch_reader(config: Config, bank: PatchBank, cooccurrence: np.ndarray) -> PatchReader:
    """The reader of a training step, on the device if the config wants it (`data.bank_on_device`).

    Raises:
      BadInput: if the device has not enough memory.
    """
    settings = config.retrieval
    reads = settings.candidates > settings.exact_candidates  # else batches hold the patches
    if not (reads and config.data.bank_on_device):
        return PatchReader(bank, cooccurrence, crop_size=config.data.crop_size)
    try:
        return ResidentReader(bank, cooccurrence, crop_size=config.data.crop_size)
    except tf.errors.ResourceExhaustedError as error:
        size = resident_bytes(bank, cooccurrence.shape[1], crop_size=config.data.crop_size)
        raise BadInput(
            f"data.bank_on_device: the bank's {size / 1e9:.1f} GB do not fit into the memory of "
            "the device; set it to false"
        ) from error


def build_retrievegan(
    config: Config,
    vocabulary: Vocabulary,
    perceptual: PerceptualDistance,
    reader: PatchReader,
    *,
    half_size: np.ndarray | None = None,
    begin: Callable[[PatchEmbedding], None] | None = None,
    retriever: Retriever | None = None,
    losses: Sequence[Loss] = (),
) -> RetrieveGANModel:
    """Builds and compiles the joint model with new weights.

    Args:
      config, vocabulary: the experiment.
      perceptual: distance on a frozen backbone.
      reader: of the bank to retrieve from.
      half_size: see `scene_dataset`.
      begin: changes the new φ before its moving average and the retriever read it.
      retriever, losses: see `RetrieveGANModel`; by default those of the config.
    """
    width, precision = reader.bank.feature_size, config.training.precision
    networks = build_retrieval_networks(config, vocabulary, width, precision=precision)
    networks.embedding.set_statistics(sample_features(reader.bank, half_size))
    if begin is not None:
        begin(networks.embedding)
    model = RetrieveGANModel(
        config,
        networks,
        build_retrieval_networks(config, vocabulary, width),
        build_discriminators(config, vocabulary, precision=precision, perceptual=perceptual),
        perceptual,
        reader,
        retriever=retriever,
        losses=losses,
    )
    model.compile()
    model.start()
    return model
