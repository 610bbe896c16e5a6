"""Everything this project uses of TensorFlow Addons; no other module imports it.

Addons is at its end of life and warns on import. The warning does not concern the pinned version,
so it is silenced here, together with the version check.
"""

from __future__ import annotations

import warnings

import tensorflow as tf

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import tensorflow_addons as tfa


def spectral_normalization(
    layer: tf.keras.layers.Layer, *, power_iterations: int = 1
) -> tf.keras.layers.Layer:
    """Divides a layer's kernel by its largest singular value (Miyato et al., ICLR 2018).

    One power iteration runs per call with `training=True`; otherwise the estimate is unchanged.
    Keras 2.15's own layer fails inside a graph-mode `fit`, this one runs there and on replicas.

    Args:
      layer: a convolution or dense layer with a `kernel`; built or not.
      power_iterations: iterations per training call, at least 1.

    Returns:
      A layer with the same call signature plus `training`.

    Raises:
      ValueError: if `power_iterations` is below 1.
    """
    if power_iterations < 1:
        raise ValueError(f"power_iterations must be at least 1, got {power_iterations}")
    return tfa.layers.SpectralNormalization(layer, power_iterations=power_iterations)


def normalise_spectra(model: tf.Module) -> None:
    """One round of power iterations for every spectrally normalised layer within a model.

    Together with calls that have `training=False` this equals one call with `training=True`, but
    the kernels do not change while gradients are computed, however often the layers are called.
    """
    for layer in model.submodules:
        if isinstance(layer, tfa.layers.SpectralNormalization):
            layer.normalize_weights()


def triplet_semihard(labels: tf.Tensor, embeddings: tf.Tensor, *, margin: float) -> tf.Tensor:
    """Triplet loss with semi-hard negatives from within the batch (Schroff et al., CVPR 2015).

    Args:
      labels: [N] integers; rows with equal labels belong together (here: the source image).
      embeddings: [N, D] float32, unit norm.
      margin: wanted gap between the distances, in units of the l2 distance; not negative.

    Returns:
      Scalar float32, the mean over all positive pairs of the batch.

    Raises:
      ValueError: if `margin` is negative.
    """
    if margin < 0:
        raise ValueError(f"margin must not be negative, got {margin}")
    # Unwrapped: as `tf.function`s they sum their gradients in any order.
    loss = tfa.losses.triplet_semihard_loss.python_function
    distances = tfa.losses.metric_learning.pairwise_distance.python_function
    return loss(
        labels,
        tf.cast(embeddings, tf.float32),
        margin=margin,
        distance_metric=lambda vectors: distances(vectors, squared=False),
    )
