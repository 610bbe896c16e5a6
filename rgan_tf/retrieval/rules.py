"""Baseline retrievers, which learn nothing, and stand-ins for retrieval."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.registered_names import RULES
from rgan_tf.retrieval.noise import stateless_uniform
from rgan_tf.retrieval.patches import own_crops
from rgan_tf.retrieval.retriever import Batch, Retrieved, Retriever
from rgan_tf.retrieval.selection import Candidates, Options, Selection, nearest_in_turn

LEARNED = "learned"
NEAREST, NEAREST_RANDOM, OWN, NOISE = RULES


class NearestRetriever(Retriever):
    """Takes the nearest candidate by the graph feature."""

    name = NEAREST

    def choose(self, candidates: Candidates, options: Options) -> Selection:
        """See `Retriever`."""
        return nearest_in_turn(candidates, options)


class NearestRandomRetriever(Retriever):
    """Takes one of the three nearest candidates, as PasteGAN does in training."""

    name = NEAREST_RANDOM

    def choose(self, candidates: Candidates, options: Options) -> Selection:
        """See `Retriever`."""
        return nearest_in_turn(candidates, options, random_of=3)


class WithoutCandidates(Retriever):
    """Gives the generator something other than candidates."""

    takes_candidates = False

    def crops(self, batch: Batch, object_mask: tf.Tensor, seeds: tf.Tensor | None) -> tf.Tensor:
        """The generator's input in place of retrieved patches.

        Args:
          batch: of the pipeline.
          object_mask: [B, O] bool.
          seeds: [B, 2] int32; None means no randomness.

        Returns:
          [B, O, h, w, 3] float32 in [-1, 1]; 0 for padding.
        """
        raise NotImplementedError

    def choose(self, candidates: Candidates, options: Options) -> Selection:
        """Chooses no candidate for any object."""
        del options
        nothing = tf.fill(tf.shape(candidates.valid)[:2], -1)  # [B, O]
        return Selection(nothing, nothing)

    def retrieve(self, batch, object_mask, *, seeds, **step) -> Retrieved:
        """See `Retriever`."""
        del step
        nothing = tf.fill(tf.shape(object_mask), -1)  # [B, O]
        return Retrieved(self.crops(batch, object_mask, seeds), nothing, None, None, {})


class OwnPatches(WithoutCandidates):
    """The patches of the image itself, which users do not have: an upper bound."""

    name = OWN

    def crops(self, batch, object_mask, seeds):
        """See `WithoutCandidates`."""
        del seeds
        return own_crops(batch, object_mask)  # [B, O, h, w, 3]


class NoisePatches(WithoutCandidates):
    """Noise instead of patches; the graph determines the rest, as in layout2im."""

    name = NOISE

    def crops(self, batch, object_mask, seeds):
        """See `WithoutCandidates`; uniform in [-1, 1), or 0 without seeds."""
        shape = tf.shape(batch["patch_crops"])  # [5]
        if seeds is None:
            return tf.zeros(shape)
        noise = tf.map_fn(
            lambda seed: stateless_uniform(shape[1:], seed), seeds, fn_output_signature=tf.float32
        )  # [B, O, h, w, 3]
        noise.set_shape(batch["patch_crops"].shape)
        mask = tf.cast(object_mask, tf.float32)[:, :, None, None, None]  # [B, O, 1, 1, 1]
        return (2.0 * noise - 1.0) * mask  # [B, O, h, w, 3]
