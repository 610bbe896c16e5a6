"""Names for configs and options; plugins can add to each list.

`rgan_tf.backbones` and `rgan_tf.retrieval.registry` define what they stand for; this module does
not import TensorFlow.
"""

from __future__ import annotations

OPEN_TO_MORE = "a name of your own has to be registered, see RGAN_PLUGINS"
"""What to do, for messages that refuse a name of one of these lists."""

FEATURE_BACKBONES = ["mobilenet_v2", "resnet50", "squeezenet"]
"""Networks for retrieval features; `register_backbone` adds to them."""

OWN_PERCEPTUAL_BACKBONES = ("squeezenet", "vgg19", "mobilenet_v2")
"""Networks of the perceptual distance that no plugin has registered."""

PERCEPTUAL_BACKBONES = list(OWN_PERCEPTUAL_BACKBONES)
"""Networks of the perceptual distance; `register_backbone` adds to them."""

JUDGES = ("mobilenet_v2", "inception_v3")
"""Networks that judge images: those that have a classifier, which the class score needs."""

LPIPS_NETWORKS = ("squeezenet_caffe", "alex", "vgg", "squeeze")
"""Networks of LPIPS; see `rgan_tf.metrics.lpips`."""

RULES = ("nearest", "nearest_random", "own", "noise")
"""Baseline retrievers, which learn nothing; see `rgan_tf.retrieval.rules`."""

RIVALS = ("sg2im", "layout2im", "pastegan", "attngan")
"""Systems of `rgan_tf.rivals`, which `training.system` names."""

SYSTEMS = (
    "retrievegan",
    "graph_nearest",
    "pastegan_style",
    "oracle_patches",
    "layout2im_style",
    *RIVALS,
    "first_stage",
    "pasted_canvas",
    "own_patches",
)
"""Rows of tables."""

VARIANTS = (
    "no_selection_loss",
    "no_cooccurrence_loss",
    "no_retrieval_losses",
    "no_composition",
    "no_masks",
    "no_skip",
    "no_feature_discriminator",
    "no_relit_patches",
    "no_exchanged_patches",
    "no_predicted_boxes",
    "no_frozen_start",
    "no_half_size_patches",
    "no_embedding_stage",
    "paper_gradient",
)
"""Rows of `rgan compare` that are RetrieveGAN with other settings."""

SHARED_RUN = "first_stages"
"""The run of `rgan compare` from which all others take their first two stages."""

SEARCH_RUNS = "search"
"""The folder of `rgan compare`'s tries of learning rates, beside the runs of its rows."""

RESERVED = (*SYSTEMS, *VARIANTS, SHARED_RUN, SEARCH_RUNS)
"""Names of rows and runs that no retriever of the user's own may be called by."""

RETRIEVERS = ["learned", *RULES]
"""Values of `retrieval.choice`; `register_retriever` adds to them."""
