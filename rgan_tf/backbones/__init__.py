"""Pretrained feature networks: retrieval features, Fréchet features, perceptual maps."""

from rgan_tf.backbones.backbone import Backbone, load_backbone

__all__ = ["Backbone", "load_backbone"]
