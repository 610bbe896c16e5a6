"""The training step of sg2im, with its own losses and weights."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.losses.basic import auxiliary_loss, mean_over_objects, reconstruction_loss
from rgan_tf.model.adversarial_model import LossTerms
from rgan_tf.model.judgement import Judge, discriminator_terms, generator_terms
from rgan_tf.rivals.discriminators import RivalDiscriminators
from rgan_tf.rivals.rival import FORM, Game, RivalModel
from rgan_tf.rivals.sg2im.discriminators import build_discriminators
from rgan_tf.rivals.sg2im.networks import Sg2imRival
from rgan_tf.rivals.sg2im.sizes import SCALED, Sizes
from rgan_tf.seeds import Purpose
from rgan_tf.vocabulary import Vocabulary

GAME = Game(
    {
        "reconstruction": 1.0,
        "box": 10.0,
        "adversarial_image": 0.01,
        "adversarial_object": 0.01,
        "auxiliary": 0.1,
    },
    {
        "adversarial_image": 1.0,
        "adversarial_object": 1.0,
        "auxiliary": 1.0,
        "auxiliary_generated": 1.0,
    },
    betas=(0.9, 0.999),
)


class Sg2imRivalModel(RivalModel):
    """Trains sg2im as published, with predicted masks in the layout (see the room's docstring).

    Images are drawn in the true boxes; the predicted ones are compared with them.

    Args:
      config: see `RivalModel`.
      networks, average: of the same sizes.
      discriminators: of sg2im.
      relation_weight: of the relation head's cross-entropy; published 0. Above 0 the networks need
        the head.
    """

    networks: Sg2imRival

    def __init__(
        self,
        config: Config,
        networks: Sg2imRival,
        average: Sg2imRival,
        discriminators: RivalDiscriminators,
        *,
        relation_weight: float = 0.0,
        **kwargs,
    ):
        if relation_weight and networks.relation_head is None:
            raise ValueError("relation_weight is above 0, but the networks have no relation head")
        game = GAME
        if relation_weight:
            weights = {**GAME.generator_weights, "relation": relation_weight}
            game = GAME._replace(generator_weights=weights)
        super().__init__(config, networks, average, discriminators, game=game, **kwargs)

    def compute_terms(self, batch: dict[str, tf.Tensor], first_row: tf.Tensor) -> LossTerms:
        objects, boxes, real = batch["objects"], batch["boxes"], batch["image"]
        graph = {"objects": objects, "triples": batch["triples"]}

        def row_seeds(purpose: Purpose) -> tf.Tensor:
            return self.batch_seeds(purpose, first_row, tf.shape(objects)[0])  # [B, 2]

        encoding = self.networks.encoder(graph)
        mask = encoding.object_mask  # [B, O]
        predicted = self.networks.predict_boxes(graph, encoding)  # [B, O, 4]
        masks = self.networks.predict_masks(encoding)  # [B, O, M, M]
        noise = self.networks.draw_noise(row_seeds(Purpose.LAYOUT_NOISE))  # [B, H, W, 32]
        fake = self.networks.draw(encoding, boxes, masks, noise)  # [B, H, W, 3]

        judge = Judge(self.config, self.discriminators)
        of_real, of_fake = judge([real, fake], [boxes, boxes], mask, row_seeds)
        generator = {
            **generator_terms([of_fake], objects, mask, form=FORM),
            "reconstruction": reconstruction_loss(fake, real),
            "box": squared_box_loss(predicted, boxes, mask),
        }
        if "relation" in self.generator_weights:
            logits = self.networks.relation_head(
                predicted, encoding.embeddings[:, :-1], graph["triples"]
            )  # [B, T, P]
            generator["relation"] = relation_loss(logits, graph["triples"])
        discriminator = {
            **discriminator_terms(of_real, [of_fake], objects, mask, form=FORM),
            "auxiliary_generated": auxiliary_loss(of_fake.classes, objects, mask),
        }
        return LossTerms(generator, discriminator, {})


def squared_box_loss(boxes: tf.Tensor, target: tf.Tensor, object_mask: tf.Tensor) -> tf.Tensor:
    """[B] float32, the mean squared error of the coordinates [B, O, 4] of real objects [B, O]."""
    return mean_over_objects(tf.reduce_mean(tf.square(boxes - target), axis=-1), object_mask)


def relation_loss(logits: tf.Tensor, triples: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the predicates: [B, T, P] logits, [B, T, 3] int32 triples -> [B] float32."""
    errors = tf.nn.sparse_softmax_cross_entropy_with_logits(
        labels=tf.maximum(triples[..., 1], 0), logits=logits
    )  # [B, T]
    return mean_over_objects(errors, tf.reduce_all(triples >= 0, axis=-1))  # [B]


def build_sg2im(
    config: Config, vocabulary: Vocabulary, sizes: Sizes = SCALED, *, relation_weight: float = 0.0
) -> Sg2imRivalModel:
    """The compiled model with new weights.

    Args:
      config: gives the image size, rates and guard.
      vocabulary: sizes of the tables.
      sizes: widths; `PUBLIC` for those as published.
      relation_weight: see `Sg2imRivalModel`.
    """
    size = config.data.image_size

    def networks() -> Sg2imRival:
        return Sg2imRival(vocabulary, sizes, image_size=size, relations=relation_weight > 0)

    model = Sg2imRivalModel(
        config,
        networks(),
        networks(),
        build_discriminators(vocabulary, sizes, image_size=size),
        relation_weight=relation_weight,
    )
    model.compile()
    return model
