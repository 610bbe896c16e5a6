"""Stage 2: a triplet embedding in which patches of one image are close (method §4.3)."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import tensorflow as tf

from rgan_tf.adapters.addons import triplet_semihard
from rgan_tf.data.quiet_exit import QuietAtExit
from rgan_tf.errors import BadInput
from rgan_tf.fixed_order import FixedOrderTape
from rgan_tf.metrics.boxes import shared_share
from rgan_tf.model.guarded_model import GuardedModel, dense, zero_unless
from rgan_tf.retrieval.distance import l2_distance
from rgan_tf.retrieval.embedding import CooccurrenceEmbedding

_ATTEMPTS = 16  # redraws of a negative from the anchor's own image
_TRIPLETS = 4096  # drawn for a measurement


class PatchFeatures(Protocol):
    """The part of a patch bank that this module needs."""

    features: np.ndarray  # [N, Dx] float
    image_ids: np.ndarray  # [N] integers
    category_ids: np.ndarray  # [N] integers
    boxes: np.ndarray  # [N, 4] float [y0, x0, y1, x1]


class CooccurrenceModel(GuardedModel):
    """Trains a `CooccurrenceEmbedding` to place patches of one image close together.

    The loss is the sum of two triplet losses with the same margin: one on the sampled triplets
    (some negatives have the positive's category, the hard case of retrieval), one on semi-hard
    triplets among all anchors and positives of the batch. Under a strategy every replica must get
    the whole batch (it is small), because a part of it has other semi-hard triplets.

    Args:
      embedding: the embedding to train.
      margin: wanted gap between distances in the embedding, in [0, 2].
      **guarded: see `GuardedModel`.

    Raises:
      ValueError: if `margin` is out of range.
    """

    def __init__(
        self, embedding: CooccurrenceEmbedding, *, margin: float = 0.2, **guarded: Any
    ) -> None:
        super().__init__(**guarded)
        if not 0 <= margin <= 2:
            raise ValueError(f"margin must be between 0 and 2, got {margin}")
        self.embedding = embedding
        self.margin = margin
        self.declare_metrics(["loss", "triplet_loss", "semihard_loss", "violations"])

    def call(self, features: tf.Tensor) -> tf.Tensor:
        """Embeds [..., Dx] features to [..., Dc] unit vectors."""
        return self.embedding(features)

    def state(self) -> dict[str, tf.Module]:
        """See `GuardedModel`."""
        return {**super().state(), "embedding": self.embedding, "optimizer": self.optimizer}

    def inference_networks(self) -> tf.keras.layers.Layer:
        """The embedding."""
        return self.embedding

    @tf.autograph.experimental.do_not_convert  # a quarter of the time of tracing, for nothing
    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """One optimiser step on a batch of `triplet_dataset`."""
        with FixedOrderTape() as tape:
            losses = self._triplet_losses(batch)
            total = losses["triplet_loss"] + losses["semihard_loss"]
            # Optimisers sum gradients over replicas.
            share = total / tf.distribute.get_strategy().num_replicas_in_sync
        variables = self.embedding.trainable_variables
        gradients = dense(tape.gradient(share, variables))
        is_sound = self.guard.judge(self.step, [share], gradients)
        safe = zero_unless(is_sound, gradients)
        self.optimizer.apply_gradients(zip(safe, variables, strict=True))
        self.guard.end_step()
        self.step.assign_add(1)
        return self.track({"loss": total, **losses}, is_sound)

    def _triplet_losses(self, batch):
        parts = ("anchors", "positives", "negatives")
        features = tf.concat([batch[part] for part in parts], axis=0)  # [3M, Dx]
        anchors, positives, negatives = tf.split(self.embedding(features), 3)  # [M, Dc] each
        gap = l2_distance(anchors, positives) - l2_distance(anchors, negatives)  # [M]
        labels = tf.concat([batch["labels"], batch["labels"]], axis=0)  # [2M]
        both = tf.concat([anchors, positives], axis=0)  # [2M, Dc]
        return {
            "triplet_loss": tf.reduce_mean(tf.nn.relu(gap + self.margin)),
            "semihard_loss": triplet_semihard(labels, both, margin=self.margin),
            "violations": tf.reduce_mean(tf.cast(gap >= 0, tf.float32)),
        }


class TripletSampler:
    """Draws triplets of bank rows, deterministically from the given generator.

    Anchor and positive are different patches of one image, the negative is a patch of another
    image. A share of the negatives has the positive's category: otherwise the embedding would only
    learn which categories occur together, which does not rank the candidates of one object.

    Args:
      image_ids: [N] integers.
      category_ids: [N] integers.
      same_category_share: of the negatives, in [0, 1]. If the category has no patch in another
        image, any other patch is taken.
      boxes: [N, 4] [y0, x0, y1, x1]. If given, anchor and positive do not overlap: shared pixels
        would identify them, whether they fit together or not.

    Raises:
      BadInput: if no image has two such patches, or all patches are from one image.
      ValueError: if the share is out of range.
    """

    def __init__(
        self,
        image_ids: np.ndarray,
        category_ids: np.ndarray,
        *,
        same_category_share: float = 0.5,
        boxes: np.ndarray | None = None,
    ) -> None:
        if not 0 <= same_category_share <= 1:
            raise ValueError(f"same_category_share must be in [0, 1], got {same_category_share}")
        self._share = same_category_share
        self._images = _Groups(np.asarray(image_ids))
        self._categories = _Groups(np.asarray(category_ids))
        if boxes is None:
            self._partners = None
            self._eligible = np.flatnonzero(self._images.sizes[self._images.codes] >= 2)
        else:
            self._partners = _Partners(self._images, np.asarray(boxes))
            self._eligible = self._partners.rows
        if not len(self._eligible) or len(self._images.sizes) < 2:
            apart = "" if boxes is None else " that do not overlap"
            raise BadInput(
                f"co-occurrence: the patch bank needs an image with two patches{apart} and a "
                "second image; prepare more images"
            )

    def draw(self, count: int, generator: np.random.Generator) -> np.ndarray:
        """Draws `count` triplets: [count, 3] int64 rows (anchor, positive, negative)."""
        anchors = generator.choice(self._eligible, count)
        images = self._images.codes[anchors]
        if self._partners is None:
            positives = self._images.draw(images, generator, skip=anchors)
        else:
            positives = self._partners.draw(anchors, generator)
        negatives = generator.integers(len(self._images.codes), size=count)
        wants_same = generator.random(count) < self._share
        same = self._categories.draw(self._categories.codes[positives], generator)
        negatives = np.where(wants_same, same, negatives)
        for attempt in range(_ATTEMPTS):
            again = np.flatnonzero(self._images.codes[negatives] == images)
            if not len(again):
                break
            anywhere = generator.integers(len(self._images.codes), size=len(again))
            same = self._categories.draw(self._categories.codes[positives[again]], generator)
            keep_category = wants_same[again] & (attempt < _ATTEMPTS // 2)
            negatives[again] = np.where(keep_category, same, anywhere)
        else:
            # One image dominates the bank: choose among all patches of other images.
            for row in np.flatnonzero(self._images.codes[negatives] == images):
                outside = np.flatnonzero(self._images.codes != images[row])
                negatives[row] = generator.choice(outside)
        return np.stack([anchors, positives, negatives], axis=1)

    def same_category(self, triplets: np.ndarray) -> np.ndarray:
        """Whether positive and negative of each triplet share their category: [count] bool."""
        codes = self._categories.codes
        return codes[triplets[:, 1]] == codes[triplets[:, 2]]


def triplet_dataset(
    bank: PatchFeatures,
    *,
    triplets_per_step: int,
    same_category_share: float,
    seed: int,
    start_step: int = 0,
    shared_pixels: bool = False,
) -> tf.data.Dataset:
    """Endless batches of triplets; batch k depends only on the seed and k.

    Args:
      bank: the training patches.
      triplets_per_step: M, at least 1.
      same_category_share: see `TripletSampler`.
      seed: of the run.
      start_step: k of the first batch, for resuming a run.
      shared_pixels: whether overlapping patches can also be anchor and positive.

    Returns:
      Dataset of `anchors`, `positives`, `negatives` [M, Dx] float32 and `labels` [M] int64, the
      anchors' image ids.

    Raises:
      BadInput: if the bank has no triplets.
    """
    features, image_ids = bank.features, np.asarray(bank.image_ids, np.int64)
    sampler = TripletSampler(
        image_ids,
        bank.category_ids,
        same_category_share=same_category_share,
        boxes=None if shared_pixels else bank.boxes,
    )
    width = features.shape[1]

    def drawn(step):
        generator = np.random.default_rng((seed, int(step)))
        rows = sampler.draw(triplets_per_step, generator)
        parts = [np.asarray(features[rows[:, part]], np.float32) for part in range(3)]
        return [*parts, image_ids[rows[:, 0]]]

    batch = QuietAtExit(drawn)

    def load(step):
        parts = tf.numpy_function(batch, [step], [tf.float32] * 3 + [tf.int64])
        for part in parts[:3]:
            part.set_shape([triplets_per_step, width])
        parts[3].set_shape([triplets_per_step])
        return dict(zip(("anchors", "positives", "negatives", "labels"), parts, strict=True))

    steps = tf.data.Dataset.range(start_step, np.iinfo(np.int64).max)
    return steps.map(load).prefetch(2)


def same_image_auc(embedding: Any, bank: PatchFeatures, *, seed: int = 0) -> float:
    """How well distances separate same-image pairs: ranking AUC on held-out patches.

    Compares pairs of non-overlapping patches of one image with pairs from two images whose second
    patches have the same category, so that knowing which categories occur together does not help.

    Args:
      embedding: maps [M, Dx] features to [M, Dc] vectors; `lambda x: x` for the raw features.
      bank: the held-out patches.
      seed: of the draw of triplets; those without a negative of the same category are left out.

    Returns:
      Probability that a same-image pair is closer than a different-image pair, ties counting half;
      0.5 is chance, NaN if there is no such triplet: a split of one image, or of images with one
      object each, is still one to train beside and to evaluate.
    """
    try:
        sampler = TripletSampler(
            bank.image_ids, bank.category_ids, same_category_share=1.0, boxes=bank.boxes
        )
    except BadInput:
        return float("nan")
    rows = sampler.draw(_TRIPLETS, np.random.default_rng(seed))
    rows = rows[sampler.same_category(rows)]
    if not len(rows):
        return float("nan")
    used, inverse = np.unique(rows, return_inverse=True)
    vectors = np.concatenate(
        [
            np.asarray(embedding(tf.constant(np.asarray(bank.features[part], np.float32))))
            for part in np.array_split(used, -(-len(used) // 1024))
        ]
    )[inverse.reshape(rows.shape)]  # [M, 3, Dc]
    positive = np.linalg.norm(vectors[:, 0] - vectors[:, 1], axis=-1)  # [M]
    negative = np.linalg.norm(vectors[:, 0] - vectors[:, 2], axis=-1)  # [M]
    ordered = np.sort(negative)
    farther = len(ordered) - np.searchsorted(ordered, positive, side="right")  # [M]
    tied = len(ordered) - np.searchsorted(ordered, positive, side="left") - farther  # [M]
    return float(np.mean((farther + 0.5 * tied) / len(ordered)))


class _Partners:
    """For every patch, the patches of its image that do not overlap it."""

    def __init__(self, images: _Groups, boxes: np.ndarray) -> None:
        pairs = [np.empty([0, 2], np.int64)]
        # With rows grouped by image, row i is paired with row i + 1, then row i + 2, and so on.
        order = images.order
        for gap in range(1, int(images.sizes.max(initial=1))):
            first, second = order[:-gap], order[gap:]
            alike = images.codes[first] == images.codes[second]
            first, second = first[alike], second[alike]
            apart = shared_share(boxes[first], boxes[second]) == 0
            both = np.stack([first[apart], second[apart]], axis=1)
            pairs += [both, both[:, ::-1]]
        everything = np.concatenate(pairs)
        everything = everything[np.lexsort((everything[:, 1], everything[:, 0]))]
        self.rows, self._starts, self._counts = np.unique(
            everything[:, 0], return_index=True, return_counts=True
        )
        self._partners = everything[:, 1]

    def draw(self, anchors: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A partner of each anchor, drawn uniformly; anchors are among `rows`."""
        places = np.searchsorted(self.rows, anchors)
        return self._partners[self._starts[places] + generator.integers(self._counts[places])]


class _Groups:
    """Rows grouped by value, for drawing rows of a given value."""

    def __init__(self, values: np.ndarray) -> None:
        _, self.codes, self.sizes = np.unique(values, return_inverse=True, return_counts=True)
        self.order = np.argsort(self.codes, kind="stable")
        self._starts = np.cumsum(self.sizes) - self.sizes
        self._position = np.empty_like(self.order)  # of a row within its group
        self._position[self.order] = np.arange(len(values)) - self._starts[self.codes[self.order]]

    def draw(
        self, codes: np.ndarray, generator: np.random.Generator, skip: np.ndarray | None = None
    ) -> np.ndarray:
        """One row per code, uniformly from the group, never `skip` (one row of each group)."""
        sizes = self.sizes[codes]
        if skip is None:
            position = generator.integers(sizes)
        else:
            position = (self._position[skip] + 1 + generator.integers(sizes - 1)) % sizes
        return self.order[self._starts[codes] + position]
