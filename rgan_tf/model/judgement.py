"""What the discriminators say about real and generated images, the same for every stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from rgan_tf.augmentation import augment
from rgan_tf.config import Config, parse_augmentation
from rgan_tf.fixed_order import sum_of
from rgan_tf.losses.adversarial import discriminator_loss, generator_loss
from rgan_tf.losses.basic import auxiliary_loss
from rgan_tf.losses.gradient_penalty import gradient_penalty
from rgan_tf.model.networks import Discriminators
from rgan_tf.model.recompute import recomputed
from rgan_tf.seeds import Purpose

ADVERSARIAL_TERMS = ("adversarial_image", "adversarial_object", "auxiliary")
"""Losses that both sides of the game have."""

GRADIENT_PENALTY = "gradient_penalty"

RowSeeds = Callable[[Purpose], tf.Tensor]
"""Gives [B, 2] int32 seeds, one per row, for a purpose."""


class Judgement(NamedTuple):
    """On one batch of images.

    Attributes:
      image: [B, h, w] float32 logits, positive = real.
      object: [B, O] float32 logits.
      classes: [B, O, categories] float32 logits.
      crops: [B, O, S, S, 3] float32 in [-1, 1], the objects as cut out, before any augmentation.
    """

    image: tf.Tensor
    object: tf.Tensor
    classes: tf.Tensor
    crops: tf.Tensor


class Judge:
    """Shows images and their objects to both discriminators.

    Kernels stay as they are: spectral normalisation is brought up to date once per step, before.

    Args:
      config: the experiment; gives augmentation, gradient penalty and recomputation.
      discriminators: who judges.
    """

    def __init__(self, config: Config, discriminators: Discriminators):
        self._settings = config.discriminators
        self._is_deterministic = config.training.deterministic
        self._kinds = parse_augmentation(config.discriminators.augmentation)
        self._recomputes = config.training.recompute
        self._discriminators = discriminators

    def __call__(
        self, images: Sequence[tf.Tensor], boxes: Sequence[tf.Tensor], row_seeds: RowSeeds
    ) -> list[Judgement]:
        """Judges several batches at once.

        Args:
          images: each [B, H, W, 3] float32 in [-1, 1].
          boxes: for each, [B, O, 4] float32 in [0, 1].
          row_seeds: of the augmentation, which changes all batches alike.

        Returns:
          One `Judgement` per batch.
        """
        count, objects = len(images), boxes[0].shape[1]
        everything = tf.concat(list(images), axis=0)  # [nB, H, W, 3]
        crops = self._discriminators.crops(everything, tf.concat(list(boxes), axis=0))
        shown, shown_crops = everything, crops  # [nB, H, W, 3], [nB, O, S, S, 3]
        if self._kinds:
            seeds = row_seeds(Purpose.IMAGE_AUGMENTATION)  # [B, 2]
            shown = augment(everything, tf.tile(seeds, [count, 1]), self._kinds)
            # A crop may not share its numbers with its neighbours: its place is added to its seed.
            seeds = row_seeds(Purpose.CROP_AUGMENTATION)[:, tf.newaxis]  # [B, 1, 2]
            places = tf.range(objects)[:, tf.newaxis] * tf.constant([[1, 0]])  # [O, 2]
            seeds = tf.reshape(seeds + places, [-1, 2])  # [B * O, 2]
            flat = tf.reshape(crops, [-1, *crops.shape[2:]])  # [nB * O, S, S, 3]
            flat = augment(flat, tf.tile(seeds, [count, 1]), self._kinds)  # [nB * O, S, S, 3]
            shown_crops = tf.reshape(flat, tf.shape(crops))  # [nB, O, S, S, 3]
            shown_crops = tf.ensure_shape(shown_crops, crops.shape)  # [nB, O, S, S, 3]
        judge_image, judge_object = self._discriminators.image, self._discriminators.object
        if self._recomputes:
            judge_image, judge_object = recomputed(judge_image), recomputed(judge_object)
        image_logits = judge_image(shown)  # [nB, h, w]
        object_logits, class_logits = judge_object(shown_crops)  # [nB, O], [nB, O, categories]
        parts = (tf.split(t, count) for t in (image_logits, object_logits, class_logits, crops))
        return [Judgement(*part) for part in zip(*parts, strict=True)]

    def penalty(
        self, images: tf.Tensor, crops: tf.Tensor, object_mask: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """R1 of both discriminators on real data, in every n-th step, and n times as large.

        The mean of the map of logits is differentiated, not their sum: so the penalty of the image
        discriminator has the size of that of the object discriminator.

        Args:
          images: [B, H, W, 3] float32, real.
          crops: [B, O, S, S, 3] float32, their objects.
          object_mask: [B, O] bool.
          step: of the training.

        Returns:
          [B] float32, without the weight; 0 in the other steps.
        """
        every = self._settings.gradient_penalty_every_steps

        def computed() -> tf.Tensor:
            of_images = gradient_penalty(
                lambda values: tf.reduce_mean(self._discriminators.image(values), axis=[1, 2]),
                images,
            )  # [B]
            of_objects = gradient_penalty(
                lambda values: self._discriminators.object(values)[0], crops, object_mask
            )  # [B]
            return (of_images + of_objects) * float(every)

        is_due = tf.equal(step % every, 0)  # []
        if self._is_deterministic:
            # The gradient of a `tf.cond` adds up in any order, so the other steps pay as well.
            return tf.where(is_due, computed(), 0.0)  # [B]
        return tf.cond(is_due, computed, lambda: tf.zeros(tf.shape(images)[:1]))  # [B]


def discriminator_weights(config: Config) -> dict[str, float]:
    """Name -> weight of every loss of the discriminators; the penalty only where it is on."""
    weights = dict.fromkeys(ADVERSARIAL_TERMS, 1.0)
    if config.discriminators.gradient_penalty:
        weights[GRADIENT_PENALTY] = config.discriminators.gradient_penalty
    return weights


def generator_terms(
    fakes: Sequence[Judgement], objects: tf.Tensor, object_mask: tf.Tensor, *, form: str
) -> dict[str, tf.Tensor]:
    """`ADVERSARIAL_TERMS` of the generator, the mean over several batches of generated images.

    Args:
      fakes: what the discriminators say of each.
      objects: [B, O] int32, their categories.
      object_mask: [B, O] bool.
      form: of the adversarial loss.

    Returns:
      name -> [B] float32.
    """
    return {
        "adversarial_image": _mean([generator_loss(fake.image, form) for fake in fakes]),
        "adversarial_object": _mean(
            [generator_loss(fake.object, form, object_mask) for fake in fakes]
        ),
        "auxiliary": _mean([auxiliary_loss(fake.classes, objects, object_mask) for fake in fakes]),
    }


def discriminator_terms(
    real: Judgement,
    fakes: Sequence[Judgement],
    objects: tf.Tensor,
    object_mask: tf.Tensor,
    *,
    form: str,
) -> dict[str, tf.Tensor]:
    """`ADVERSARIAL_TERMS` of the discriminators; arguments as for `generator_terms`."""
    return {
        "adversarial_image": _mean(
            [discriminator_loss(real.image, fake.image, form) for fake in fakes]
        ),
        "adversarial_object": _mean(
            [discriminator_loss(real.object, fake.object, form, object_mask) for fake in fakes]
        ),
        "auxiliary": auxiliary_loss(real.classes, objects, object_mask),
    }


def _mean(terms: list[tf.Tensor]) -> tf.Tensor:
    return sum_of(terms) / len(terms)
