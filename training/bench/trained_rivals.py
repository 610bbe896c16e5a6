"""What a trained rival shows if it is really that system: one function for each rival.

The figures are of objects or scenes; `measure` averages them over a split.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rgan_tf.bank.patch_bank import PatchBank
from rgan_tf.data.pipeline import scenes_once
from rgan_tf.data.prepared import PreparedData
from rgan_tf.errors import BadInput
from rgan_tf.generator.layout import box_coverage, crop_objects
from rgan_tf.retrieval.candidates import CandidateSource
from rgan_tf.retrieval.patches import pixels_of
from rgan_tf.rivals.attngan.damsm import DamsmEncoders, build_damsm
from rgan_tf.rivals.attngan.matching import sentence_scores, word_scores
from rgan_tf.rivals.attngan.networks import AttnganRival
from rgan_tf.rivals.attngan.tokens import same_text
from rgan_tf.rivals.layout2im.networks import Layout2imRival
from rgan_tf.rivals.layout2im.sizes import SCALED
from rgan_tf.rivals.noise import row_order
from rgan_tf.rivals.pastegan.networks import PasteganRival
from rgan_tf.rivals.pastegan.selector import TEST_CANDIDATES
from rgan_tf.rivals.registry import rival_networks
from rgan_tf.runs import DAMSM, STAGES, Run, load_weights
from rgan_tf.seeds import Purpose, derive_row_seeds
from rgan_tf.vocabulary import PADDING
from training.evaluation.systems import row_seeds
from training.rival_candidates import rival_candidates

Batch = dict[str, tf.Tensor]
Figures = dict[str, np.ndarray]
"""Name -> one number per object or scene; NaN where it has none."""

_BATCH = 32


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is measured.

    Attributes:
      run: with a trained rival.
      data: gives scenes and patches.
      split: of the scenes.
      scenes: number of the first ones; at most those of the split.
      seed: of codes, noise and patches.
      words: see `attngan`.
    """

    run: Run
    data: PreparedData
    split: str
    scenes: int
    seed: int
    words: tuple[str, str]

    def batches(
        self, candidates: CandidateSource | None = None
    ) -> Iterator[tuple[Batch, tf.Tensor]]:
        """The scenes in batches of B, each with its rows' seeds [B] int32."""
        whole = scenes_once(
            self.data, self.split, self.run.config, batch_size=_BATCH, candidates=candidates
        )
        for batch in whole.unbatch().take(self.scenes).batch(_BATCH):
            yield batch, row_seeds(batch, self.seed)


def measure(subject: Subject) -> dict[str, Any]:
    """Averages of the figures, each with the number of objects or scenes behind it."""
    run = subject.run
    system = run.config.training.system
    networks = rival_networks(run.config, run.vocabulary)
    load_weights(run, STAGES[-1], networks, system=system)
    found: dict[str, list[np.ndarray]] = {}
    for figures in CHECKS[system](subject, networks):
        for name, values in figures.items():
            found.setdefault(name, []).append(np.ravel(values))
    result: dict[str, Any] = {"system": system, "scenes": subject.scenes}
    for name, parts in found.items():
        values = np.concatenate(parts)
        values = values[~np.isnan(values)]
        result[name] = float(values.mean()) if len(values) else None
        result[f"{name}_count"] = len(values)
    if system == "attngan":
        record = run.stage_record(DAMSM)
        result |= {key: value for key, value in record.items() if key.startswith("r_precision")}
    return result


def layout2im(networks: Layout2imRival, crop_size: int, batch: Batch, seeds: tf.Tensor) -> Figures:
    """Whether codes can be read out of the objects that were drawn with them.

    Args:
      networks: trained.
      crop_size: px, of the crops that the encoder reads.
      batch: B scenes.
      seeds: [B] int32.

    Returns:
      `code_error` [B, O], the mean distance of the code found from that drawn (an encoder that
      sees nothing has 0.80), and `change_inside` and `change_outside` [B], by how much pixels
      within and without the box of a scene's first object differ when its code is another.
    """
    objects, boxes = batch["objects"], batch["boxes"]  # [B, O], [B, O, 4]
    there = objects != PADDING  # [B, O]
    codes, others = (
        networks.draw_codes(derive_row_seeds(each, Purpose.PRIOR_CODE), objects.shape[1])
        for each in (seeds, seeds + 1)
    )  # [B, O, Z] each
    order = row_order(there, derive_row_seeds(seeds, Purpose.OBJECT_ORDER))  # [B, O]
    images = networks.draw(objects, boxes, codes, order)  # [B, H, W, 3]
    found, _ = networks.posterior(crop_objects(images, boxes, crop_size), objects)  # [B, O, Z]
    error = tf.reduce_mean(tf.abs(found - codes), axis=-1)  # [B, O]
    # Objects stand before padding, so the first place is one.
    mixed = tf.concat([others[:, :1], codes[:, 1:]], axis=1)  # [B, O, Z]
    changed = networks.draw(objects, boxes, mixed, order)  # [B, H, W, 3]
    change = tf.reduce_mean(tf.abs(changed - images), axis=-1)  # [B, H, W]
    rows, columns = box_coverage(boxes[:, :1], *change.shape[1:])  # [B, 1, H], [B, 1, W]
    inside = rows[:, 0, :, tf.newaxis] * columns  # [B, H, W], 1 or 0
    return {
        "code_error": np.where(there, error, np.nan),
        "change_inside": _weighted_mean(change, inside),
        "change_outside": _weighted_mean(change, 1.0 - inside),
    }


def pastegan(
    networks: PasteganRival, batch: Batch, of_category: tf.Tensor, seeds: tf.Tensor
) -> Figures:
    """Whether objects look like their own patch rather than like any other of the category.

    Args:
      networks: trained.
      batch: B scenes with candidates.
      of_category: [B, O, S, S, 3] uint8, a random patch of each object's category.
      seeds: [B] int32.

    Returns:
      `distance_to_selected` and `distance_to_random` [B, O], between the encoder's maps of the
      drawn object and of the patch, and `selected_is_nearer` [B, O], 1 or 0.
    """
    drawing = networks.synthesise(batch, batch["boxes"], seeds)
    there = drawing.choice >= 0  # [B, O]
    selected = tf.gather(
        batch["candidate_crops"], tf.maximum(drawing.choice, 0), batch_dims=2
    )  # [B, O, S, S, 3]
    crops = crop_objects(drawing.images, batch["boxes"], networks.crop_size)  # [B, O, S, S, 3]
    drawn, wanted, others = (
        networks.encode_crops(tf.reshape(each, [-1, *each.shape[2:]]))
        for each in (crops, pixels_of(selected, there), pixels_of(of_category, there))
    )  # [B * O, h, w, D] each
    distances = [
        np.where(
            there,
            tf.reshape(tf.reduce_mean(tf.abs(drawn - maps), axis=[1, 2, 3]), there.shape),
            np.nan,
        )
        for maps in (wanted, others)
    ]  # [B, O] each
    nearer = np.where(there, distances[0] < distances[1], np.nan)
    return {
        "distance_to_selected": distances[0],
        "distance_to_random": distances[1],
        "selected_is_nearer": nearer,
    }


def attngan(
    networks: AttnganRival,
    encoders: DamsmEncoders,
    batch: Batch,
    words: tuple[str, str],
    seeds: tf.Tensor,
    *,
    averages: bool = False,
) -> Figures:
    """Whether pixels look at the words that they show, and images fit their own texts.

    Args:
      networks: trained.
      encoders: of DAMSM, trained.
      batch: B scenes.
      words: of the run's dictionary; the first usually stands higher in an image.
      seeds: [B] int32.
      averages: see `word_scores`; as in the training of the encoders.

    Returns:
      `first_word_is_higher` [B], 1 or 0, whether the last stage's attention to the first word lies
      above that to the second (NaN without both, or if no stage looks at words), and
      `own_text_is_nearer_by_words` and `own_text_is_nearer_by_sentence` [B], the share of the
      batch's other texts that fit an image less (chance 0.5).
    """
    graph = {"objects": batch["objects"], "triples": batch["triples"]}
    tokens = networks.texts(graph)  # [B, W]
    text = networks.read(graph)
    noises = networks.draw_noise(
        derive_row_seeds(seeds, Purpose.IMAGE_NOISE),
        derive_row_seeds(seeds, Purpose.CONDITION_NOISE),
    )
    pyramid = networks.generator(text, *noises)
    # One stage alone looks at no word.
    attention = [tf.zeros([*tokens.shape, 1, 1]), *pyramid.attention][-1]  # [B, W, s, s]
    heights = [
        _height_of(attention, tokens, networks.texts.dictionary.ids_of(word)) for word in words
    ]  # [B] each
    image = encoders.encode_image(pyramid.images[-1])
    differ = ~same_text(networks.texts.keys(graph)).numpy()  # [B, B]
    shares = []
    for scores in (
        word_scores(text, image.regions, averages=averages),
        sentence_scores(text, image.image),
    ):
        own = tf.linalg.diag_part(scores)[:, tf.newaxis]  # [B, 1]
        count = differ.sum(axis=1)  # [B]
        worse = ((scores < own).numpy() & differ).sum(axis=1)  # [B]
        shares.append(np.where(count > 0, worse / np.maximum(count, 1), np.nan))
    higher = np.where(np.isnan(sum(heights)), np.nan, heights[0] < heights[1])
    return {
        "first_word_is_higher": higher,
        "own_text_is_nearer_by_words": shares[0],
        "own_text_is_nearer_by_sentence": shares[1],
    }


def _weighted_mean(values: tf.Tensor, weights: tf.Tensor) -> np.ndarray:
    """[B]: the mean of [B, H, W] under weights of 1 and 0; NaN where all are 0."""
    total = tf.reduce_sum(weights, axis=[1, 2])  # [B]
    mean = tf.reduce_sum(values * weights, axis=[1, 2]) / tf.maximum(total, 1.0)  # [B]
    return np.where(total > 0, mean, np.nan)


def _height_of(attention: tf.Tensor, tokens: tf.Tensor, ids: Sequence[int]) -> np.ndarray:
    """[B]: the mean row, 0 at the top, of attention [B, W, s, s] to a word's places [B, W]."""
    is_word = tf.reduce_any(tokens[..., tf.newaxis] == tf.constant(ids), axis=-1)  # [B, W]
    seen = tf.einsum("bw,bwhv->bh", tf.cast(is_word, tf.float32), attention)  # [B, s]
    total = tf.reduce_sum(seen, axis=1)  # [B]
    rows = tf.range(seen.shape[1], dtype=tf.float32)  # [s]
    mean = tf.reduce_sum(seen * rows, axis=1) / tf.maximum(total, 1e-9)  # [B]
    return np.where(total > 0, mean, np.nan)


def _of_layout2im(subject: Subject, networks: Layout2imRival) -> Iterator[Figures]:
    for batch, seeds in subject.batches():
        yield layout2im(networks, SCALED.crop_size, batch, seeds)


def _of_pastegan(subject: Subject, networks: PasteganRival) -> Iterator[Figures]:
    data, split = subject.data, subject.split
    table = rival_candidates(subject.run, data, {split: TEST_CANDIDATES})[split]
    random = np.random.default_rng(subject.seed)
    for batch, seeds in subject.batches(table):
        others = random_patches(data.bank, batch["objects"].numpy(), networks.crop_size, random)
        yield pastegan(networks, batch, tf.constant(others), seeds)


def _of_attngan(subject: Subject, networks: AttnganRival) -> Iterator[Figures]:
    run, known = subject.run, networks.texts.dictionary.words
    for word in subject.words:
        if word not in known:
            raise BadInput(
                f"--words {word}: no text of this run has it; it knows {', '.join(known)}"
            )
    encoders = build_damsm(run.config, run.vocabulary).encoders
    load_weights(run, DAMSM, encoders)
    averages = run.config.attngan.averages_words
    for batch, seeds in subject.batches():
        yield attngan(networks, encoders, batch, subject.words, seeds, averages=averages)


def random_patches(
    bank: PatchBank, objects: np.ndarray, size: int, random: np.random.Generator
) -> np.ndarray:
    """[B, O, size, size, 3] uint8: any patch of each object's category; the first where none is."""
    ids = np.zeros(objects.shape, np.int64)
    categories = np.asarray(bank.category_ids)
    for category in np.unique(objects):
        rows = np.flatnonzero(categories == category)
        if len(rows):
            ids[objects == category] = random.choice(rows, (objects == category).sum())
    return bank.crops_at(ids, size)


CHECKS: dict[str, Callable[..., Iterator[Figures]]] = {
    "layout2im": _of_layout2im,
    "pastegan": _of_pastegan,
    "attngan": _of_attngan,
}
"""System -> its figures, batch by batch."""
