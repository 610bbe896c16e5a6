"""A rival's two discriminators behind the interface that `Judge` asks for."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.generator.layout import crop_objects


class RivalDiscriminators(tf.keras.Model):
    """The image and the object discriminator of a rival, with all variables created.

    Args:
      image: [B, H, W, 3] in [-1, 1] -> logits [B, ...], positive = real.
      objects: [B, O, S, S, 3] in [-1, 1] -> logits [B, O] and class logits [B, O, categories].
      image_size: H = W, in px.
      crop_size: S, in px.

    Attributes:
      feature: None; no rival judges the maps of a frozen network.
    """

    feature = None

    def __init__(
        self,
        image: tf.keras.layers.Layer,
        objects: tf.keras.layers.Layer,
        *,
        image_size: int,
        crop_size: int,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image = image
        self.object = objects
        self.crop_size = crop_size
        self.image(tf.zeros([1, image_size, image_size, 3]))
        self.object(tf.zeros([1, 1, crop_size, crop_size, 3]))

    def crops(self, images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """Cuts the objects out of images: [B, H, W, 3], [B, O, 4] -> [B, O, S, S, 3]."""
        return crop_objects(images, boxes, self.crop_size)
