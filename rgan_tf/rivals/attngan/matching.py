"""The matching loss of DAMSM: which text of a batch belongs to which image, by words and in whole.

Xu et al., CVPR 2018, equations (7) to (13). The score of a text sums over its words (the paper's
power 1 / γ2 is not in the public code), so it grows with their number: graphs have 1 to 16
sentences, captions about as many words each. `averages` takes the mean instead.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.rivals.attngan.attention import masked_softmax
from rgan_tf.rivals.attngan.image_encoder import Regions
from rgan_tf.rivals.attngan.text_encoder import Text

TERMS = ("word_rows", "word_columns", "sentence_rows", "sentence_columns")
"""Image to text and text to image, of words and of sentences; each has weight 1."""

GAMMA_ATTENTION = 4.0  # γ1, how sharply a word looks at regions
GAMMA_WORDS = 5.0  # γ2, how much the best words of a text count
GAMMA_BATCH = 10.0  # γ3, how sharply texts are told apart

_SMALLEST_NORM = 1e-8
_NEVER = -1e9  # logit of a pair that is not a negative


class Attended(NamedTuple):
    """What every word of every text sees in every image.

    Attributes:
      contexts: [K, L, W, D] float32.
      attention: [K, L, W, R] float32, of words over regions; sums to 1.
    """

    contexts: tf.Tensor
    attention: tf.Tensor


def attend(words: tf.Tensor, mask: tf.Tensor, regions: tf.Tensor) -> Attended:
    """Equations (7) to (9): words compete for each region, then each word chooses among regions.

    Args:
      words: [L, W, D] float32.
      mask: [L, W] bool, False = padding, which takes no part.
      regions: [K, R, D] float32.
    """
    likeness = tf.einsum("lwd,krd->klwr", words, regions)  # [K, L, W, R]
    shares = masked_softmax(likeness, mask[tf.newaxis, :, :, tf.newaxis], axis=2)  # [K, L, W, R]
    attention = tf.nn.softmax(GAMMA_ATTENTION * shares, axis=-1)  # [K, L, W, R]
    return Attended(tf.einsum("klwr,krd->klwd", attention, regions), attention)


def word_scores(text: Text, regions: tf.Tensor, *, averages: bool = False) -> tf.Tensor:
    """Equation (10): how well every text fits every image, by its words.

    Args:
      text: L texts; one without words scores 0.
      regions: [K, R, D] float32.
      averages: whether words are averaged, not summed, inside the logarithm.

    Returns:
      [K, L] float32.
    """
    contexts = attend(text.words, text.mask, regions).contexts  # [K, L, W, D]
    fits = cosine(contexts, text.words[tf.newaxis])  # [K, L, W]
    logits = tf.where(text.mask[tf.newaxis], GAMMA_WORDS * fits, _NEVER)  # [K, L, W]
    scores = tf.reduce_logsumexp(logits, axis=-1)  # [K, L]
    count = tf.reduce_sum(tf.cast(text.mask, scores.dtype), axis=-1)  # [L]
    if averages:
        scores -= tf.math.log(tf.maximum(count, 1.0))  # [K, L]
    return tf.where(count > 0, scores, 0.0)  # [K, L]


def sentence_scores(text: Text, images: tf.Tensor) -> tf.Tensor:
    """[K, L] float32: the cosines of images [K, D] and sentences."""
    return cosine(images[:, tf.newaxis], text.sentence[tf.newaxis])  # [K, L]


def matching_losses(
    text: Text, image: Regions, same: tf.Tensor, *, averages: bool = False
) -> dict[str, tf.Tensor]:
    """Equations (11) to (13): cross-entropies of the true pairs, one number per row.

    Args:
      text, image: of the same B rows.
      same: [B, B] bool, pairs of one text; those of different rows are not negatives.
      averages: see `word_scores`.

    Returns:
      `TERMS` -> [B] float32; log B where nothing is told apart, 0 if there are no negatives.
    """
    losses = {}
    for kind, scores in (
        ("word", word_scores(text, image.regions, averages=averages)),
        ("sentence", sentence_scores(text, image.image)),
    ):
        rows, columns = _cross_entropies(scores, same)
        losses |= {f"{kind}_rows": rows, f"{kind}_columns": columns}
    return losses


def cosine(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
    """Cosine of vectors [..., D] -> [...]; 0, with a finite slope, where one has no length."""
    product = tf.reduce_sum(a * b, axis=-1)  # [...]
    lengths = [
        tf.sqrt(tf.maximum(tf.reduce_sum(tf.square(x), axis=-1), _SMALLEST_NORM**2)) for x in (a, b)
    ]  # [...] each
    return product / tf.maximum(lengths[0] * lengths[1], _SMALLEST_NORM)  # [...]


def _cross_entropies(scores: tf.Tensor, same: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Those of the diagonal of scores [B, B], along rows and along columns: [B] float32 each."""
    rows = tf.range(tf.shape(scores)[0])  # [B]
    own = rows[:, tf.newaxis] == rows  # [B, B]
    logits = tf.where(own | ~same, GAMMA_BATCH * scores, _NEVER)  # [B, B]
    of_rows, of_columns = (
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=rows, logits=values)
        for values in (logits, tf.transpose(logits))
    )
    return of_rows, of_columns
