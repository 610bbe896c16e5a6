"""What the rivals' models have in common: fixed losses, their own Adam, one way to draw."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.model.adversarial_model import AdversarialModel
from rgan_tf.rivals.discriminators import RivalDiscriminators

Graph = dict[str, tf.Tensor]
"""`objects` [B, O] int32 (0 = padding) and `triples` [B, T, 3] int32 (-1 = padding).

For a rival that `reads_patches` also `PATCHES`: `candidate_crops` [B, O, K, S, S, 3] uint8 and
`candidate_valid` [B, O, K] bool, nearest first. A batch of the pipeline with candidates has them.
"""

PATCHES = ("candidate_crops", "candidate_valid")

FORM = "non_saturating"
"""Form of the adversarial loss: every rival has binary cross-entropy with logits."""


class Drawing(NamedTuple):
    """Images [B, H, W, 3] float32 in [-1, 1] and the layout [B, O, 4] in which they were drawn.

    `boxes` is None if the rival draws in no layout. `choice` [B, O] int32 is the place of
    every object's patch among its candidates, -1 for none; None if the rival draws from no patches.
    """

    images: tf.Tensor
    boxes: tf.Tensor | None
    choice: tf.Tensor | None = None


class RivalNetworks(tf.keras.Model):
    """The generator side of a rival.

    Attributes:
      predicts_boxes: whether it has a layout of its own, so that `boxes` may be None.
      reads_boxes: whether it draws in a layout at all; if not, `boxes` changes nothing.
      reads_patches: whether it draws from patches, which its graphs have to contain (`Graph`).
    """

    predicts_boxes = False
    reads_boxes = True
    reads_patches = False

    def synthesise(self, graph: Graph, boxes: tf.Tensor | None, seeds: tf.Tensor) -> Drawing:
        """Draws one image per graph, as at test time.

        Args:
          graph: the scenes.
          boxes: [B, O, 4] float32 in [0, 1], the layout; None takes the predicted one, if the
            rival reads one.
          seeds: [B] int32, one per row; a row depends on its own seed only.

        Raises:
          ValueError: if `boxes` is None and the rival reads them and predicts none, or the graph
            has no patches and the rival reads them.
        """
        raise NotImplementedError


class Game(NamedTuple):
    """What a rival's training weighs, as published: its terms, and the betas of both Adams."""

    generator_weights: dict[str, float]
    discriminator_weights: dict[str, float]
    betas: tuple[float, float]


class RivalModel(AdversarialModel):
    """The shared step with a rival's own terms, weights and betas.

    Args:
      config: sizes of the batches, rates, moving average, guard. Its `losses` are not read.
      networks, average: see `AdversarialModel`.
      discriminators: of this rival.
      game: if it depends on the config; else that of the class.
    """

    game: Game
    networks: RivalNetworks
    average: RivalNetworks

    def __init__(
        self,
        config: Config,
        networks: RivalNetworks,
        average: RivalNetworks,
        discriminators: RivalDiscriminators,
        *,
        game: Game | None = None,
        **kwargs,
    ):
        game = game or self.game
        super().__init__(config, networks, average, discriminators, **game._asdict(), **kwargs)

    def synthesise(self, graph: Graph, boxes: tf.Tensor | None, seeds: tf.Tensor) -> Drawing:
        """Draws with the moving average; see `RivalNetworks.synthesise`."""
        return self.average.synthesise(graph, boxes, seeds)
