"""Stage 1: the sg2im baseline, whose graph features pre-filter the candidates."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.losses.basic import reconstruction_loss
from rgan_tf.model.adversarial_model import AdversarialModel, LossTerms
from rgan_tf.model.box_losses import box_losses
from rgan_tf.model.judgement import (
    ADVERSARIAL_TERMS,
    GRADIENT_PENALTY,
    Judge,
    discriminator_terms,
    discriminator_weights,
    generator_terms,
)
from rgan_tf.model.networks import Discriminators, Sg2imNetworks


class Sg2imModel(AdversarialModel):
    """Graph -> boxes -> layout -> image, without patches (Johnson et al., CVPR 2018).

    Trained with the terms of equation (7) that need neither patches nor a perceptual network.
    Real and generated images share the ground-truth layout, as in the reference training loop.
    """

    def __init__(
        self,
        config: Config,
        networks: Sg2imNetworks,
        average: Sg2imNetworks,
        discriminators: Discriminators,
        **kwargs,
    ):
        terms = (*ADVERSARIAL_TERMS, "reconstruction", "box", "box_overlap")
        super().__init__(
            config,
            networks,
            average,
            discriminators,
            generator_weights={name: getattr(config.losses, name) for name in terms},
            discriminator_weights=discriminator_weights(config),
            **kwargs,
        )

    def compute_terms(self, batch: dict[str, tf.Tensor], first_row: tf.Tensor) -> LossTerms:
        form = self.config.losses.adversarial
        objects, boxes, real = batch["objects"], batch["boxes"], batch["image"]
        graph = {"objects": objects, "triples": batch["triples"]}
        encoding = self.networks.encoder(graph)
        mask = encoding.object_mask  # [B, O]
        predicted = self.networks.predict_boxes(graph, encoding)  # [B, O, 4]
        fake = self.networks.decoder(encoding.object_vectors, boxes, mask)  # [B, H, W, 3]

        judge = Judge(self.config, self.discriminators)
        of_real, of_fake = judge(
            [real, fake],
            [boxes, boxes],
            mask,
            lambda purpose: self.batch_seeds(purpose, first_row, tf.shape(objects)[0]),
        )
        generator = {
            **generator_terms([of_fake], objects, mask, form=form),
            "reconstruction": reconstruction_loss(fake, real),
            **box_losses(self.config, predicted, boxes, graph, mask),
        }
        discriminator = discriminator_terms(of_real, [of_fake], objects, mask, form=form)
        if GRADIENT_PENALTY in self.discriminator_weights:
            discriminator[GRADIENT_PENALTY] = judge.penalty(real, of_real.crops, mask, self.step)
        return LossTerms(generator, discriminator, {})
