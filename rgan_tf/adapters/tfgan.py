"""Everything this project uses of TF-GAN; no other module imports it.

Only functions on plain tensors: TF-GAN's model and training helpers need TF1 sessions.
"""

from __future__ import annotations

import warnings

import tensorflow as tf

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it compares versions with distutils
    warnings.filterwarnings("ignore", "pkg_resources is deprecated")  # of TensorFlow Hub
    import tensorflow_gan as tfgan

# One number per element, not added to TF1's global collection of losses.
_PER_ELEMENT = {
    "reduction": tf.compat.v1.losses.Reduction.NONE,
    "loss_collection": None,
}


def generator_loss_elements(generated_logits: tf.Tensor, form: str) -> tf.Tensor:
    """Adversarial loss of the generator, element by element.

    Args:
      generated_logits: float32 of any shape, D's output on generated data.
      form: "hinge" (-D) or "non_saturating" (-log sigmoid D).

    Returns:
      float32, shaped like the logits.

    Raises:
      ValueError: if `form` is unknown.
    """
    if form == "hinge":
        return tfgan.losses.wargs.wasserstein_hinge_generator_loss(generated_logits, **_PER_ELEMENT)
    if form == "non_saturating":
        return tfgan.losses.wargs.modified_generator_loss(generated_logits, **_PER_ELEMENT)
    raise ValueError(f"form must be hinge or non_saturating, got {form!r}")


def discriminator_loss_elements(
    real_logits: tf.Tensor, generated_logits: tf.Tensor, form: str
) -> tf.Tensor:
    """Adversarial loss of the discriminator, per element: the real and the generated part.

    Args:
      real_logits: float32 of any shape, D's output on real data.
      generated_logits: the same shape, D's output on generated data.
      form: "hinge" (max(0, 1 - D(x)) + max(0, 1 + D(x̂))) or "non_saturating"
        (-log sigmoid D(x) - log(1 - sigmoid D(x̂)), equation (6)).

    Returns:
      float32, shaped like the logits.

    Raises:
      ValueError: if `form` is unknown.
    """
    if form == "hinge":
        return tfgan.losses.wargs.wasserstein_hinge_discriminator_loss(
            real_logits, generated_logits, **_PER_ELEMENT
        )
    if form == "non_saturating":
        # By default TF-GAN smooths the real labels by 0.25; equation (6) does not.
        return tfgan.losses.wargs.modified_discriminator_loss(
            real_logits, generated_logits, label_smoothing=0.0, **_PER_ELEMENT
        )
    raise ValueError(f"form must be hinge or non_saturating, got {form!r}")
