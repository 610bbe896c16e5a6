"""The bank as a trained network sees it, for retrieval among many candidates."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.config import Config
from rgan_tf.retrieval.prefilter import embed_rows
from rgan_tf.retrieval.selector import chosen_rows


class PatchLibrary:
    """Embeddings of the whole bank by one network, and the pixels of what is chosen.

    For evaluation and pictures where batches hold more candidates than are loaded. The weights of
    the network must not change while the library is in use.

    Args:
      networks: embeds the bank, once.
      reader: of the bank.

    Attributes:
      reader: as given.
      embeddings: [N, D] float32.
    """

    def __init__(self, networks: tf.keras.Model, reader: PatchReader):
        self.reader = reader
        self.embeddings = tf.constant(embed_rows(networks.embedding, reader.bank.features))

    def embeddings_at(self, ids: tf.Tensor) -> tf.Tensor:
        """[...] int32 rows (-1: any) -> [..., D] float32."""
        return tf.gather(self.embeddings, tf.maximum(ids, 0))

    def chosen_crops(self, ids: tf.Tensor, choice: tf.Tensor) -> tf.Tensor:
        """The selected patch of every object.

        Args:
          ids: [B, O, K] int32, rows of the candidates.
          choice: [B, O] int32, -1 = none.

        Returns:
          [B, O, h, w, 3] float32 in [-1, 1]; 0 (mid grey) where there is none.
        """
        chosen = chosen_rows(ids, choice)  # [B, O]
        crops = tf.cast(self.reader.crops(chosen), tf.float32) / 127.5 - 1.0  # [B, O, h, w, 3]
        return crops * tf.cast(chosen >= 0, tf.float32)[:, :, None, None, None]


def library_for(
    config: Config, networks: tf.keras.Model, reader: PatchReader
) -> PatchLibrary | None:
    """A library where batches of this config need one, else None."""
    is_needed = config.retrieval.candidates > config.retrieval.exact_candidates
    return PatchLibrary(networks, reader) if is_needed else None
