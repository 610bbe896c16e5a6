"""The widths of AttnGAN: as published, and within the operations of one image of RetrieveGAN."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True)
class Sizes:
    """All widths of AttnGAN.

    Attributes:
      embedding: of a word.
      hidden: of the text encoder, per direction; words and sentences have twice as many numbers.
      code: of the sentence's code after conditioning augmentation.
      noise: joined to the code.
      stages: of the tree; each doubles the side of the one before, the last has that of the image.
      width: n, channels of the maps that a stage hands on.
      residuals: residual blocks of every stage after the first.
      discriminator_width: m, channels of every discriminator's first convolution.
    """

    embedding: int = 300
    hidden: int = 128
    code: int = 100
    noise: int = 100
    stages: int = 3
    width: int = 48
    residuals: int = 3
    discriminator_width: int = 96

    @property
    def joint(self) -> int:
        """D, the numbers of a word, a sentence, a region and an image in the common space."""
        return 2 * self.hidden

    def sides(self, image_size: int) -> tuple[int, ...]:
        """The sides of the stages' images, in px."""
        return tuple(image_size >> later for later in reversed(range(self.stages)))


PUBLIC = Sizes()
"""The settings for COCO, made for 256 px."""

BIRDS = Sizes(width=32, residuals=2, discriminator_width=64)
"""The settings for birds, made for 256 px."""

SCALED = Sizes(width=40, residuals=2, discriminator_width=64)
"""Three stages as published, up to 64 px in place of 256."""

SCALED_LARGE = Sizes(width=32, residuals=2, discriminator_width=64, stages=2)
"""For 128 px, of which the stages 64 and 128 are the public ones."""


def scaled(image_size: int, stages: int = 0) -> Sizes:
    """Our widths for images of this side, in px.

    Args:
      image_size: H = W.
      stages: of the tree; 0 for as many as the side is made for. Another number has the published
        settings for birds: one stage at 64 px is literally the first one of that system, which has
        no attention.
    """
    usual = SCALED if image_size <= 64 else SCALED_LARGE
    return usual if stages in (0, usual.stages) else dataclasses.replace(BIRDS, stages=stages)
