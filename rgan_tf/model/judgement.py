"""The discriminators' verdicts on real and generated images, shared by all stages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from rgan_tf.config import Config, parse_augmentation
from rgan_tf.devices import compiles
from rgan_tf.discriminators.augmentation import augment
from rgan_tf.fixed_order import sum_of
from rgan_tf.losses import ADVERSARIAL_FEATURE
from rgan_tf.losses.adversarial import discriminator_loss, generator_loss
from rgan_tf.losses.basic import auxiliary_loss
from rgan_tf.losses.gradient_penalty import gradient_penalty
from rgan_tf.model.networks import Discriminators
from rgan_tf.model.present import PresentObjects
from rgan_tf.model.recompute import recomputed
from rgan_tf.seeds import Purpose

ADVERSARIAL_TERMS = ("adversarial_image", "adversarial_object", "auxiliary")
"""Losses of both sides of the game."""

GRADIENT_PENALTY = "gradient_penalty"

RowSeeds = Callable[[Purpose], tf.Tensor]
"""Returns [B, 2] int32 seeds, one per row, for a purpose."""

Maps = list[tf.Tensor]
"""Maps of a frozen network, [B, h, w, C] float32 each, shallow to deep."""


class Judgement(NamedTuple):
    """The verdict on one batch of images.

    Attributes:
      image: [B, h, w] float32 logits, positive = real.
      object: [B, O] float32 logits.
      classes: [B, O, categories] float32 logits.
      crops: [B, O, S, S, 3] float32 in [-1, 1], the objects as cut out, before augmentation.
      feature: [B, h, w] float32 logits of each head on maps; empty without that discriminator.
    """

    image: tf.Tensor
    object: tf.Tensor
    classes: tf.Tensor
    crops: tf.Tensor
    feature: Sequence[tf.Tensor] = ()


class Judge:
    """Shows images and their objects to the discriminators.

    Does not update kernels: spectral normalisation runs once per step, before this.

    Args:
      config: the experiment; gives augmentation, gradient penalty and recomputation.
      discriminators: the judges.
      maps_of: [B, H, W, 3] -> the maps that `discriminators.feature` judges; None leaves it out.
    """

    def __init__(
        self,
        config: Config,
        discriminators: Discriminators,
        maps_of: Callable[[tf.Tensor], Maps] | None = None,
    ):
        self._settings = config.discriminators
        self._is_deterministic = config.training.deterministic
        self._kinds = parse_augmentation(config.discriminators.augmentation)
        self._recomputes = config.training.recompute
        self._keeps_padding = compiles(config)
        self._discriminators = discriminators
        self._maps_of = maps_of if config.discriminators.feature else None

    def __call__(
        self,
        images: Sequence[tf.Tensor],
        boxes: Sequence[tf.Tensor],
        object_mask: tf.Tensor,
        row_seeds: RowSeeds,
        maps: Sequence[Maps] | None = None,
    ) -> list[Judgement]:
        """Judges several batches at once.

        Args:
          images: each [B, H, W, 3] float32 in [-1, 1].
          boxes: for each, [B, O, 4] float32 in [0, 1].
          object_mask: [B, O] bool, of all of them.
          row_seeds: of the augmentation, which is the same for all batches.
          maps: the maps of each, if known; ignored if images are augmented.

        Returns:
          One `Judgement` per batch.
        """
        count, objects = len(images), boxes[0].shape[1]
        everything = tf.concat(list(images), axis=0)  # [nB, H, W, 3]
        crops = self._discriminators.crops(everything, tf.concat(list(boxes), axis=0))
        present = PresentObjects(
            tf.tile(object_mask, [count, 1]), keeps_padding=self._keeps_padding
        )  # M of nB * O
        shown, shown_crops = everything, present.take(crops)  # [nB, H, W, 3], [M, S, S, 3]
        if self._kinds:
            seeds = row_seeds(Purpose.IMAGE_AUGMENTATION)  # [B, 2]
            shown = augment(everything, tf.tile(seeds, [count, 1]), self._kinds)
            # Every crop needs its own random numbers: its position is added to its seed.
            seeds = row_seeds(Purpose.CROP_AUGMENTATION)[:, tf.newaxis]  # [B, 1, 2]
            places = tf.range(objects)[:, tf.newaxis] * tf.constant([[1, 0]])  # [O, 2]
            seeds = present.take(tf.tile(seeds + places, [count, 1, 1]))  # [M, 2]
            shown_crops = augment(shown_crops, seeds, self._kinds)  # [M, S, S, 3]
        judge_image, judge_object = self._discriminators.image, self._discriminators.object
        if self._recomputes:
            judge_image, judge_object = recomputed(judge_image), recomputed(judge_object)
        image_logits = judge_image(shown)  # [nB, h, w]
        # As M scenes of one object each.
        object_logits, class_logits = (
            present.put(logits[:, 0]) for logits in judge_object(shown_crops[:, tf.newaxis])
        )  # [nB, O], [nB, O, categories]
        parts = (tf.split(t, count) for t in (image_logits, object_logits, class_logits, crops))
        judgements = [Judgement(*part) for part in zip(*parts, strict=True)]
        if self._maps_of is None:
            return judgements
        if self._kinds or maps is None:
            # One at a time, so that a pass over real images needs no backward pass.
            maps = [self._maps_of(part) for part in tf.split(shown, count)]
        logits = self._of_maps([tf.concat(level, axis=0) for level in zip(*maps, strict=True)])
        heads = zip(*[tf.split(head, count) for head in logits], strict=True)  # n of heads
        return [
            judgement._replace(feature=feature)
            for judgement, feature in zip(judgements, heads, strict=True)
        ]

    def _of_maps(self, maps: Maps) -> Sequence[tf.Tensor]:
        """The heads' logits for maps: [B, h, w] float32 each."""
        judge = self._discriminators.feature
        if self._recomputes:
            return recomputed(lambda *values: judge(list(values)))(*maps)
        return judge(maps)

    def penalty(
        self, images: tf.Tensor, crops: tf.Tensor, object_mask: tf.Tensor, step: tf.Tensor
    ) -> tf.Tensor:
        """R1 of both discriminators on real data, every n-th step and multiplied by n.

        Heads on maps are left out: a second derivative of the frozen network costs too much. The
        mean of the logit map is differentiated, not its sum, so that the penalties of both
        discriminators have the same size.

        Args:
          images: [B, H, W, 3] float32, real.
          crops: [B, O, S, S, 3] float32, their objects.
          object_mask: [B, O] bool.
          step: the training step.

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
            # The gradient of a `tf.cond` sums in arbitrary order, so other steps compute it too.
            return tf.where(is_due, computed(), 0.0)  # [B]
        return tf.cond(is_due, computed, lambda: tf.zeros(tf.shape(images)[:1]))  # [B]


def discriminator_weights(config: Config, *, judges_maps: bool = False) -> dict[str, float]:
    """Name -> weight of every discriminator loss; the penalty only if it is on.

    Args:
      config: the experiment.
      judges_maps: whether there is a discriminator on maps.
    """
    weights = dict.fromkeys(ADVERSARIAL_TERMS, 1.0)
    if judges_maps and config.discriminators.feature:
        weights[ADVERSARIAL_FEATURE] = 1.0
    if config.discriminators.gradient_penalty:
        weights[GRADIENT_PENALTY] = config.discriminators.gradient_penalty
    return weights


def generator_terms(
    fakes: Sequence[Judgement], objects: tf.Tensor, object_mask: tf.Tensor, *, form: str
) -> dict[str, tf.Tensor]:
    """`ADVERSARIAL_TERMS` of the generator, averaged over batches of generated images.

    Includes `ADVERSARIAL_FEATURE`, averaged over heads, if there are heads.

    Args:
      fakes: the verdict on each batch.
      objects: [B, O] int32, their categories.
      object_mask: [B, O] bool.
      form: of the adversarial loss.

    Returns:
      name -> [B] float32.
    """
    terms = {
        "adversarial_image": _mean([generator_loss(fake.image, form) for fake in fakes]),
        "adversarial_object": _mean(
            [generator_loss(fake.object, form, object_mask) for fake in fakes]
        ),
        "auxiliary": _mean([auxiliary_loss(fake.classes, objects, object_mask) for fake in fakes]),
    }
    of_heads = [generator_loss(head, form) for fake in fakes for head in fake.feature]  # [B] each
    return {**terms, ADVERSARIAL_FEATURE: _mean(of_heads)} if of_heads else terms


def discriminator_terms(
    real: Judgement,
    fakes: Sequence[Judgement],
    objects: tf.Tensor,
    object_mask: tf.Tensor,
    *,
    form: str,
) -> dict[str, tf.Tensor]:
    """`ADVERSARIAL_TERMS` of the discriminators; see `generator_terms`."""
    terms = {
        "adversarial_image": _mean(
            [discriminator_loss(real.image, fake.image, form) for fake in fakes]
        ),
        "adversarial_object": _mean(
            [discriminator_loss(real.object, fake.object, form, object_mask) for fake in fakes]
        ),
        "auxiliary": auxiliary_loss(real.classes, objects, object_mask),
    }
    of_heads = [
        discriminator_loss(of_real, of_fake, form)
        for fake in fakes
        for of_real, of_fake in zip(real.feature, fake.feature, strict=True)
    ]  # [B] each
    return {**terms, ADVERSARIAL_FEATURE: _mean(of_heads)} if of_heads else terms


def _mean(terms: list[tf.Tensor]) -> tf.Tensor:
    return sum_of(terms) / len(terms)
