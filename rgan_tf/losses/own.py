"""Your own losses in the joint stage, and the step outputs that they can use."""

from __future__ import annotations

import dataclasses
import math
import numbers
from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

import tensorflow as tf


class StepOutputs(NamedTuple):
    """What a step of the joint stage has computed for B scenes of O objects.

    Attributes:
      batch: of the pipeline, e.g. `objects` [B, O], `triples` [B, T, 3], `boxes` [B, O, 4],
        `image` [B, H, W, 3] and the candidates.
      mask: [B, O] bool, False = padding.
      predicted_boxes: [B, O, 4] float32 [y0, x0, y1, x1] in [0, 1].
      crops: [B, O, h, w, 3] float32 in [-1, 1], the retrieved patches; the gradient through them
        reaches the patch embedding.
      choice_ids: [B, O] int32, bank rows of the retrieved patches, -1 = none.
      selected: [B, H, W, 3] float32 in [-1, 1], the image from the retrieved patches.
      reconstructed: [B, H, W, 3] float32 in [-1, 1], the image from the scene's own patches.
    """

    batch: dict[str, tf.Tensor]
    mask: tf.Tensor
    predicted_boxes: tf.Tensor
    crops: tf.Tensor
    choice_ids: tf.Tensor
    selected: tf.Tensor
    reconstructed: tf.Tensor


@dataclasses.dataclass(frozen=True)
class Loss:
    """A loss added to those of equation (7).

    Attributes:
      name: letters, digits and underscores; logged as `loss/generator/NAME`.
      compute: takes `StepOutputs`, returns [B] float32, one number per scene; owns no variables.
        Steps are traced without AutoGraph: Python's `if` and `for` over tensors need `@tf.function`
        above the function.
      weight: above 0 and finite.

    Raises:
      ValueError: if the name has other characters, `compute` is not a function, or the weight is
        not above 0 and finite.

    Example:
      ```python
      import tensorflow as tf
      import rgan_tf

      def too_dark(outputs):
          return tf.nn.relu(-tf.reduce_mean(outputs.selected, axis=[1, 2, 3]))  # [B]

      loss = rgan_tf.Loss("too_dark", too_dark, weight=0.5)
      ```
    """

    name: str
    compute: Callable[[StepOutputs], tf.Tensor]
    weight: float = 1.0

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier()):
            raise ValueError(f"loss {self.name!r}: name it by letters, digits and underscores")
        if not callable(self.compute):
            raise ValueError(f"loss {self.name}: compute must be a function of StepOutputs")
        if not isinstance(self.weight, numbers.Real) or not 0.0 < self.weight < math.inf:
            raise ValueError(
                f"loss {self.name}: its weight must be above 0 and finite, got {self.weight!r}"
            )
        # One of NumPy could not be written into the record of the run, hours later.
        object.__setattr__(self, "weight", float(self.weight))


def check_names(losses: Iterable[Loss], taken: Collection[str]) -> None:
    """Refuses own losses with the name of another loss.

    Raises:
      ValueError: names the first such loss.
    """
    seen = set(taken)
    for loss in losses:
        if loss.name in seen:
            raise ValueError(f"loss {loss.name}: another loss has this name; choose another one")
        seen.add(loss.name)


def own_terms(losses: Iterable[Loss], outputs: StepOutputs) -> dict[str, tf.Tensor]:
    """Name -> [B] float32 of every own loss.

    Raises:
      ValueError: if one does not return one number per scene.
    """
    terms = {}
    for loss in losses:
        result = loss.compute(outputs)
        try:
            term = tf.cast(result, tf.float32)  # [B]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"loss {loss.name}: returned {type(result).__name__}, expected one number per "
                "scene [B]"
            ) from error
        # [1] would be broadcast over the batch.
        if term.shape.rank != 1 or not term.shape.is_compatible_with(outputs.selected.shape[:1]):
            raise ValueError(
                f"loss {loss.name}: returned shape {term.shape}, expected one number per scene "
                "[B]; average over everything but the first axis"
            )
        terms[loss.name] = term
    return terms
