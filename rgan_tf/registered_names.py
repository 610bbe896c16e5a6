"""Names for configs and options; plugins can add to each list.

`rgan_tf.backbones` and `rgan_tf.retrieval.registry` define what they stand for; this module does
not import TensorFlow.
"""

from __future__ import annotations

FEATURE_BACKBONES = ["mobilenet_v2", "resnet50", "squeezenet"]
"""Networks for retrieval features; `register_backbone` adds to them."""

PERCEPTUAL_BACKBONES = ["squeezenet", "vgg19", "mobilenet_v2"]
"""Networks of the perceptual distance; `register_backbone` adds to them."""

RULES = ("nearest", "nearest_random", "own", "noise")
"""Baseline retrievers, which learn nothing; see `rgan_tf.retrieval.rules`."""

RETRIEVERS = ["learned", *RULES]
"""Values of `retrieval.choice`; `register_retriever` adds to them."""
