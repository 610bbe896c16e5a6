"""The bank under a trained retriever, for retrieval among many candidates."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.config import Config
from rgan_tf.retrieval.patches import chosen_rows, pixels_of
from rgan_tf.retrieval.retriever import Patches, Retriever, embed_patches

_ROWS_PER_BATCH = 4096


class PatchLibrary:
    """Embeddings of the whole bank by one retriever, and the crops of its choices.

    For evaluation and pictures with more candidates than batches load. The retriever's weights must
    not change while the library is in use.

    Args:
      retriever: embeds the bank once.
      reader: of the bank.

    Attributes:
      reader: as given.
      embeddings: [N, D] float32.
    """

    def __init__(self, retriever: Retriever, reader: PatchReader):
        self.reader = reader
        self.embeddings = tf.constant(embed_bank(retriever, reader))

    def embeddings_at(self, ids: tf.Tensor) -> tf.Tensor:
        """[...] int32 rows (-1: any) -> [..., D] float32."""
        return tf.gather(self.embeddings, tf.maximum(ids, 0))

    def chosen_crops(self, ids: tf.Tensor, choice: tf.Tensor) -> tf.Tensor:
        """The selected patch of every object.

        Args:
          ids: [B, O, K] int32, rows of the candidates.
          choice: [B, O] int32, -1 = none.

        Returns:
          [B, O, h, w, 3] float32 in [-1, 1]; 0 (mid grey) without a patch.
        """
        chosen = chosen_rows(ids, choice)  # [B, O]
        return pixels_of(self.reader.crops(chosen), chosen >= 0)


def library_for(config: Config, retriever: Retriever, reader: PatchReader) -> PatchLibrary | None:
    """A library if batches of this config need one, else None."""
    is_needed = config.retrieval.candidates > config.retrieval.exact_candidates
    return PatchLibrary(retriever, reader) if is_needed else None


def embed_bank(retriever: Retriever, reader: PatchReader) -> np.ndarray:
    """Embeds every patch of a bank with a retriever, in blocks: [N, D] float32."""

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int32)], autograph=False)
    def embed(ids: tf.Tensor) -> tf.Tensor:
        patches = Patches(lambda: reader.features(ids), lambda: reader.crops(ids))
        return embed_patches(retriever, patches, ids.shape)  # [n, D]

    # Traced here: of many banks in one process, TensorFlow would take each for a retracing.
    embed = embed.get_concrete_function()
    rows = np.arange(len(reader), dtype=np.int32)
    starts = range(0, max(len(rows), 1), _ROWS_PER_BATCH)
    return np.concatenate(
        [embed(tf.constant(rows[at : at + _ROWS_PER_BATCH])).numpy() for at in starts]
    )
