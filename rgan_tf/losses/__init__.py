"""The losses of RetrieveGAN, equation (7).

The name of a loss is also the name of its weight in the config's section `losses` and of its metric
in the logs (`loss/generator/NAME`). docs/method.md has the equations.
"""

from __future__ import annotations

from typing import NamedTuple

ADVERSARIAL_FEATURE = "adversarial_feature"
"""The one loss that a setting adds, in the joint stage: `discriminators.feature`."""


class LossEntry(NamedTuple):
    """One row of `GENERATOR_LOSSES`.

    Attributes:
      name: of the loss and of its weight.
      equation: its number in the paper, or the section of docs/method.md, or "ours".
      function: its dotted name.
      switch: the setting without which it is not computed; None: always.
    """

    name: str
    equation: str
    function: str
    switch: str | None = None


GENERATOR_LOSSES = (
    LossEntry("selection", "method §4.1", "rgan_tf.losses.retrieval.selection_loss"),
    LossEntry("cooccurrence", "(5)", "rgan_tf.losses.retrieval.expected_cooccurrence_loss"),
    LossEntry("adversarial_image", "(6)", "rgan_tf.losses.adversarial.generator_loss"),
    LossEntry("adversarial_object", "(6)", "rgan_tf.losses.adversarial.generator_loss"),
    LossEntry("reconstruction", "method §6.2", "rgan_tf.losses.basic.reconstruction_loss"),
    LossEntry("box", "method §6.2", "rgan_tf.losses.basic.box_loss"),
    LossEntry("box_overlap", "ours", "rgan_tf.losses.basic.box_overlap_loss"),
    LossEntry("auxiliary", "method §6.2", "rgan_tf.losses.basic.auxiliary_loss"),
    LossEntry("perceptual_image", "method §6.2", "rgan_tf.losses.perceptual.PerceptualDistance"),
    LossEntry("perceptual_object", "method §6.2", "rgan_tf.losses.perceptual.PerceptualDistance"),
    LossEntry(
        ADVERSARIAL_FEATURE,
        "method §6.2",
        "rgan_tf.losses.adversarial.generator_loss",
        switch="discriminators.feature",
    ),
)
"""The generator's losses, in the order in which they are summed."""
