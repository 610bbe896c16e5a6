"""The generator side of sg2im: graph -> boxes and masks -> layout with noise -> image."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.graph.box_predictor import BoxPredictor
from rgan_tf.rivals.noise import row_normals
from rgan_tf.rivals.rival import Drawing, Graph, RivalNetworks
from rgan_tf.rivals.sg2im.decoder import RefinementNetwork
from rgan_tf.rivals.sg2im.graph_network import Encoding, GraphNetwork
from rgan_tf.rivals.sg2im.heads import MaskNetwork, RelationHead
from rgan_tf.rivals.sg2im.layout import scene_layout
from rgan_tf.rivals.sg2im.sizes import SCALED, Sizes
from rgan_tf.seeds import Purpose, derive_row_seeds
from rgan_tf.vocabulary import Vocabulary

_WHOLE = (0.0, 0.0, 1.0, 1.0)  # box of the node `__image__`


class Sg2imRival(RivalNetworks):
    """All networks of sg2im but its discriminators, with all variables created.

    Args:
      vocabulary: sizes of the tables.
      sizes: widths.
      image_size: H = W, in px.
      relations: whether the relation head is built.
    """

    predicts_boxes = True

    def __init__(
        self,
        vocabulary: Vocabulary,
        sizes: Sizes = SCALED,
        *,
        image_size: int = 64,
        relations: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.image_size = image_size
        self.noise_channels = sizes.noise_channels
        self.encoder = GraphNetwork(
            num_objects=vocabulary.num_objects,
            num_predicates=vocabulary.num_predicates,
            width=sizes.width,
            hidden=sizes.hidden,
            layers=sizes.layers,
        )
        self.box_network = BoxPredictor(hidden=sizes.box_hidden)
        self.mask_network = MaskNetwork(
            vector_width=sizes.width, width=sizes.mask_width, doublings=sizes.mask_doublings
        )
        self.decoder = RefinementNetwork(image_size=image_size, channels=sizes.decoder_channels)
        self.relation_head = None
        if relations:
            self.relation_head = RelationHead(
                num_predicates=vocabulary.num_predicates, hidden=sizes.box_hidden
            )
        self._build()

    def _build(self) -> None:
        """Creates every variable, so that checkpoints can be restored at once."""
        graph = {"objects": tf.zeros([1, 1], tf.int32), "triples": tf.fill([1, 1, 3], -1)}
        drawing = self.synthesise(graph, None, tf.zeros([1], tf.int32))
        if self.relation_head is not None:
            embeddings = self.encoder(graph).embeddings  # [1, 2, W]
            self.relation_head(drawing.boxes, embeddings[:, :-1], graph["triples"])

    def predict_boxes(self, graph: Graph, encoding: Encoding) -> tf.Tensor:
        """[B, O, 4] float32, valid boxes of all objects but `__image__`.

        Called as that of our own networks, which read the graph too.
        """
        return self.box_network(encoding.vectors[:, :-1])

    def predict_masks(self, encoding: Encoding) -> tf.Tensor:
        """[B, O, M, M] float32 in (0, 1), likewise."""
        return self.mask_network(encoding.vectors[:, :-1])

    def draw(
        self, encoding: Encoding, boxes: tf.Tensor, masks: tf.Tensor, noise: tf.Tensor
    ) -> tf.Tensor:
        """Images of encoded graphs.

        Args:
          encoding: of B graphs.
          boxes: [B, O, 4] float32, without `__image__`, which fills the image.
          masks: [B, O, M, M] float32 in [0, 1], likewise.
          noise: [B, H, W, 32] float32, see `draw_noise`.

        Returns:
          [B, H, W, 3] float32 in [-1, 1].
        """
        return self.decoder(self.layout(encoding, boxes, masks, noise))

    def layout(
        self, encoding: Encoding, boxes: tf.Tensor, masks: tf.Tensor, noise: tf.Tensor
    ) -> tf.Tensor:
        """[B, H, W, 128 + 32] float32, the layout with its noise; see `draw`."""
        rows = tf.shape(boxes)[0]
        whole = tf.tile(tf.constant([[_WHOLE]]), [rows, 1, 1])  # [B, 1, 4]
        full = tf.ones([rows, 1, *masks.shape[2:]])  # [B, 1, M, M]
        placed = scene_layout(
            encoding.vectors,
            tf.concat([boxes, whole], axis=1),
            tf.concat([masks, full], axis=1),
            tf.pad(encoding.object_mask, [[0, 0], [0, 1]], constant_values=True),
            self.image_size,
        )  # [B, H, W, 128]
        return tf.concat([placed, noise], axis=-1)  # [B, H, W, 160]

    def draw_noise(self, seeds: tf.Tensor) -> tf.Tensor:
        """[B, H, W, 32] float32 N(0, 1), the only source of diversity; seeds [B, 2] int32."""
        return row_normals(seeds, [self.image_size, self.image_size, self.noise_channels])

    def synthesise(self, graph: Graph, boxes: tf.Tensor | None, seeds: tf.Tensor) -> Drawing:
        """See `RivalNetworks.synthesise`."""
        encoding = self.encoder(graph)
        if boxes is None:
            boxes = self.predict_boxes(graph, encoding)  # [B, O, 4]
        boxes *= tf.cast(encoding.object_mask, tf.float32)[..., tf.newaxis]  # [B, O, 4]
        noise = self.draw_noise(derive_row_seeds(seeds, Purpose.LAYOUT_NOISE))  # [B, H, W, 32]
        return Drawing(self.draw(encoding, boxes, self.predict_masks(encoding), noise), boxes)
