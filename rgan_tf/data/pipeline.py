"""Batches of scenes for training and evaluation.

A batch is a pure function of the seed and its number: a run that resumes at step n reads the same
batches as one that never stopped, without reading what comes before.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.config import Config
from rgan_tf.cores import usable_cores
from rgan_tf.data.incomplete import objects_to_keep, without_objects
from rgan_tf.data.prepared import PreparedData
from rgan_tf.data.quiet_exit import QuietAtExit
from rgan_tf.data.relations import GeometricTriples
from rgan_tf.data.scenes import SceneStore
from rgan_tf.errors import BadInput
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.seeds import Purpose
from rgan_tf.storage.mapped import rows_of, rows_or_zeros
from rgan_tf.vocabulary import Vocabulary

# A batch of coco_128 takes 31 MB, and for a part of the time workers wait for one interpreter lock.
_MOST_WORKERS = 16
# Stored as float16: TensorFlow makes float32 of them in half of NumPy's time.
_FEATURES = ("patch_features", "candidate_features")


class Share(NamedTuple):
    """The parts of every batch that one pipeline makes; parts are equal and consecutive.

    Attributes:
      first: number of its first part.
      count: number of its parts; one element each.
      total: number of parts in a batch.
    """

    first: int
    count: int
    total: int


WHOLE = Share(0, 1, 1)


def scene_dataset(
    data: PreparedData,
    split: str,
    config: Config,
    *,
    batch_size: int,
    seed: int,
    start_step: int = 0,
    repeat: bool = True,
    candidates: CandidateSource | None = None,
    shuffle: bool | None = None,
    augment: bool = True,
    share: Share = WHOLE,
    half_size: np.ndarray | None = None,
) -> tf.data.Dataset:
    """Batches of one split as dicts of tensors with static shapes.

    With `repeat`, every batch is full: one shuffled epoch follows another without a gap.

    Args:
      data: the prepared folder.
      split: "train", "val" or "test".
      config: gives all sizes.
      batch_size: B.
      seed: of the order and the augmentation.
      start_step: number of the first batch.
      repeat: loop for ever instead of ending after one epoch.
      candidates: adds the retrieval tensors.
      shuffle: a new seeded order for each epoch; by default as `repeat`.
      augment: mirror half of the training scenes if the config says so: predicates, boxes, image
        and the objects' own patches. Backbone features stay, as they hardly change. Also leave
        objects out of a share `data.incomplete_scenes` of the training scenes; the image stays.
        And draw geometric relationships anew for every epoch if `data.redraw_relations`.
      share: the parts of every batch to make; needs `repeat`. A part has B / total rows; only those
        rows are read.
      half_size: [N, Dx] features of the bank's patches at half the size, with `candidates`. A share
        `retrieval.half_size_patches` of the training patches, own ones and candidates, has these.

    Returns:
      Batches with image [B, H, W, 3] float32 in [-1, 1], image_id [B] int64, objects [B, O] int32
      (0: none), boxes [B, O, 4] float32, triples [B, T, 3] int32 (-1: none), patch_rows [B, O]
      int32 (-1: none). With `candidates` also patch_crops [B, O, h, w, 3] uint8, patch_features
      [B, O, Dx] float32, candidate_ids [B, O, K] int32 (-1: none), candidate_valid [B, O, K] bool,
      candidate_crops [B, O, K, h, w, 3] uint8, candidate_features [B, O, K, Dx] float32 and
      candidate_cooccurrence [B, O, K, Dc] float32. With more than
      `config.retrieval.exact_candidates` candidates the last three are absent: `PatchReader` reads
      the rows that are needed later.

    Raises:
      BadInput: if the candidates belong to another split or bank, sizes are not positive, the
        batch size is not divisible by `share.total`, or relationships cannot be drawn anew.
      CorruptData: if records or patches are damaged.
    """
    if batch_size < 1 or start_step < 0:
        raise BadInput(f"need batch_size >= 1 and start_step >= 0: {batch_size}, {start_step}")
    if batch_size % share.total or (share != WHOLE and not repeat):
        raise BadInput(f"a batch of {batch_size} does not fall into {share.total} equal parts")
    batches = _Batches(
        data,
        split,
        config,
        batch_size=batch_size,
        seed=seed,
        wrap=repeat,
        shuffle=repeat if shuffle is None else shuffle,
        flip=augment and config.data.flip and split == "train",
        incomplete=config.data.incomplete_scenes if augment and split == "train" else 0.0,
        redraw=augment and config.data.redraw_relations and split == "train",
        candidates=candidates,
        share=share,
        half_size=half_size if augment and split == "train" else None,
    )
    count = len(batches.scenes)
    if repeat:
        steps = tf.data.Dataset.counter(start_step * share.count)
    else:
        steps = tf.data.Dataset.range(start_step, max(-(-count // batch_size), start_step))
    full = repeat or count % batch_size == 0
    signature = batches.signature(batch_size // share.total if full else None)
    names = list(signature)

    arrays = QuietAtExit(batches.arrays)

    def load(step: tf.Tensor) -> dict[str, tf.Tensor]:
        tensors = tf.numpy_function(
            arrays, [step], [signature[name].dtype for name in names], stateful=False
        )
        for name, tensor in zip(names, tensors, strict=True):
            tensor.set_shape(signature[name].shape)
        batch = dict(zip(names, tensors, strict=True))
        batch["image"] = tf.cast(batch["image"], tf.float32) / 127.5 - 1.0  # [B, H, W, 3]
        for name in _FEATURES:
            if name in batch:
                batch[name] = tf.cast(batch[name], tf.float32)  # [..., Dx]
        return batch

    workers = worker_count()
    dataset = steps.map(load, num_parallel_calls=workers, deterministic=True)
    options = tf.data.Options()
    options.autotune.enabled = False  # one batch ahead per worker is enough
    # Threads of their own: in TensorFlow's pool they would keep the training step waiting.
    options.threading.private_threadpool_size = workers
    return dataset.prefetch(max(workers, 2 * share.count)).with_options(options)


def scenes_once(
    data: PreparedData,
    split: str,
    config: Config,
    *,
    batch_size: int,
    candidates: CandidateSource | None = None,
    order_seed: int | None = None,
) -> tf.data.Dataset:
    """`scene_dataset` of every scene of a split once and unchanged, as evaluation reads them.

    Args:
      order_seed: of a random order; None keeps that of the records.
    """
    return scene_dataset(
        data,
        split,
        config,
        batch_size=batch_size,
        seed=order_seed or 0,
        repeat=False,
        shuffle=order_seed is not None,
        augment=False,
        candidates=candidates,
    )


def worker_count() -> int:
    """Batches that are made at the same time: one per core, up to `_MOST_WORKERS`."""
    return min(usable_cores(), _MOST_WORKERS)


def batch_image_ids(
    data: PreparedData, split: str, config: Config, *, batch_size: int, seed: int, step: int
) -> list[int]:
    """Image ids of the shuffled batch of that number."""
    batches = _Batches(
        data,
        split,
        config,
        batch_size=batch_size,
        seed=seed,
        wrap=True,
        shuffle=True,
        flip=False,
        incomplete=0.0,
        redraw=False,
        candidates=None,
    )
    return batches.scenes.image_ids[batches.positions(step)].tolist()


class _Batches:
    """Builds the arrays of one part of a batch; parts are numbered within the share."""

    def __init__(
        self,
        data: PreparedData,
        split: str,
        config: Config,
        *,
        batch_size: int,
        seed: int,
        wrap: bool,
        shuffle: bool,
        flip: bool,
        incomplete: float,
        redraw: bool,
        candidates: CandidateSource | None,
        share: Share = WHOLE,
        half_size: np.ndarray | None = None,
    ):
        self._share = share
        self.scenes: SceneStore = data.scenes(split, config.data)
        self._batch_size = batch_size
        self._seed = seed
        self._wrap = wrap
        self._shuffle = shuffle
        self._flip = flip
        self._incomplete = incomplete
        self._relations: GeometricTriples | None = None
        if redraw:
            data.check_relations_can_be_drawn()
            self._relations = GeometricTriples(self.scenes, data.vocabulary, seed)
        self._candidates = candidates
        self._crop_size = config.data.crop_size
        self._ids_only = candidates is not None and candidates.k > config.retrieval.exact_candidates
        self._mirrored_predicates = mirrored_predicates(data.vocabulary)
        self._orders: dict[int, np.ndarray] = {}
        if candidates is not None:
            self._own: PatchBank = data.truth(split)
            self._bank: PatchBank = data.bank
            _check_candidates(candidates, self._own, self._bank)
        self._half_size = half_size
        self._half_size_share = config.retrieval.half_size_patches

    def signature(self, batch: int | None) -> dict[str, tf.TensorSpec]:
        """Names, shapes and types of the values of `arrays`, in order."""
        size, crop = self.scenes.image_size, self._crop_size
        objects, triples = self.scenes.objects.shape[1], self.scenes.triples.shape[1]
        specs = {
            "image": tf.TensorSpec([batch, size, size, 3], tf.uint8),
            "image_id": tf.TensorSpec([batch], tf.int64),
            "objects": tf.TensorSpec([batch, objects], tf.int32),
            "boxes": tf.TensorSpec([batch, objects, 4], tf.float32),
            "triples": tf.TensorSpec([batch, triples, 3], tf.int32),
            "patch_rows": tf.TensorSpec([batch, objects], tf.int32),
        }
        if self._candidates is None:
            return specs
        rows = [batch, objects]
        each = [batch, objects, self._candidates.k]
        features, related = self._bank.feature_size, self._candidates.cooccurrence.shape[1]
        stored = tf.as_dtype(self._bank.features.dtype)
        specs |= {
            "patch_crops": tf.TensorSpec([*rows, crop, crop, 3], tf.uint8),
            "patch_features": tf.TensorSpec([*rows, features], stored),
            "candidate_ids": tf.TensorSpec(each, tf.int32),
            "candidate_valid": tf.TensorSpec(each, tf.bool),
        }
        if self._ids_only:
            return specs
        return specs | {
            "candidate_crops": tf.TensorSpec([*each, crop, crop, 3], tf.uint8),
            "candidate_features": tf.TensorSpec([*each, features], stored),
            "candidate_cooccurrence": tf.TensorSpec([*each, related], tf.float32),
        }

    def arrays(self, number: np.int64) -> list[np.ndarray]:
        """The part of that number."""
        scenes, share = self.scenes, self._share
        step, part = divmod(int(number), share.count)
        rows = self._batch_size // share.total
        rows = slice((share.first + part) * rows, (share.first + part + 1) * rows)
        places = self._places(step)[rows]  # [B]
        chosen = self._positions_at(places)  # [B]
        images, boxes = scenes.images(chosen), scenes.boxes[chosen]
        objects, triples = scenes.objects[chosen], scenes.triples[chosen]
        if self._relations is not None:
            triples = self._relations.of(places // len(scenes), chosen)  # [B, T, 3]
        patch_rows = scenes.patch_rows[chosen]  # [B, O]
        flipped = self._flipped(step)[rows][: len(chosen)]  # [B] bool
        if flipped.any():
            images[flipped] = images[flipped, :, ::-1]
            boxes[flipped] = mirror_boxes(boxes[flipped], objects[flipped])
            triples[flipped] = mirror_triples(triples[flipped], self._mirrored_predicates)
        if self._incomplete:
            kept = self._kept(step)[rows]  # [B, O] bool
            objects, boxes, triples, patch_rows = without_objects(
                objects, boxes, triples, patch_rows, kept
            )
        batch = [images, scenes.image_ids[chosen], objects, boxes, triples, patch_rows]
        if self._candidates is None:
            return batch
        crops = self._own.crops_at(patch_rows, self._crop_size)  # [B, O, h, w, 3]
        crops[flipped] = crops[flipped, :, :, ::-1]
        ids = self._candidates.ids_of(patch_rows)  # [B, O, K]
        valid = ids >= 0
        features = rows_or_zeros(self._own.features, patch_rows)  # [B, O, Dx]
        batch += [crops, features, ids, valid]
        if self._ids_only:
            return batch
        candidate_features = rows_or_zeros(self._bank.features, ids)  # [B, O, K, Dx]
        if self._half_size is not None:
            are_small = self._half_sized(step, ids.shape[1:])[rows][: len(chosen)]  # [B, O, 1 + K]
            self._take_half_size(features, patch_rows, are_small[..., 0])
            self._take_half_size(candidate_features, ids, are_small[..., 1:])
        related = rows_or_zeros(self._candidates.cooccurrence, ids)  # [B, O, K, Dc]
        return batch + [
            self._bank.crops_at(ids, self._crop_size),
            candidate_features,
            related.astype(np.float32, copy=False),
        ]

    def positions(self, step: int) -> np.ndarray:
        """Indices of the scenes in the batch of that number."""
        return self._positions_at(self._places(step))

    def _places(self, step: int) -> np.ndarray:
        """Numbers of the batch's scenes, counted through all epochs."""
        places = step * self._batch_size + np.arange(self._batch_size, dtype=np.int64)
        return places if self._wrap else places[places < len(self.scenes)]

    def _positions_at(self, places: np.ndarray) -> np.ndarray:
        count = len(self.scenes)
        if not self._shuffle:
            return places % count
        return np.array([self._order(int(place // count))[place % count] for place in places])

    def _order(self, epoch: int) -> np.ndarray:
        order = self._orders.get(epoch)
        if order is None:
            if len(self._orders) > 8:  # another worker may do the same: nothing is read again below
                self._orders.clear()
            rng = np.random.default_rng([self._seed, int(Purpose.SHUFFLE), epoch])
            order = self._orders[epoch] = rng.permutation(len(self.scenes))
        return order

    def _flipped(self, step: int) -> np.ndarray:
        if not self._flip:
            return np.zeros([self._batch_size], bool)
        rng = np.random.default_rng([self._seed, int(Purpose.AUGMENTATION), step])
        return rng.random(self._batch_size) < 0.5

    def _kept(self, step: int) -> np.ndarray:
        rng = np.random.default_rng([self._seed, int(Purpose.INCOMPLETE_SCENES), step])
        return objects_to_keep(rng, self.scenes.objects[self.positions(step)], self._incomplete)

    def _half_sized(self, step: int, objects_and_candidates: tuple[int, ...]) -> np.ndarray:
        objects, candidates = objects_and_candidates
        rng = np.random.default_rng([self._seed, int(Purpose.HALF_SIZE_PATCHES), step])
        return rng.random([self._batch_size, objects, 1 + candidates]) < self._half_size_share

    def _take_half_size(self, features: np.ndarray, ids: np.ndarray, are_small: np.ndarray) -> None:
        """Replaces the features [..., Dx] of some of the rows [...]."""
        places = are_small & (ids >= 0)  # [...]
        features[places] = rows_of(self._half_size, ids[places])


def mirrored_predicates(vocabulary: Vocabulary) -> np.ndarray:
    """[P] int32: the predicate that holds in the mirror image, if the vocabulary has it."""
    swap = {"left": "right", "right": "left"}
    ids = {name: index for index, name in enumerate(vocabulary.predicates)}
    return np.array(
        [
            ids.get(" ".join(swap.get(word, word) for word in name.split(" ")), index)
            for index, name in enumerate(vocabulary.predicates)
        ],
        np.int32,
    )


def mirror_boxes(boxes: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """Boxes [..., O, 4] of the mirror image; rows without an object stay zero."""
    y0, x0, y1, x1 = np.moveaxis(boxes, -1, 0)
    mirrored = np.stack([y0, 1 - x1, y1, 1 - x0], axis=-1)
    return np.where((objects > 0)[..., None], mirrored, boxes).astype(boxes.dtype)


def mirror_triples(triples: np.ndarray, mirrored: np.ndarray) -> np.ndarray:
    """Triples [..., T, 3] of the mirror image; padded rows stay -1."""
    result = triples.copy()
    predicates = triples[..., 1]
    result[..., 1] = np.where(predicates >= 0, mirrored[predicates], predicates)
    return result


def _check_candidates(candidates: CandidateSource, own: PatchBank, bank: PatchBank) -> None:
    if candidates.rows != len(own):
        raise BadInput(
            f"candidates for {candidates.rows} objects, the split has {len(own)}; they belong "
            "to other data"
        )
    if len(candidates.cooccurrence) != len(bank):
        raise BadInput(
            f"candidates from a bank of {len(candidates.cooccurrence)} patches, this one has "
            f"{len(bank)}; they belong to other data"
        )
