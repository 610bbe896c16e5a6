"""The training step of PasteGAN: two branches, and the losses of both."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.devices import compiles
from rgan_tf.generator.layout import crop_objects
from rgan_tf.graph.encoder import GraphEncoding
from rgan_tf.losses.basic import mean_over_objects, reconstruction_loss
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.model.adversarial_model import LossTerms
from rgan_tf.model.judgement import Judge, discriminator_terms, generator_terms
from rgan_tf.model.present import PresentObjects
from rgan_tf.retrieval.patches import own_crops
from rgan_tf.rivals.discriminators import RivalDiscriminators
from rgan_tf.rivals.pastegan.matching import crop_matching_loss
from rgan_tf.rivals.pastegan.networks import PasteganRival
from rgan_tf.rivals.pastegan.selector import pick_in_training
from rgan_tf.rivals.pastegan.sizes import SCALED, Sizes
from rgan_tf.rivals.rival import FORM, Game, RivalModel
from rgan_tf.rivals.sg2im.discriminators import build_discriminators
from rgan_tf.rivals.sg2im.model import squared_box_loss
from rgan_tf.seeds import Purpose
from rgan_tf.vocabulary import Vocabulary

BRANCHES = ("selected", "own")
"""The patches of the generation and of the reconstruction branch."""

GAME = Game(
    {
        "reconstruction": 1.0,
        "box": 10.0,
        # The published loss adds the game of both branches.
        **{f"adversarial_image_{branch}": 0.01 for branch in BRANCHES},
        **{f"adversarial_object_{branch}": 0.01 for branch in BRANCHES},
        **{f"auxiliary_{branch}": 0.1 for branch in BRANCHES},
        "perceptual_image": 1.0,
        "perceptual_object": 0.5,
        "perceptual_selected": 0.5,
        "crop_matching": 10.0,
    },
    # Two pairs of real and generated with a weight of 1 each; the term is their mean.
    {"adversarial_image": 2.0, "adversarial_object": 2.0, "auxiliary": 1.0},
    betas=(0.9, 0.999),
)


class PasteganRivalModel(RivalModel):
    """Trains PasteGAN as published, in the true boxes.

    Perceptual terms are in the unit of our distance, in which unrelated photographs are about 1
    apart; their ratios to each other and to the pixels' loss are the published ones.

    Args:
      config, networks, average, discriminators: see `RivalModel`.
      perceptual: distance on a frozen backbone.
    """

    networks: PasteganRival
    game = GAME

    def __init__(
        self,
        config: Config,
        networks: PasteganRival,
        average: PasteganRival,
        discriminators: RivalDiscriminators,
        perceptual: PerceptualDistance,
        **kwargs,
    ):
        super().__init__(config, networks, average, discriminators, **kwargs)
        self.perceptual = perceptual

    def compute_terms(self, batch: dict[str, tf.Tensor], first_row: tf.Tensor) -> LossTerms:
        objects, boxes, real = batch["objects"], batch["boxes"], batch["image"]
        networks, perceptual = self.networks, self.perceptual
        graph = {"objects": objects, "triples": batch["triples"]}

        def row_seeds(purpose: Purpose) -> tf.Tensor:
            return self.batch_seeds(purpose, first_row, tf.shape(objects)[0])  # [B, 2]

        encoding = networks.encoder(graph)
        mask = encoding.object_mask  # [B, O]
        predicted = networks.predict_boxes(graph, encoding)  # [B, O, 4]
        selected = pick_in_training(batch, mask, row_seeds(Purpose.PATCH_CHOICE)).crops
        both = tf.concat([selected, own_crops(batch, mask)], axis=0)  # [2 B, O, S, S, 3]
        images = networks.draw(both, _twice(encoding), tf.concat([boxes, boxes], axis=0))
        generated, reconstructed = tf.split(images, 2)  # [B, H, W, 3] each

        judge = Judge(self.config, self.discriminators)
        of_real, *of_fakes = judge([real, generated, reconstructed], [boxes] * 3, mask, row_seeds)
        maps = [perceptual.maps(each) for each in (real, generated, reconstructed)]
        generator = {
            "reconstruction": reconstruction_loss(reconstructed, real),
            "box": squared_box_loss(predicted, boxes, mask),
            "perceptual_image": perceptual.between(maps[2], maps[0]),
            "perceptual_object": self._object_distance(of_fakes[1].crops, of_real.crops, mask),
            "perceptual_selected": perceptual.between(maps[1], maps[0]),
            "crop_matching": crop_matching_loss(
                networks.encode_crops,
                crop_objects(generated, boxes, networks.crop_size),  # [B, O, S, S, 3]
                selected,
                mask,
                keeps_padding=compiles(self.config),
            ),
        }
        for branch, fake in zip(BRANCHES, of_fakes, strict=True):
            terms = generator_terms([fake], objects, mask, form=FORM)
            generator |= {f"{name}_{branch}": term for name, term in terms.items()}
        return LossTerms(
            generator, discriminator_terms(of_real, of_fakes, objects, mask, form=FORM), {}
        )

    def _object_distance(self, crops: tf.Tensor, target: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Perceptual distance of objects' crops: [B, O, S, S, 3] twice -> [B]."""
        present = PresentObjects(mask, keeps_padding=compiles(self.config))  # M objects
        distance = self.perceptual(present.take(crops), present.take(target))  # [M]
        return mean_over_objects(present.put(distance), mask)


def build_pastegan(
    config: Config,
    vocabulary: Vocabulary,
    sizes: Sizes = SCALED,
    *,
    perceptual: PerceptualDistance,
) -> PasteganRivalModel:
    """The compiled model with new weights.

    Args:
      config: gives the sizes of images and patches, rates and guard.
      vocabulary: sizes of the tables.
      sizes: widths; `PUBLIC` for those as published.
      perceptual: distance on a frozen backbone.
    """
    data = config.data

    def networks() -> PasteganRival:
        return PasteganRival(
            vocabulary, sizes, image_size=data.image_size, crop_size=data.crop_size
        )

    model = PasteganRivalModel(
        config,
        networks(),
        networks(),
        build_discriminators(vocabulary, sizes, image_size=data.image_size),
        perceptual,
    )
    model.compile()
    return model


def _twice(encoding: GraphEncoding) -> GraphEncoding:
    return GraphEncoding(*[tf.concat([part, part], axis=0) for part in encoding])
