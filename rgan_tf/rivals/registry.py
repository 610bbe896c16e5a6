"""The rivals by the name that `training.system` gives them."""

from __future__ import annotations

from rgan_tf.config import Config
from rgan_tf.rivals.attngan.model import build_attngan
from rgan_tf.rivals.attngan.networks import AttnganRival
from rgan_tf.rivals.layout2im.model import build_layout2im
from rgan_tf.rivals.layout2im.networks import Layout2imRival
from rgan_tf.rivals.rival import RivalModel, RivalNetworks
from rgan_tf.rivals.sg2im.model import build_sg2im
from rgan_tf.rivals.sg2im.networks import Sg2imRival
from rgan_tf.vocabulary import Vocabulary

_NETWORKS = {"sg2im": Sg2imRival, "layout2im": Layout2imRival, "attngan": AttnganRival}
_MODELS = {"sg2im": build_sg2im, "layout2im": build_layout2im, "attngan": build_attngan}


def rival_networks(config: Config, vocabulary: Vocabulary) -> RivalNetworks:
    """The networks of `training.system` at our size, with all variables created."""
    networks = _NETWORKS[config.training.system]
    return networks(vocabulary, image_size=config.data.image_size)


def rival_model(config: Config, vocabulary: Vocabulary) -> RivalModel:
    """The compiled model of `training.system` at our size, with new weights."""
    return _MODELS[config.training.system](config, vocabulary)
