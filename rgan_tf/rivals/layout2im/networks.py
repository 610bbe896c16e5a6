"""The generator side of layout2im: categories, boxes and codes -> image, and crops -> codes."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.model.present import PresentObjects
from rgan_tf.rivals.layout2im.decoder import CanvasDecoder
from rgan_tf.rivals.layout2im.encoders import CropEncoder, LayoutEncoder
from rgan_tf.rivals.layout2im.fuser import SequenceFuser
from rgan_tf.rivals.layout2im.sizes import SCALED, Sizes
from rgan_tf.rivals.noise import row_normals, row_order
from rgan_tf.rivals.rival import Drawing, Graph, RivalNetworks
from rgan_tf.seeds import Purpose, derive_row_seeds
from rgan_tf.vocabulary import PADDING, Vocabulary


class Layout2imRival(RivalNetworks):
    """All networks of layout2im but its discriminators, with all variables created.

    Args:
      vocabulary: size of the object table.
      sizes: widths.
      image_size: H = W, in px.
      keeps_padding: see `PresentObjects`; True where XLA or the count of operations wants static
        sizes.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        sizes: Sizes = SCALED,
        *,
        image_size: int = 64,
        keeps_padding: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.keeps_padding = keeps_padding
        self.code_size = sizes.code
        count = vocabulary.num_objects
        self.crop_encoder = CropEncoder(
            num_objects=count, channels=sizes.crop_channels, code=sizes.code
        )
        self.embedding = tf.keras.layers.Embedding(
            count,
            sizes.embedding,
            embeddings_initializer=tf.keras.initializers.RandomNormal(stddev=1.0),
            name="embedding",
        )
        self.layout_encoder = LayoutEncoder(
            num_objects=count, channels=sizes.layout_channels, image_size=image_size
        )
        self.fuser = SequenceFuser(channels=sizes.sequence_channels)
        self.decoder = CanvasDecoder(
            canvas_channels=sizes.sequence_channels[-1],
            count=sizes.blocks,
            channels=sizes.decoder_channels,
        )
        # Creates every variable, so that checkpoints can be restored at once.
        objects, crop = tf.zeros([1, 1], tf.int32), [1, 1, sizes.crop_size, sizes.crop_size, 3]
        self.posterior(tf.zeros(crop), objects)
        self.synthesise({"objects": objects}, tf.zeros([1, 1, 4]), tf.zeros([1], tf.int32))

    def posterior(self, crops: tf.Tensor, objects: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The distribution of every object's code, given its crop.

        Args:
          crops: [B, O, S, S, 3] float32 in [-1, 1].
          objects: [B, O] int32, 0 = padding.

        Returns:
          Mean and logarithm of the variance, [B, O, Z] float32 each; meaningless for padding.
        """
        present = self._present(objects)
        mean, log_variance = self.crop_encoder(present.take(crops), present.take(objects))
        return present.put(mean), present.put(log_variance)  # [B, O, Z] each

    def draw_codes(self, seeds: tf.Tensor, objects: int) -> tf.Tensor:
        """[B, O, Z] float32 N(0, 1); seeds [B, 2] int32. Further objects leave the first ones."""
        return row_normals(seeds, [objects, self.code_size])

    def draw(
        self, objects: tf.Tensor, boxes: tf.Tensor, codes: tf.Tensor, order: tf.Tensor
    ) -> tf.Tensor:
        """Images of scenes.

        Args:
          objects: [B, O] int32, 0 = padding.
          boxes: [B, O, 4] float32 in [0, 1].
          codes: [B, O, Z] float32.
          order: [B, O] int32, see `row_order`.

        Returns:
          [B, H, W, 3] float32 in [-1, 1].
        """
        present = self._present(objects)
        vectors = tf.concat([self.embedding(objects), codes], axis=-1)  # [B, O, E + Z]
        maps = present.put(
            self.layout_encoder(present.take(vectors), present.take(boxes), present.take(objects))
        )  # [B, O, h, w, c]
        maps = tf.gather(maps, order, batch_dims=1)  # [B, O, h, w, c]
        is_there = tf.gather(objects != PADDING, order, batch_dims=1)  # [B, O]
        return self.decoder(self.fuser(maps, is_there))  # [B, H, W, 3]

    def synthesise(self, graph: Graph, boxes: tf.Tensor | None, seeds: tf.Tensor) -> Drawing:
        """See `RivalNetworks.synthesise`; reads the categories of the graph, and no triples."""
        if boxes is None:
            raise ValueError("layout2im predicts no boxes; give it the true or predicted ones")
        objects = graph["objects"]  # [B, O]
        is_there = objects != PADDING  # [B, O]
        boxes *= tf.cast(is_there, tf.float32)[..., tf.newaxis]  # [B, O, 4]
        codes = self.draw_codes(
            derive_row_seeds(seeds, Purpose.PRIOR_CODE), objects.shape[1]
        )  # [B, O, Z]
        order = row_order(is_there, derive_row_seeds(seeds, Purpose.OBJECT_ORDER))  # [B, O]
        return Drawing(self.draw(objects, boxes, codes, order), boxes)

    def _present(self, objects: tf.Tensor) -> PresentObjects:
        return PresentObjects(objects != PADDING, keeps_padding=self.keeps_padding)
