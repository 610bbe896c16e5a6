"""The generator side of AttnGAN: graph -> text -> images of growing size."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.rivals.attngan.generator import AttentionalGenerator
from rgan_tf.rivals.attngan.sizes import Sizes, scaled
from rgan_tf.rivals.attngan.text_encoder import Text, TextEncoder
from rgan_tf.rivals.attngan.tokens import SceneTexts
from rgan_tf.rivals.noise import row_normals
from rgan_tf.rivals.rival import Drawing, Graph, RivalNetworks
from rgan_tf.seeds import Purpose, derive_row_seeds
from rgan_tf.vocabulary import Vocabulary


class AttnganRival(RivalNetworks):
    """The text encoder, frozen after DAMSM, and the generators, with all variables created.

    Args:
      vocabulary: gives the words.
      sizes: widths; None takes ours for this image size.
      image_size: H = W, in px.
    """

    reads_boxes = False

    def __init__(
        self, vocabulary: Vocabulary, sizes: Sizes | None = None, *, image_size: int = 64, **kwargs
    ):
        super().__init__(**kwargs)
        sizes = sizes or scaled(image_size)
        self.code_size, self.noise_size = sizes.code, sizes.noise
        self.texts = SceneTexts(vocabulary)
        self.text_encoder = TextEncoder(
            num_words=self.texts.dictionary.size, embedding=sizes.embedding, hidden=sizes.hidden
        )
        self.text_encoder.trainable = False
        self.generator = AttentionalGenerator(sizes, image_size=image_size)
        # Creates every variable, so that checkpoints can be restored at once.
        graph = {"objects": tf.zeros([1, 1], tf.int32), "triples": tf.fill([1, 1, 3], -1)}
        self.synthesise(graph, None, tf.zeros([1], tf.int32))

    def read(self, graph: Graph, order: tf.Tensor | None = None) -> Text:
        """The encoded texts of graphs, without a gradient.

        Args:
          graph: B scenes.
          order: [B, T] int32, of their triples; None: as they stand.
        """
        text = self.text_encoder(self.texts(graph, order))
        return Text(tf.stop_gradient(text.words), tf.stop_gradient(text.sentence), text.mask)

    def draw_noise(
        self, image_seeds: tf.Tensor, condition_seeds: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The generator's two noises, [B, noise] and [B, code] float32; seeds [B, 2] int32."""
        return (
            row_normals(image_seeds, [self.noise_size]),
            row_normals(condition_seeds, [self.code_size]),
        )

    def synthesise(self, graph: Graph, boxes: tf.Tensor | None, seeds: tf.Tensor) -> Drawing:
        """See `RivalNetworks.synthesise`; `boxes` are not looked at, and the drawing has none."""
        noises = self.draw_noise(
            derive_row_seeds(seeds, Purpose.IMAGE_NOISE),
            derive_row_seeds(seeds, Purpose.CONDITION_NOISE),
        )
        return Drawing(self.generator(self.read(graph), *noises).images[-1], None)
