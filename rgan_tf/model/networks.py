"""The networks that are trained, averaged, saved and served."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.discriminators.features import FeatureDiscriminator, noise_pictures
from rgan_tf.discriminators.pixels import ImageDiscriminator, ObjectDiscriminator
from rgan_tf.generator.generator import PatchGenerator
from rgan_tf.generator.layout import crop_objects
from rgan_tf.generator.sg2im import Sg2imDecoder
from rgan_tf.graph.box_predictor import BoxPredictor
from rgan_tf.graph.encoder import GraphEncoding, SceneGraphEncoder
from rgan_tf.graph.interchangeable import instances
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.retrieval.embedding import CooccurrenceEmbedding, PatchEmbedding
from rgan_tf.vocabulary import Vocabulary

_PICTURES = 16  # noise images that determine the scale of a network's maps


@contextlib.contextmanager
def _precision(name: str) -> Iterator[None]:
    """Layers made inside compute at this precision; their weights stay float32.

    Keras passes the policy through a global, which is restored on exit.
    """
    policy = tf.keras.mixed_precision.global_policy()
    half = {"bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}
    tf.keras.mixed_precision.set_global_policy(half.get(name, name))
    try:
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)


def _patch_embedding(config: Config) -> PatchEmbedding:
    return PatchEmbedding(
        sizes=config.retrieval.embedding_sizes,
        initial_scale=config.retrieval.initial_scale,
        start=config.retrieval.embedding_start,
    )


class GraphNetworks(tf.keras.Model):
    """Scene graph to object vectors and boxes: the common part of stages 1 and 3."""

    def __init__(self, config: Config, vocabulary: Vocabulary, **kwargs):
        super().__init__(**kwargs)
        graph = config.graph
        self.encoder = SceneGraphEncoder(
            num_objects=vocabulary.num_objects,
            num_predicates=vocabulary.num_predicates,
            width=graph.width,
            hidden=graph.hidden,
            layers=graph.layers,
        )
        self.box_predictor = BoxPredictor(
            hidden=graph.box_hidden, instance_codes=graph.instance_codes
        )

    def predict_boxes(self, graph: dict[str, tf.Tensor], encoding: GraphEncoding) -> tf.Tensor:
        """Predicts the boxes of encoded graphs.

        Args:
          graph: dict with `objects` [B, O] int32 and `triples` [B, T, 3] int32.
          encoding: of that graph.

        Returns:
          [B, O, 4] float32, see `BoxPredictor`.
        """
        places = instances(graph["objects"], graph["triples"])  # [B, O, 2]
        return self.box_predictor(encoding.object_vectors, places)


class Sg2imNetworks(GraphNetworks):
    """Stage 1: the graph encoder with a parametric decoder (the sg2im baseline).

    Args:
      config, vocabulary: give all sizes.
      precision: "float32", "bfloat16" or "float16", of the decoder.
    """

    def __init__(
        self, config: Config, vocabulary: Vocabulary, *, precision: str = "float32", **kwargs
    ):
        super().__init__(config, vocabulary, **kwargs)
        with _precision(precision):
            self.decoder = Sg2imDecoder(
                image_size=config.data.image_size,
                layout_channels=config.sg2im.layout_channels,
                decoder_channels=config.sg2im.decoder_channels,
            )

    def build_variables(self, config: Config) -> None:
        """Creates every variable, so that checkpoints can be restored at once."""
        graph = empty_graph(config)
        encoding = self.encoder(graph)
        boxes = self.predict_boxes(graph, encoding)
        self.decoder(encoding.object_vectors, boxes, encoding.object_mask)


class RetrievalNetworks(GraphNetworks):
    """Stage 3: graph encoder, patch embedding φ and the generator that reads patches.

    Args:
      config, vocabulary: give all sizes.
      precision: see `Sg2imNetworks`; of the generator. Graphs, boxes and φ stay in float32: they
        are small, and their decisions (a patch, an edge) do not average out.
    """

    def __init__(
        self, config: Config, vocabulary: Vocabulary, *, precision: str = "float32", **kwargs
    ):
        super().__init__(config, vocabulary, **kwargs)
        generator = config.generator
        self.embedding = _patch_embedding(config)
        with _precision(precision):
            self.generator = PatchGenerator(
                image_size=config.data.image_size,
                crop_size=config.data.crop_size,
                crop_channels=generator.crop_channels,
                refiner_layers=generator.refiner_layers,
                refiner_hidden=generator.refiner_hidden,
                canvas_channels=generator.canvas_channels,
                canvas_blocks=generator.canvas_blocks,
                decoder_channels=generator.decoder_channels,
                attention_weight=generator.attention_weight,
                composition=generator.composition,
                masks=generator.masks,
                skip=generator.skip,
            )

    def build_variables(self, config: Config, feature_size: int) -> None:
        """Creates every variable; `feature_size` is the width of the backbone's features."""
        graph = empty_graph(config)
        encoding = self.encoder(graph)
        boxes = self.predict_boxes(graph, encoding)  # [1, O, 4]
        self.embedding(tf.zeros([1, feature_size]))
        size = config.data.crop_size
        self.generator(tf.zeros([1, config.data.max_objects, size, size, 3]), encoding, boxes)


class Discriminators(tf.keras.Model):
    """The image and the object discriminator, the latter with the auxiliary class head.

    Args:
      config, vocabulary: give all sizes.
      precision: see `Sg2imNetworks`.

    Attributes:
      feature: a `FeatureDiscriminator` made by `add_feature`, or None.
    """

    def __init__(
        self, config: Config, vocabulary: Vocabulary, *, precision: str = "float32", **kwargs
    ):
        super().__init__(**kwargs)
        settings = config.discriminators
        self.crop_size = settings.object_crop_size
        self.feature: FeatureDiscriminator | None = None
        with _precision(precision):
            self._make(config, vocabulary)

    def _make(self, config: Config, vocabulary: Vocabulary) -> None:
        settings = config.discriminators
        self.image = ImageDiscriminator(
            channels=settings.image_channels,
            spectral_normalization=settings.spectral_normalization,
        )
        self.object = ObjectDiscriminator(
            num_objects=vocabulary.num_objects,
            channels=settings.object_channels,
            spectral_normalization=settings.spectral_normalization,
        )

    def crops(self, images: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
        """Cuts the objects out of images: [B, H, W, 3], [B, O, 4] -> [B, O, S, S, 3]."""
        return crop_objects(images, boxes, self.crop_size)

    def add_feature(
        self, config: Config, perceptual: PerceptualDistance, *, precision: str
    ) -> None:
        """Adds the discriminator on the maps of `perceptual`, with all variables created."""
        settings = config.discriminators
        pictures = noise_pictures(_PICTURES, config.data.image_size, config.training.seed)
        maps = perceptual.maps(pictures)  # [B, h, w, C] each
        with _precision(precision):
            self.feature = FeatureDiscriminator(
                sides=[values.shape[1] for values in maps],
                map_channels=[values.shape[3] for values in maps],
                channels=settings.feature_channels,
                seed=config.training.seed,
                spectral_normalization=settings.spectral_normalization,
            )
        self.feature.mixing.calibrate(maps)
        self.feature(maps)

    def build_variables(self, config: Config) -> None:
        """Creates every variable, so that checkpoints can be restored at once."""
        size = config.data.image_size
        self.image(tf.zeros([1, size, size, 3]))
        self.object(tf.zeros([1, config.data.max_objects, self.crop_size, self.crop_size, 3]))


def build_sg2im_networks(
    config: Config, vocabulary: Vocabulary, *, precision: str = "float32"
) -> Sg2imNetworks:
    """Stage-1 networks with all variables created."""
    networks = Sg2imNetworks(config, vocabulary, precision=precision)
    networks.build_variables(config)
    return networks


def build_retrieval_networks(
    config: Config, vocabulary: Vocabulary, feature_size: int, *, precision: str = "float32"
) -> RetrievalNetworks:
    """Stage-3 networks with all variables created; `feature_size` is the backbone's width."""
    networks = RetrievalNetworks(config, vocabulary, precision=precision)
    networks.build_variables(config, feature_size)
    return networks


def build_patch_embedding(config: Config, feature_size: int) -> PatchEmbedding:
    """φ by itself, with all variables created."""
    embedding = _patch_embedding(config)
    embedding(tf.zeros([1, feature_size]))
    return embedding


def build_cooccurrence_embedding(config: Config, feature_size: int) -> CooccurrenceEmbedding:
    """The stage-2 embedding with all variables created."""
    embedding = CooccurrenceEmbedding(sizes=config.cooccurrence.sizes)
    embedding(tf.zeros([1, feature_size]))
    return embedding


def build_discriminators(
    config: Config,
    vocabulary: Vocabulary,
    *,
    precision: str = "float32",
    perceptual: PerceptualDistance | None = None,
) -> Discriminators:
    """The discriminators with all variables created.

    Args:
      config, vocabulary, precision: see `Discriminators`.
      perceptual: with `discriminators.feature`, its maps are judged too.
    """
    discriminators = Discriminators(config, vocabulary, precision=precision)
    discriminators.build_variables(config)
    if config.discriminators.feature and perceptual is not None:
        discriminators.add_feature(config, perceptual, precision=precision)
    return discriminators


def empty_graph(config: Config) -> dict[str, tf.Tensor]:
    """One padded graph without objects, for building variables."""
    return {
        "objects": tf.zeros([1, config.data.max_objects], tf.int32),
        "triples": tf.fill([1, config.data.max_triples, 3], -1),
    }
