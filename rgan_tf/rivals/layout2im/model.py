"""The training step of layout2im: two paths, and the losses that tie them."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.devices import compiles
from rgan_tf.generator.layout import crop_objects
from rgan_tf.losses.basic import mean_over_objects, reconstruction_loss
from rgan_tf.model.adversarial_model import LossTerms
from rgan_tf.model.judgement import Judge, discriminator_terms, generator_terms
from rgan_tf.rivals.layout2im.discriminators import build_discriminators
from rgan_tf.rivals.layout2im.networks import Layout2imRival
from rgan_tf.rivals.layout2im.sizes import SCALED, Sizes
from rgan_tf.rivals.noise import row_normals, row_order
from rgan_tf.rivals.rival import FORM, Game, RivalModel
from rgan_tf.seeds import Purpose
from rgan_tf.vocabulary import PADDING, Vocabulary


class Layout2imRivalModel(RivalModel):
    """Trains layout2im as published.

    The reconstruction path takes codes from the real crops, the generation path from N(0, I). The
    game's terms are means over both; the class head of the discriminator learns from real crops.

    Args:
      config, networks, average, discriminators: see `RivalModel`.
    """

    networks: Layout2imRival
    game = Game(
        {
            "reconstruction": 1.0,
            "latent": 10.0,
            # Published: 0.01 of the sum over a batch of 8, beside terms that are means over it.
            "kl": 0.08,
            "adversarial_image": 1.0,
            "adversarial_object": 1.0,
            "auxiliary": 1.0,
        },
        {"adversarial_image": 1.0, "adversarial_object": 1.0, "auxiliary": 1.0},
        betas=(0.5, 0.999),
    )

    def compute_terms(self, batch: dict[str, tf.Tensor], first_row: tf.Tensor) -> LossTerms:
        objects, boxes, real = batch["objects"], batch["boxes"], batch["image"]
        mask, count = objects != PADDING, objects.shape[1]  # [B, O]

        def row_seeds(purpose: Purpose) -> tf.Tensor:
            return self.batch_seeds(purpose, first_row, tf.shape(objects)[0])  # [B, 2]

        real_crops = crop_objects(real, boxes, self.discriminators.crop_size)  # [B, O, S, S, 3]
        mean, log_variance = self.networks.posterior(real_crops, objects)  # [B, O, Z] each
        noise = row_normals(row_seeds(Purpose.POSTERIOR_CODE), mean.shape[1:])  # [B, O, Z]
        posterior = mean + tf.exp(log_variance / 2) * noise  # [B, O, Z]
        prior = self.networks.draw_codes(row_seeds(Purpose.PRIOR_CODE), count)  # [B, O, Z]
        order = row_order(mask, row_seeds(Purpose.OBJECT_ORDER))  # [B, O]
        twice = [tf.concat([values] * 2, axis=0) for values in (objects, boxes, order)]
        images = self.networks.draw(
            twice[0], twice[1], tf.concat([posterior, prior], axis=0), twice[2]
        )  # [2 B, H, W, 3]
        reconstructed, generated = tf.split(images, 2)  # [B, H, W, 3] each

        judge = Judge(self.config, self.discriminators)
        of_real, *of_fakes = judge([real, reconstructed, generated], [boxes] * 3, mask, row_seeds)
        # The mean, not a sample, so that the term has no noise of its own.
        found, _ = self.networks.posterior(of_fakes[1].crops, objects)  # [B, O, Z]
        generator = {
            **generator_terms(of_fakes, objects, mask, form=FORM),
            "reconstruction": reconstruction_loss(reconstructed, real),
            "latent": latent_loss(found, prior, mask),
            "kl": kl_loss(mean, log_variance, mask),
        }
        return LossTerms(
            generator, discriminator_terms(of_real, of_fakes, objects, mask, form=FORM), {}
        )


def latent_loss(found: tf.Tensor, codes: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
    """Mean distance of the codes [B, O, Z] found in crops from those drawn -> [B] float32.

    An encoder that sees nothing scores 0.80, the mean of |N(0, 1)|.
    """
    return mean_over_objects(tf.reduce_mean(tf.abs(found - codes), axis=-1), object_mask)


def kl_loss(mean: tf.Tensor, log_variance: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
    """Divergence of N(mean, variance) [B, O, Z] from N(0, I), summed over a scene -> [B]."""
    per_object = -0.5 * tf.reduce_sum(
        1.0 + log_variance - tf.square(mean) - tf.exp(log_variance), axis=-1
    )  # [B, O]
    return tf.reduce_sum(tf.where(object_mask, per_object, 0.0), axis=1)  # [B]


def build_layout2im(
    config: Config, vocabulary: Vocabulary, sizes: Sizes = SCALED
) -> Layout2imRivalModel:
    """The compiled model with new weights.

    Args:
      config: gives the image size, rates and guard.
      vocabulary: size of the object table.
      sizes: widths; `PUBLIC` for those as published.
    """
    size = config.data.image_size

    def networks() -> Layout2imRival:
        keeps_padding = compiles(config)
        return Layout2imRival(vocabulary, sizes, image_size=size, keeps_padding=keeps_padding)

    model = Layout2imRivalModel(
        config, networks(), networks(), build_discriminators(vocabulary, sizes, image_size=size)
    )
    model.compile()
    return model
