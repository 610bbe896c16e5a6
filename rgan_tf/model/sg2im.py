"""Stage 1: the sg2im baseline, whose graph features pre-filter the candidates."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.losses.adversarial import discriminator_loss, generator_loss
from rgan_tf.losses.basic import auxiliary_loss, box_loss, reconstruction_loss
from rgan_tf.model.adversarial_model import AdversarialModel, LossTerms
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
        weights = config.losses
        super().__init__(
            config,
            networks,
            average,
            discriminators,
            generator_weights={
                "adversarial_image": weights.adversarial_image,
                "adversarial_object": weights.adversarial_object,
                "reconstruction": weights.reconstruction,
                "box": weights.box,
                "auxiliary": weights.auxiliary,
            },
            discriminator_weights={
                "adversarial_image": 1.0,
                "adversarial_object": 1.0,
                "auxiliary": 1.0,
            },
            **kwargs,
        )
        self.declare_metrics(
            [f"loss/generator/{name}" for name in self.generator_weights]
            + [f"loss/discriminator/{name}" for name in self.discriminator_weights]
        )

    def compute_terms(self, batch: dict[str, tf.Tensor], replica: tf.Tensor) -> LossTerms:
        form = self.config.losses.adversarial
        objects, boxes, real = batch["objects"], batch["boxes"], batch["image"]
        encoding = self.networks.encoder({"objects": objects, "triples": batch["triples"]})
        mask = encoding.object_mask  # [B, O]
        predicted = self.networks.box_predictor(encoding.object_vectors)  # [B, O, 4]
        fake = self.networks.decoder(encoding.object_vectors, boxes, mask)  # [B, H, W, 3]

        both = tf.concat([real, fake], axis=0)  # [2B, H, W, 3]
        real_image, fake_image = tf.split(self.discriminators.image(both, training=True), 2)
        crops = self.discriminators.crops(both, tf.concat([boxes, boxes], axis=0))
        object_logits, class_logits = self.discriminators.object(crops, training=True)
        real_object, fake_object = tf.split(object_logits, 2)  # [B, O] each
        real_class, fake_class = tf.split(class_logits, 2)  # [B, O, categories] each

        return LossTerms(
            generator={
                "adversarial_image": generator_loss(fake_image, form=form),
                "adversarial_object": generator_loss(fake_object, form=form, object_mask=mask),
                "reconstruction": reconstruction_loss(fake, real),
                "box": box_loss(predicted, boxes, mask),
                "auxiliary": auxiliary_loss(fake_class, objects, mask),
            },
            discriminator={
                "adversarial_image": discriminator_loss(real_image, fake_image, form=form),
                "adversarial_object": discriminator_loss(
                    real_object, fake_object, form=form, object_mask=mask
                ),
                "auxiliary": auxiliary_loss(real_class, objects, mask),
            },
            monitors={},
        )
