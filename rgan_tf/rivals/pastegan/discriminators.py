"""PasteGAN's two discriminators, which are those of sg2im at the same size."""

from __future__ import annotations

from rgan_tf.rivals.discriminators import RivalDiscriminators
from rgan_tf.rivals.pastegan.sizes import SCALED, Sizes
from rgan_tf.rivals.sg2im.discriminators import ImageCritic, ObjectCritic
from rgan_tf.vocabulary import Vocabulary


def build_discriminators(
    vocabulary: Vocabulary, sizes: Sizes = SCALED, *, image_size: int = 64
) -> RivalDiscriminators:
    """Both discriminators, with all variables created."""
    return RivalDiscriminators(
        ImageCritic(channels=sizes.discriminator_channels),
        ObjectCritic(
            num_objects=vocabulary.num_objects,
            channels=sizes.discriminator_channels,
            hidden=sizes.discriminator_hidden,
        ),
        image_size=image_size,
        crop_size=sizes.judged_size,
    )
