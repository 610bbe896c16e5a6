"""Loads the results of a run's first two stages."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from rgan_tf.config import Config
from rgan_tf.data.prepared import PreparedData
from rgan_tf.model.networks import (
    Sg2imNetworks,
    build_cooccurrence_embedding,
    build_sg2im_networks,
)
from rgan_tf.retrieval.candidates import IndexedCandidates
from rgan_tf.retrieval.embedding import CooccurrenceEmbedding
from rgan_tf.retrieval.prefilter import prefilter
from rgan_tf.runs import Run, load_weights


class FirstStages(NamedTuple):
    """The trained networks of stages 1 and 2.

    Attributes:
      sg2im: of stage 1; its graph features pre-filter candidates.
      cooccurrence: of stage 2.
      encoder: sha256 of the weights of `sg2im`.
    """

    sg2im: Sg2imNetworks
    cooccurrence: CooccurrenceEmbedding
    encoder: str

    def candidates(
        self,
        config: Config,
        data: PreparedData,
        splits: Iterable[str],
        *,
        progress: Callable[[str], None] | None = None,
        masks_others: bool = False,
    ) -> dict[str, IndexedCandidates]:
        """Candidates of every object of the splits, see `prefilter`."""
        return prefilter(
            config,
            data,
            splits,
            self.sg2im,
            self.cooccurrence,
            encoder=self.encoder,
            progress=progress,
            masks_others=masks_others,
        )


def load_first_stages(run: Run) -> FirstStages:
    """Loads both networks of a run.

    Raises:
      BadInput: if a stage is not trained.
      CorruptData: if weights are damaged.
    """
    sg2im = build_sg2im_networks(run.config, run.vocabulary)
    load_weights(run, "sg2im", sg2im)
    cooccurrence = build_cooccurrence_embedding(run.config, run.feature_size)
    load_weights(run, "cooccurrence", cooccurrence)
    return FirstStages(sg2im, cooccurrence, run.stage_record("sg2im")["weights_sha256"])
