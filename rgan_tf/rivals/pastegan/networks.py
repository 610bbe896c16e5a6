"""The generator side of PasteGAN: graph -> boxes, patches in boxes -> image."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.graph.box_predictor import BoxPredictor
from rgan_tf.graph.encoder import GraphEncoding, SceneGraphEncoder
from rgan_tf.rivals.pastegan.published import PublishedGenerator
from rgan_tf.rivals.pastegan.scaled import ScaledGenerator
from rgan_tf.rivals.pastegan.selector import pick_at_test
from rgan_tf.rivals.pastegan.sizes import SCALED, Sizes
from rgan_tf.rivals.rival import PATCHES, Drawing, Graph, RivalNetworks
from rgan_tf.seeds import Purpose, derive_row_seeds
from rgan_tf.vocabulary import Vocabulary


class PasteganRival(RivalNetworks):
    """All networks of PasteGAN but its discriminators, with all variables created.

    Args:
      vocabulary: sizes of the tables.
      sizes: widths.
      image_size: H = W, in px.
      crop_size: S of the patches, in px.
    """

    predicts_boxes = True
    reads_patches = True

    def __init__(
        self,
        vocabulary: Vocabulary,
        sizes: Sizes = SCALED,
        *,
        image_size: int = 64,
        crop_size: int = 32,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.crop_size = crop_size
        self.encoder = SceneGraphEncoder(
            num_objects=vocabulary.num_objects,
            num_predicates=vocabulary.num_predicates,
            width=sizes.width,
            hidden=sizes.hidden,
            layers=sizes.layers,
        )
        self.box_network = BoxPredictor(hidden=sizes.box_hidden)
        make = PublishedGenerator if sizes.published else ScaledGenerator
        self.generator = make(sizes, image_size=image_size, crop_size=crop_size)
        # Creates every variable, so that checkpoints can be restored at once.
        graph = {
            "objects": tf.zeros([1, 1], tf.int32),
            "triples": tf.fill([1, 1, 3], -1),
            "candidate_crops": tf.zeros([1, 1, 1, crop_size, crop_size, 3], tf.uint8),
            "candidate_valid": tf.zeros([1, 1, 1], tf.bool),
        }
        self.synthesise(graph, None, tf.zeros([1], tf.int32))

    def predict_boxes(self, graph: Graph, encoding: GraphEncoding) -> tf.Tensor:
        """[B, O, 4] float32, valid boxes of all objects but `__image__`.

        Called as that of our own networks, which read the graph too.
        """
        return self.box_network(encoding.object_vectors)

    def draw(self, crops: tf.Tensor, encoding: GraphEncoding, boxes: tf.Tensor) -> tf.Tensor:
        """Images of encoded graphs from one patch per object; both branches are this function.

        Args:
          crops: [B, O, S, S, 3] float32 in [-1, 1]; 0 without a patch.
          encoding: of B graphs.
          boxes: [B, O, 4] float32.

        Returns:
          [B, H, W, 3] float32 in [-1, 1].
        """
        return self.generator(crops, encoding, boxes)

    def encode_crops(self, crops: tf.Tensor) -> tf.Tensor:
        """[N, S, S, 3] float32 in [-1, 1] -> [N, h, w, D], the maps of patches, not yet refined."""
        return self.generator.encode(crops)

    def synthesise(self, graph: Graph, boxes: tf.Tensor | None, seeds: tf.Tensor) -> Drawing:
        """See `RivalNetworks.synthesise`; draws the patches by the rows' seeds."""
        missing = [name for name in PATCHES if name not in graph]
        if missing:
            raise ValueError(
                f"pastegan draws from patches, and the graph has no {' and no '.join(missing)}; "
                "take a batch with candidates"
            )
        encoding = self.encoder({name: graph[name] for name in ("objects", "triples")})
        if boxes is None:
            boxes = self.predict_boxes(graph, encoding)  # [B, O, 4]
        boxes *= tf.cast(encoding.object_mask, tf.float32)[..., tf.newaxis]  # [B, O, 4]
        picked = pick_at_test(
            graph, encoding.object_mask, derive_row_seeds(seeds, Purpose.PATCH_CHOICE)
        )
        return Drawing(self.draw(picked.crops, encoding, boxes), boxes, picked.choice)
