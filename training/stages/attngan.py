"""AttnGAN's two trainings: its encoders (DAMSM), a stage of its own, and then the generators."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.data.pipeline import WHOLE, Share, scenes_once
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.rivals.attngan.damsm import DamsmModel, build_damsm
from rgan_tf.rivals.attngan.model import AttnganRivalModel
from rgan_tf.rivals.attngan.precision import by_number_of_triples, r_precision
from rgan_tf.rivals.attngan.tokens import mentioned
from rgan_tf.runs import DAMSM, STAGES, Run, load_weights
from training.stages.rival import RivalTask
from training.stages.task import SceneTask, repeated

_POOL = 100  # texts among which an image's own has to rank first


class DamsmTask(SceneTask):
    """Trains text and image encoder until a text fits its own image best.

    Its record has the R-precision of the held-out split, and that per number of triples.
    """

    name = DAMSM
    model: DamsmModel

    def __init__(self, run: Run, data: PreparedData):
        super().__init__(run, data, steps=run.config.attngan.damsm_steps)
        self.rows = run.config.attngan.damsm_batch_size

    @property
    def place(self) -> int:
        return len(STAGES)

    def build_model(self) -> DamsmModel:
        epoch_steps = max(1, self.data.record_count("train") // self.rows)
        return build_damsm(self.config, self.run.vocabulary, epoch_steps=epoch_steps)

    def batches(self, step: int, share: Share, seed: int) -> tf.data.Dataset:
        # Every replica gets the whole batch, see `DamsmModel`.
        return repeated(super().batches(step, WHOLE, seed), share)

    def record(self, step: int) -> dict[str, Any]:
        if step < self.steps or not self.data.record_count("val"):
            return {}
        hits, triples = self._hits("val")
        known = hits[~np.isnan(hits)]
        if not len(known):
            return {}
        return {
            "r_precision_val": float(known.mean()),
            "r_precision_val_scenes": len(known),
            "r_precision_val_by_triples": by_number_of_triples(hits, triples),
        }

    def _hits(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        """`r_precision` of a split [N], and the scenes' numbers of triples [N]."""
        encoders, texts = self.model.encoders, self.model.texts
        batches = scenes_once(self.data, split, self.config, batch_size=self.rows)

        @tf.function(reduce_retracing=True, autograph=False)
        def encode(batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
            graph = {"objects": batch["objects"], "triples": batch["triples"]}
            sentence = encoders.text_encoder(texts(graph)).sentence  # [B, D]
            image = encoders.encode_image(batch["image"]).image  # [B, D]
            count = tf.reduce_sum(tf.cast(mentioned(batch["triples"]), tf.int32), axis=1)  # [B]
            return image, sentence, texts.keys(graph), count

        parts = [[part.numpy() for part in encode(batch)] for batch in batches]
        images, sentences, keys, triples = (
            np.concatenate(part) for part in zip(*parts, strict=True)
        )
        return r_precision(images, sentences, keys, pool=_POOL), triples


class AttnganTask(RivalTask):
    """Trains the generators with the encoders of `DamsmTask`, which stay as they are."""

    model: AttnganRivalModel

    def check(self) -> None:
        """Refuses a run whose encoders were trained further since this stage began.

        Raises:
          BadInput: then, as the generators learned with the others.
        """
        run = self.run
        begun_with = run.stage_record(self.name).get("damsm_weights")
        if begun_with not in (None, self._encoders()):
            raise BadInput(
                f"--run {run.folder}: {DAMSM} was trained further since {self.name} began; remove "
                f"{run.stage_folder(self.name)} to train it again, or name another run"
            )

    def build_model(self) -> AttnganRivalModel:
        model = super().build_model()
        load_weights(self.run, DAMSM, model.encoders)
        model.take_encoders()
        return model

    def record(self, step: int) -> dict[str, Any]:
        return {"damsm_weights": self._encoders()}

    def _encoders(self) -> str | None:
        return self.run.stage_record(DAMSM).get("weights_sha256")
