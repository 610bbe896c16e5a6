"""Names of the pretrained networks by what they are for; the networks are in `rgan_tf.backbones`.

Config and command line know these names without importing TensorFlow.
"""

from __future__ import annotations

FEATURES = ["mobilenet_v2", "resnet50", "squeezenet"]
"""Networks whose features are retrieved by; `rgan_tf.register_backbone` adds to them."""

PERCEPTUAL = ["squeezenet", "vgg19", "mobilenet_v2"]
"""Networks of the perceptual distance; `rgan_tf.register_backbone` adds to them."""

METRIC = ["mobilenet_v2", "inception_v3"]
"""Networks of the Fréchet and kernel distances."""
