"""Names that configs and options know, each list open to additions of the user's own.

What the names stand for is in `rgan_tf.backbones` and `rgan_tf.retrieval.registry`; here they are
known without importing TensorFlow.
"""

from __future__ import annotations

FEATURE_BACKBONES = ["mobilenet_v2", "resnet50", "squeezenet"]
"""Networks whose features patches are retrieved by; `register_backbone` adds to them."""

PERCEPTUAL_BACKBONES = ["squeezenet", "vgg19", "mobilenet_v2"]
"""Networks of the perceptual distance; `register_backbone` adds to them."""

RULES = ("nearest", "nearest_random", "own", "noise")
"""Retrievers that learn nothing, to compare with; see `rgan_tf.retrieval.rules`."""

RETRIEVERS = ["learned", *RULES]
"""Values of `retrieval.choice`; `register_retriever` adds to them."""
