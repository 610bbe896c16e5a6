"""Retrieval of one patch per object as Keras layers, for models of your own.

Keras can save and load models with these layers. Put every operation between layers into a layer:
Keras cannot load a functional model that calls `tf.einsum` on its tensors or slices them with
`...`.
"""

from __future__ import annotations

from typing import Any

import tensorflow as tf

from rgan_tf.retrieval.gumbel import GRADIENTS, WITHIN_GROUP, GroupSelection
from rgan_tf.retrieval.patches import mix_patches
from rgan_tf.retrieval.selection import Candidates, Options, choose_by_group
from rgan_tf.retrieval.tensor_arguments import check_above_zero, check_shapes


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class GroupRetrieval(tf.keras.layers.Layer):
    """Selects one compatible patch per object from its candidates (Algorithm 1, method §3.4).

    With seeds the first query is a candidate drawn uniformly, and scores carry Gumbel noise;
    without, the selection is deterministic and starts from the pre-filter's best candidate. Each
    row draws from its own seed, so its result does not depend on other rows.

    A process that loads a `.keras` file with this layer first mentions `rgan_tf.GroupRetrieval`,
    because `import rgan_tf` alone imports no layer; otherwise Keras says "'str' object is not
    callable". With an embedding, save as `.keras` or SavedModel: Keras cannot load a layer within a
    layer of your own from HDF5. If two layers share an embedding, save as SavedModel: from `.keras`
    Keras loads no layer that lies within two others.

    Example:
      A model that learns to retrieve:

      ```python
      import rgan_tf
      import tensorflow as tf

      features = tf.keras.Input([3, 5, 32])  # of 5 candidates of each of 3 objects
      valid = tf.keras.Input([3, 5], dtype=tf.bool)
      seeds = tf.keras.Input([2], dtype=tf.int32)
      embedding = rgan_tf.PatchEmbedding(sizes=(16, 8))
      selection = rgan_tf.GroupRetrieval(embedding=embedding)(features, valid, seeds)
      model = tf.keras.Model([features, valid, seeds], selection.weights)

      inputs = [tf.ones([2, 3, 5, 32]), tf.fill([2, 3, 5], True), tf.constant([[1, 2], [3, 4]])]
      sums = tf.reduce_sum(model(inputs), axis=-1)  # exactly one candidate per object
      assert sums.numpy().tolist() == [[1.0, 1.0, 1.0], [1.0, 1.0, 1.0]]
      ```

    Args:
      embedding: a layer that embeds the candidates, [..., Dx] to [..., D], such as
        `PatchEmbedding`; its attribute `scale`, if any, multiplies the distances. None: inputs are
        embeddings already.
      temperature: number above 0, of the relaxed weights; a call may override it, also by a
        tensor.
      straight_through: exactly one-hot weights with the soft gradient, or soft weights.
      gradient: of the one-hot weights: "within_group" (the default), "expected" or "paper", see
        `gumbel_group_select`.

    Raises:
      ValueError: if the layer's temperature is not a number above 0 and finite, the embedding is
        not a layer, or for another `gradient`.
    """

    def __init__(
        self,
        *,
        embedding: tf.keras.layers.Layer | None = None,
        temperature: float = 1.0,
        straight_through: bool = True,
        gradient: str = WITHIN_GROUP,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("autocast", False)  # half precision would decide near ties
        super().__init__(**kwargs)
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient must be one of {', '.join(GRADIENTS)}, got {gradient!r}")
        if tf.is_tensor(temperature):  # a saved layer holds no tensor
            raise ValueError("temperature must be a number, got a tensor; pass that to each call")
        check_above_zero("temperature", temperature)
        if embedding is not None and not isinstance(embedding, tf.keras.layers.Layer):
            is_class = isinstance(embedding, type)
            got = f"the class {embedding.__name__}" if is_class else type(embedding).__name__
            raise ValueError(f"embedding must be a layer, got {got}")
        self.embedding = embedding
        self.temperature = float(temperature)
        self.straight_through = bool(straight_through)
        self.gradient = gradient

    def call(
        self,
        candidates: tf.Tensor,
        valid: tf.Tensor,
        seeds: tf.Tensor | None = None,
        *,
        scale: tf.Tensor | float | None = None,
        temperature: tf.Tensor | float | None = None,
        locked: tf.Tensor | None = None,
        distances: tf.Tensor | None = None,
        ids: tf.Tensor | None = None,
    ) -> GroupSelection:
        """Selects one candidate per object.

        Args:
          candidates: [B, O, K, D] float, their embeddings; or [B, O, K, Dx], features for
            `embedding`.
          valid: [B, O, K] bool, False = padding, whose values do not matter; those of valid
            candidates must be finite.
          seeds: [B, 2] int32, or None for the deterministic selection.
          scale: scalar above 0, multiplies the distances; None takes that of `embedding`, or 1.
          temperature: scalar above 0; None takes the layer's.
          locked: [B, O] int32, the candidate fixed for an object, -1 = free; or None.
          distances: [B, O, K] float, pre-filter distances, from which the deterministic selection
            finds its first query. Without them the query is the first valid candidate, since
            candidates come best first.
          ids: [B, O, K] int32, rows of the bank, to keep patches from repeating within a scene;
            None lets them repeat.

        Returns:
          The weights [B, O, K] float32, the order and the chosen candidates.

        Raises:
          ValueError: if an argument is no tensor of numbers, known to have another shape, or none
            of objects or candidates, the temperature is known not to be above 0, or the scale to
            be below 0.
        """
        check_shapes(
            candidates=candidates,
            valid=valid,
            seeds=seeds,
            locked=locked,
            distances=distances,
            ids=ids,
        )
        valid = tf.cast(valid, tf.bool)  # [B, O, K]
        candidates = tf.convert_to_tensor(candidates)
        # Keras builds a loaded model by calling it with floats for every input.
        integers = [None if x is None else tf.cast(x, tf.int32) for x in (seeds, locked, ids)]
        seeds, locked, ids = integers
        # Padding counts 0 times, and 0 times NaN is NaN.
        candidates = tf.where(valid[..., tf.newaxis], candidates, tf.zeros_like(candidates))
        if self.embedding is not None:
            candidates = self.embedding(candidates)  # [B, O, K, D]
        if scale is None:
            scale = getattr(self.embedding, "scale", 1.0)
        embeddings = tf.cast(candidates, tf.float32)  # [B, O, K, D]
        return choose_by_group(
            Candidates(ids, valid, distances, embeddings),
            Options(seeds=seeds, locked=locked, repeats=ids is None),
            scale=scale,
            temperature=self.temperature if temperature is None else temperature,
            straight_through=self.straight_through,
            gradient=self.gradient,
        )

    def get_config(self) -> dict[str, Any]:
        """Constructor arguments."""
        layer = self.embedding
        own = {
            "embedding": None if layer is None else tf.keras.saving.serialize_keras_object(layer),
            "temperature": self.temperature,
            "straight_through": self.straight_through,
            "gradient": self.gradient,
        }
        return {**super().get_config(), **own}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> GroupRetrieval:
        """Restores the layer, including its embedding, from `get_config`."""
        layer = config.get("embedding")
        if isinstance(layer, dict):
            config = {**config, "embedding": tf.keras.saving.deserialize_keras_object(layer)}
        return cls(**config)


@tf.keras.utils.register_keras_serializable(package="rgan_tf")
class PatchMix(tf.keras.layers.Layer):
    """Mixes the selected pixels: `mix_patches` as a layer."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("autocast", False)
        super().__init__(**kwargs)

    def call(self, weights: tf.Tensor, crops: tf.Tensor) -> tf.Tensor:
        """Mixes the patches of every object by their weights.

        Args:
          weights: [B, O, K] float, of `GroupRetrieval`.
          crops: [B, O, K, h, w, 3], uint8 or float in [-1, 1].

        Returns:
          [B, O, h, w, 3] float32 in [-1, 1]; 0 (mid grey) for objects without weight.

        Raises:
          ValueError: if the crops are neither uint8 nor float, or a shape is known to be another.
        """
        return mix_patches(weights, crops)
