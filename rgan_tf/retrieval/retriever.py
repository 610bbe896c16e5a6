"""The interface of retrievers.

A model, an evaluation and an exported model take any `Retriever`; `rgan_tf.retrieval.registry` has
those that a config can name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import tensorflow as tf

from rgan_tf.errors import BadInput
from rgan_tf.retrieval.patches import take_candidates
from rgan_tf.retrieval.selection import Candidates, Options, Selection, nearest_in_turn

Batch = dict[str, tf.Tensor]


class Patches:
    """Patches for a retriever to embed; reads only what is accessed."""

    def __init__(self, features: Callable[[], tf.Tensor], crops: Callable[[], tf.Tensor]):
        """Takes functions that return what the properties give."""
        self._features = features
        self._crops = crops

    @property
    def features(self) -> tf.Tensor:
        """[..., Dx] float32, frozen backbone features."""
        return self._features()

    @property
    def crops(self) -> tf.Tensor:
        """[..., h, w, 3] uint8, pixels at the size that the generator reads."""
        return self._crops()


class Compared(NamedTuple):
    """Input of the ground-truth selection loss.

    Attributes:
      own: [B, O, D] float32, embeddings of the objects' own patches.
      candidates: [B, O, n, D] float32, with gradient.
      valid: [B, O, n] bool.
      scale: scalar above 0, multiplies the distances.
      left_out: further candidates, [B, O, K, D] and [B, O, K] bool, that count without gradient of
        their own; None if there are none.
    """

    own: tf.Tensor
    candidates: tf.Tensor
    valid: tf.Tensor
    scale: tf.Tensor
    left_out: tuple[tf.Tensor, tf.Tensor] | None = None


class Related(NamedTuple):
    """Input of the co-occurrence loss.

    Attributes:
      weights: [B, O, m] float32, of the selection.
      probabilities: [B, O, m] float32, with which each candidate would have been chosen.
      vectors: [B, O, m, Dc] float32, the candidates in the co-occurrence space.
    """

    weights: tf.Tensor
    probabilities: tf.Tensor
    vectors: tf.Tensor


class Retrieved(NamedTuple):
    """The result of retrieval in one training step.

    Attributes:
      crops: [B, O, h, w, 3] float32 in [-1, 1], the selected patches; 0 without one.
      choice_ids: [B, O] int32, their rows in the bank, -1 without one.
      compared: for the selection loss; None if the retriever does not learn from it.
      related: for the co-occurrence loss; None if the retriever does not learn from it.
      monitors: name -> scalar float32, for the names in `Retriever.monitors`.
    """

    crops: tf.Tensor
    choice_ids: tf.Tensor
    compared: Compared | None
    related: Related | None
    monitors: dict[str, tf.Tensor]


class Retriever:
    """Chooses one candidate for every object of a scene.

    The pre-filter finds the candidates, all of the object's own category if the bank has any. A
    retriever only needs `choose`. It runs in training, in evaluation and in the graph of an
    exported model, so it consists of TensorFlow operations on tensors of any batch size, and a
    scene's result must not depend on the other scenes of its batch. AutoGraph does not convert it:
    Python's `if` and `for` over tensors need `@tf.function` above the method. A retriever sees each
    patch as a vector that `embed` computes from pixels or backbone features, once for a whole bank
    (an exported model contains them), so `choose` reads no pixels.

    By default nothing is learned from the choice; a retriever that learns also overrides
    `retrieve`. A model only trains the variables of its networks, so φ is `networks.embedding`.

    Example:
      Patches whose colour is near that of the first object's nearest patch:

      ```python
      import rgan_tf
      import tensorflow as tf
      from rgan_tf.retrieval.distance import l2_distance
      from rgan_tf.retrieval.retriever import choose_patches
      from rgan_tf.retrieval.selection import Candidates, Options, best_in_turn


      class NearestColour(rgan_tf.Retriever):
          name = "nearest_colour"

          def embed(self, patches):
              crops = tf.cast(patches.crops, tf.float32)  # [..., h, w, 3]
              return tf.reduce_mean(crops, axis=[-3, -2])  # [..., 3]

          def choose(self, candidates, options):
              colours = candidates.embeddings  # [B, O, K, 3]
              distances = l2_distance(colours, colours[:, :1, :1])  # [B, O, K]
              return best_in_turn(-distances, candidates, options)


      # Red for the first object, so the red one of blue and red for the second.
      colours = tf.constant([[[[9.0, 0, 0], [0, 0, 9]], [[0, 0, 8], [7, 0, 0]]]])
      ids = tf.constant([[[4, 5], [6, 7]]])
      candidates = Candidates(ids, valid=ids >= 0, distances=None, embeddings=colours)
      selection = choose_patches(NearestColour(), candidates, Options())
      assert selection.choice.numpy().tolist() == [[0, 1]]
      ```

    Attributes:
      name: as shown in tables.
      monitors: names of the metrics that `retrieve` reports, a tuple.
      takes_candidates: False for a stand-in that takes no candidates, see
        `rgan_tf.retrieval.rules`.
    """

    name = "retriever"
    monitors: tuple[str, ...] = ()
    takes_candidates = True

    def embed(self, patches: Patches) -> tf.Tensor:
        """Vectors by which patches are chosen; a patch's vector depends on no other patch.

        Args:
          patches: with `features` [..., Dx] float32 and `crops` [..., h, w, 3] uint8.

        Returns:
          [..., D] float32. By default D is 0: nothing is known of a patch.
        """
        return patches.features[..., :0]

    def choose(self, candidates: Candidates, options: Options) -> Selection:
        """Chooses at test time, and in training if `retrieve` is not overridden.

        Callers use `choose_patches`, which calls this.

        `rgan_tf.retrieval.selection` has functions for this: `best_in_turn` takes the best by any
        score and respects locks and repeats.

        Args:
          candidates: of B scenes with O objects of K candidates each.
          options: seeds, temperature, locks, repeats.

        Returns:
          A slot for every object; -1 if it has no valid candidate.
        """
        raise NotImplementedError

    def distance_scale(self) -> tf.Tensor | None:
        """Scalar above 0: what multiplies distances between embeddings to give logits.

        An exported model tells it, so that programs can draw among candidates as `choose` does.
        None, the default, if `choose` does not draw by distances.
        """
        return None

    def retrieve(
        self,
        batch: Batch,
        object_mask: tf.Tensor,
        *,
        seeds: tf.Tensor | None,
        anchors: tf.Tensor,
        temperature: tf.Tensor,
        step: tf.Tensor,
    ) -> Retrieved:
        """Retrieves in one training step; by default what `choose` returns, without gradient.

        Args:
          batch: of `rgan_tf.data.pipeline.scene_dataset`.
          object_mask: [B, O] bool.
          seeds: [B, 2] int32; None means no randomness.
          anchors: [B] int32, the objects whose own patch is the query of the selection loss.
          temperature: scalar, of a relaxed selection.
          step: integer scalar, the training step.

        Returns:
          The patches, and what the two retrieval losses need.

        Raises:
          BadInput: if the batch does not contain the candidates' patches.
        """
        del object_mask, anchors, temperature, step
        if "candidate_crops" not in batch:
            raise BadInput(
                f"retriever {self.name}: needs retrieval.candidates of at most "
                "retrieval.exact_candidates, so that batches hold the patches"
            )
        chosen = choose_patches(self, self.candidates_of(batch), Options(seeds=seeds))
        crops, ids = take_candidates(batch, chosen.choice)
        return Retrieved(crops, ids, None, None, {})

    def candidates_of(self, batch: Batch, library: Any = None) -> Candidates:
        """The candidates in a batch of the pipeline.

        Args:
          batch: with `candidate_distances` [B, O, K] if known.
          library: `PatchLibrary` of this retriever, for batches without the candidates' patches.
        """
        ids = batch["candidate_ids"]  # [B, O, K]
        if library is None:
            patches = Patches(lambda: batch["candidate_features"], lambda: batch["candidate_crops"])
            embeddings = embed_patches(self, patches, ids.shape)  # [B, O, K, D]
        else:
            embeddings = library.embeddings_at(ids)  # [B, O, K, D]
        return Candidates(
            ids, batch["candidate_valid"], batch.get("candidate_distances"), embeddings
        )

    def bound_to(self, embedding: tf.keras.layers.Layer) -> Retriever:
        """This retriever with another φ, e.g. the moving average or that of a loaded run.

        A model binds it to the φ that it trains. A retriever without φ returns itself.
        """
        del embedding
        return self

    def start(self) -> None:
        """Called before training, outside of replicas; again for each `fit` and after a restore.

        Must keep what a checkpoint or an earlier call has set.
        """

    def finish_step(self, step: tf.Tensor) -> None:
        """Called after every weight update, in replica context."""

    def state(self) -> dict[str, tf.Module]:
        """What the checkpoint must contain besides the networks, by name."""
        return {}


def is_learning(retriever: Retriever) -> bool:
    """Whether a retriever has a `retrieve` of its own, by which it may learn."""
    return type(retriever).retrieve is not Retriever.retrieve


def embed_patches(retriever: Retriever, patches: Patches, shape: tf.TensorShape) -> tf.Tensor:
    """Runs a retriever's `embed`.

    Args:
      retriever: any.
      patches: to embed.
      shape: of what numbers them, [...].

    Returns:
      [..., D] float32.

    Raises:
      ValueError: if the retriever returns anything but one vector per patch.
    """
    vectors = retriever.embed(patches)
    found = vectors.shape if tf.is_tensor(vectors) else None
    if found is None or not found.rank or not _is_of(found[:-1], shape):
        kind = type(vectors).__name__ if found is None else found
        raise ValueError(
            f"{type(retriever).__name__}.embed: must return one vector per patch, "
            f"{shape.as_list()} and its width, got {kind}"
        )
    return tf.cast(vectors, tf.float32)  # [..., D]


def choose_patches(
    retriever: Retriever,
    candidates: Candidates,
    options: Options,
    *,
    is_nearest: tf.Tensor | None = None,
) -> Selection:
    """Runs a retriever at test time.

    Locked objects always get their patch, and invalid slots are never chosen, whatever the
    retriever does.

    Args:
      retriever: any.
      candidates: of every object, embedded by this retriever.
      options: see `Options`.
      is_nearest: [B] bool, scenes that take the nearest candidates instead of the retriever's
        choice; None: no scene does.

    Raises:
      ValueError: if the retriever returns anything but one int32 slot per object.
    """
    if options.locked is not None:
        options = dataclasses.replace(options, locked=_valid_ones(options.locked, candidates.valid))
    selection = retriever.choose(candidates, options)
    if not isinstance(selection, Selection):
        raise ValueError(
            f"{type(retriever).__name__}.choose: must return a Selection, as best_in_turn does, "
            f"got {type(selection).__name__}"
        )
    objects = candidates.valid.shape[:2]  # [B, O]
    for name, value in zip(Selection._fields, selection, strict=True):
        is_tensor = tf.is_tensor(value)
        if not is_tensor or value.dtype != tf.int32 or not _is_of(value.shape, objects):
            kind = f"{value.dtype.name} {value.shape}" if is_tensor else type(value).__name__
            raise ValueError(
                f"{type(retriever).__name__}.choose: {name} must be int32 [B, O] = "
                f"{objects.as_list()}, got {kind}"
            )
    if is_nearest is not None:
        nearest = nearest_in_turn(candidates, options)
        rows = is_nearest[:, tf.newaxis]  # [B, 1]
        selection = Selection(
            *(tf.where(rows, *pair) for pair in zip(nearest, selection, strict=True))
        )
    choice = _valid_ones(selection.choice, candidates.valid)  # [B, O]
    if options.locked is not None:
        choice = tf.where(options.locked >= 0, options.locked, choice)  # [B, O]
    return Selection(choice, selection.order)


def check_retrieved(retriever: Retriever, retrieved: Any) -> None:
    """Refuses what a retriever's own `retrieve` returns and a training step cannot use.

    Raises:
      ValueError: if it is not a `Retrieved`, or reports a metric that `monitors` does not name.
    """
    where = f"{type(retriever).__name__}.retrieve"
    if not isinstance(retrieved, Retrieved):
        raise ValueError(f"{where}: must return a Retrieved, got {type(retrieved).__name__}")
    for name in retrieved.monitors:
        if name not in tuple(retriever.monitors):
            raise ValueError(
                f"{where}: reports {name!r}, and the retriever's monitors are "
                f"{tuple(retriever.monitors)}; name it there, before training"
            )


def _is_of(found: tf.TensorShape, wanted: tf.TensorShape) -> bool:
    return found.rank == wanted.rank and found.is_compatible_with(wanted)


def _valid_ones(slots: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Replaces invalid slots [B, O] int32, and those that do not exist, by -1."""
    known = tf.clip_by_value(slots, 0, tf.shape(valid)[2] - 1)  # [B, O]
    is_valid = (slots == known) & tf.gather(valid, known, batch_dims=2)  # [B, O]
    return tf.where(is_valid, slots, -1)
