"""LPIPS: a perceptual distance with layer weights fitted to human judgement.

Zhang et al., CVPR 2018, equation (1), version 0.1. The weights are the authors' own. A number is
named after its network; `lpips_squeezenet_caffe` is not the published `lpips_squeeze`: its
SqueezeNet was trained elsewhere, expects inputs in another scale and drops incomplete windows when
it pools.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from rgan_tf.backbones import load_backbone
from rgan_tf.backbones.torch_file import read_tensors
from rgan_tf.backbones.torchvision import load_torchvision
from rgan_tf.backbones.weights import find_weights
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.registered_names import LPIPS_NETWORKS

_CAFFE = "squeezenet_caffe"
MIN_SIDE = 32  # px; below it the deepest map of a network is empty

# Channels of the maps for which the heads of version 0.1 were made.
_CHANNELS = {
    "alex": (64, 192, 384, 256, 256),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
    "vgg": (64, 128, 256, 512, 512),
}
_CAFFE_LAYERS = ("conv1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")
# Mean and deviation of ImageNet's colours, for images in [-1, 1].
_MEAN_RGB = (-0.030, -0.088, -0.188)
_DEVIATION_RGB = (0.458, 0.448, 0.450)
_EPSILON = 1e-10  # keeps the direction of a pixel without activations defined


def load_lpips(network: str, weights_dir: str | Path | None = None) -> LearnedPerceptualDistance:
    """Loads a network and its learned heads.

    Searches the folders of `backbones.weights.weight_places`; downloads nothing. The heads are
    `lpips_v0.1/alex.pth`, `squeeze.pth` and `vgg.pth` as the authors publish them; networks are
    torchvision's files (`backbones.torchvision.TORCHVISION`), or for "squeezenet_caffe" that of the
    backbone "squeezenet".

    Args:
      network: "squeezenet_caffe", "alex", "vgg" or "squeeze".
      weights_dir: a folder with weight files, or None.

    Returns:
      The distance.

    Raises:
      BadInput: if the name is unknown or a file is not found.
      CorruptData: if a file is damaged or belongs to another network.
    """
    if network not in LPIPS_NETWORKS:
        raise BadInput(f"LPIPS of {network!r} is not known; choose {', '.join(LPIPS_NETWORKS)}")
    heads = read_heads("squeeze" if network == _CAFFE else network, weights_dir)
    if network == _CAFFE:
        maps = load_backbone("squeezenet", weights_dir).map_network(_CAFFE_LAYERS)
        return LearnedPerceptualDistance(network, lambda x: maps((x + 1.0) * 127.5), heads)
    maps = load_torchvision(network, weights_dir)
    return LearnedPerceptualDistance(network, lambda x: maps(_normalised(x)), heads)


def read_heads(network: str, weights_dir: str | Path | None = None) -> list[np.ndarray]:
    """The learned weight of every channel of every map.

    Args:
      network: "alex", "squeeze" or "vgg".
      weights_dir: a folder with weight files, or None.

    Returns:
      [C] float32 per map, at least 0.

    Raises:
      BadInput: if the file is not found.
      CorruptData: if it is damaged or belongs to another network.
    """
    path = find_weights(f"LPIPS {network}", [f"lpips_v0.1/{network}.pth"], weights_dir)
    tensors = read_tensors(path, prefix="lin")
    heads = []
    for index, channels in enumerate(_CHANNELS[network]):
        head = tensors.get(f"lin{index}.model.1.weight", np.zeros(0))
        if head.shape != (1, channels, 1, 1):
            raise CorruptData(
                f"{path}: lin{index} is {list(head.shape)} instead of [1, {channels}, 1, 1]; "
                "the file belongs to another network"
            )
        if not (np.isfinite(head).all() and (head >= 0).all()):
            raise CorruptData(f"{path}: lin{index} has weights below 0; fetch it again")
        heads.append(head.reshape(channels).astype(np.float32))
    return heads


class LearnedPerceptualDistance:
    """Sum over maps of the mean over pixels of the weighted squared difference of directions.

    A pixel's direction is its vector of activations divided by its length. For evaluation only: the
    gradient is undefined at pixels without activation.

    Args:
      network: name of the network; part of the metric's name.
      maps: images [B, H, W, 3] float32 in [-1, 1] -> maps [B, h, w, C].
      heads: [C] float32 per map.

    Attributes:
      name: the metric's name, such as `lpips_alex`.
    """

    def __init__(
        self,
        network: str,
        maps: Callable[[tf.Tensor], list[tf.Tensor]],
        heads: list[np.ndarray],
    ):
        self.name = f"lpips_{network}"
        self._maps = maps
        self._heads = [tf.constant(head) for head in heads]
        self._function = tf.function(self._distance, reduce_retracing=True, autograph=False)

    def __call__(self, images, target) -> tf.Tensor:
        """The distance of images to their targets; symmetric.

        Args:
          images: [B, H, W, 3] float32 in [-1, 1], at least 32 px a side; neither resized nor
            cropped; distances at different sizes are not comparable.
          target: the same shape.

        Returns:
          [B] float32, at least 0, and 0 for equal images.

        Raises:
          ValueError: if the shapes differ or the images are too small.
        """
        images, target = (tf.convert_to_tensor(item, tf.float32) for item in (images, target))
        if images.shape != target.shape or images.shape.rank != 4:
            raise ValueError(
                f"two [B, H, W, 3] are compared, got {images.shape} and {target.shape}"
            )
        if min(images.shape[1:3]) < MIN_SIDE:
            raise ValueError(f"LPIPS needs images of {MIN_SIDE} px, got {min(images.shape[1:3])}")
        return self._function(images, target)

    def _distance(self, images: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
        maps = zip(self._heads, self._maps(images), self._maps(target), strict=True)
        layers = []
        for head, first, second in maps:
            squared = tf.square(_direction(first) - _direction(second))  # [B, h, w, C]
            layers.append(tf.reduce_mean(tf.linalg.matvec(squared, head), axis=[1, 2]))  # [B]
        return tf.add_n(layers)  # [B]


def _direction(maps: tf.Tensor) -> tf.Tensor:
    length = tf.sqrt(tf.reduce_sum(tf.square(maps), axis=-1, keepdims=True))  # [B, h, w, 1]
    return maps / (length + _EPSILON)  # [B, h, w, C]


def _normalised(images: tf.Tensor) -> tf.Tensor:
    return (images - tf.constant(_MEAN_RGB)) / tf.constant(_DEVIATION_RGB)  # [B, H, W, 3]
