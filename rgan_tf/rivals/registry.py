"""The rivals by the name that `training.system` gives them."""

from __future__ import annotations

from rgan_tf.config import Config
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.rivals.attngan.model import build_attngan
from rgan_tf.rivals.attngan.networks import AttnganRival
from rgan_tf.rivals.attngan.sizes import scaled
from rgan_tf.rivals.layout2im.model import build_layout2im
from rgan_tf.rivals.layout2im.networks import Layout2imRival
from rgan_tf.rivals.pastegan.model import build_pastegan
from rgan_tf.rivals.pastegan.networks import PasteganRival
from rgan_tf.rivals.rival import RivalModel, RivalNetworks
from rgan_tf.rivals.sg2im.model import build_sg2im
from rgan_tf.rivals.sg2im.networks import Sg2imRival
from rgan_tf.vocabulary import Vocabulary

_NETWORKS = {
    "sg2im": Sg2imRival,
    "layout2im": Layout2imRival,
    "pastegan": PasteganRival,
    "attngan": AttnganRival,
}
_MODELS = {
    "sg2im": build_sg2im,
    "layout2im": build_layout2im,
    "pastegan": build_pastegan,
    "attngan": build_attngan,
}
WITH_PERCEPTUAL = {"pastegan"}
"""The rivals that learn by a distance on `losses.perceptual_backbone`."""


def rival_networks(config: Config, vocabulary: Vocabulary) -> RivalNetworks:
    """The networks of `training.system` at our size, with all variables created."""
    networks = _NETWORKS[config.training.system]
    options = {"crop_size": config.data.crop_size} if networks.reads_patches else {}
    if config.training.system == "attngan":
        options["sizes"] = scaled(config.data.image_size, config.attngan.stages)
    return networks(vocabulary, image_size=config.data.image_size, **options)


def rival_model(
    config: Config, vocabulary: Vocabulary, perceptual: PerceptualDistance
) -> RivalModel:
    """The compiled model of `training.system` at our size, with new weights.

    Args:
      config, vocabulary: the experiment.
      perceptual: distance on a frozen backbone, for the rivals that have such a loss.
    """
    options = {"perceptual": perceptual} if config.training.system in WITH_PERCEPTUAL else {}
    return _MODELS[config.training.system](config, vocabulary, **options)


def reads_patches(config: Config) -> bool:
    """Whether the rival of `training.system` draws from patches."""
    return _NETWORKS[config.training.system].reads_patches
