"""Stage 3: retrieval and generator trained together (RetrieveGAN, equation 7)."""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf

from rgan_tf.config import Config
from rgan_tf.data.patch_reader import PatchReader
from rgan_tf.graph.encoder import GraphEncoding
from rgan_tf.losses.adversarial import discriminator_loss, generator_loss
from rgan_tf.losses.basic import (
    auxiliary_loss,
    box_loss,
    mean_over_objects,
    reconstruction_loss,
)
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.losses.retrieval import draw_anchors
from rgan_tf.model.adversarial_model import AdversarialModel, LossTerms
from rgan_tf.model.joint_retrieval import CachedRetrieval, ExactRetrieval
from rgan_tf.model.networks import Discriminators, RetrievalNetworks
from rgan_tf.model.patch_library import PatchLibrary
from rgan_tf.retrieval.cache import EmbeddingCache
from rgan_tf.retrieval.gumbel import GroupSelection
from rgan_tf.retrieval.selector import GroupRetrieval, mix_patches
from rgan_tf.retrieval.temperature import exponential_temperature
from rgan_tf.seeds import Purpose, derive_row_seeds, derive_seed

GENERATOR_TERMS = (
    "selection",
    "cooccurrence",
    "adversarial_image",
    "adversarial_object",
    "reconstruction",
    "box",
    "auxiliary",
    "perceptual_image",
    "perceptual_object",
)
"""The nine losses of equation (7), in the paper's grouping; the names of their config weights."""

DISCRIMINATOR_TERMS = ("adversarial_image", "adversarial_object", "auxiliary")


class Synthesis(NamedTuple):
    """One batch of generated images and how they came about.

    Attributes:
      images: [B, H, W, 3] float32 in [-1, 1].
      boxes: [B, O, 4] float32, the layout that was used.
      crops: [B, O, h, w, 3] float32 in [-1, 1], the selected patches.
      selection: which candidate every object took, and when.
    """

    images: tf.Tensor
    boxes: tf.Tensor
    crops: tf.Tensor
    selection: GroupSelection


class RetrieveGAN(AdversarialModel):
    """Joint training of patch retrieval and image generation.

    Two paths share every weight (method §6.1): the selection path builds the image from the
    retrieved patches, the reconstruction path from the scene's own patches. They run as one
    batch. Both use the ground-truth layout. The own patches are candidates in the selection loss
    only; a generation pass that could pick them would be easier than what happens at test time.

    Args:
      config: the experiment.
      networks: encoder, box predictor, patch embedding, generator.
      average: the moving average of `networks`.
      discriminators: image and object discriminator.
      perceptual: distance on a frozen backbone.
      reader: of the bank's patches; needed where K is above `config.retrieval.exact_candidates`.

    Attributes:
      cache: embeddings of the bank where K is above `config.retrieval.exact_candidates`, else None.
      retrieve: the retrieval that the step uses.

    Raises:
      ValueError: if the reader is missing where it is needed.
    """

    def __init__(
        self,
        config: Config,
        networks: RetrievalNetworks,
        average: RetrievalNetworks,
        discriminators: Discriminators,
        perceptual: PerceptualDistance,
        reader: PatchReader | None = None,
        **kwargs,
    ):
        weights = {name: getattr(config.losses, name) for name in GENERATOR_TERMS}
        super().__init__(
            config,
            networks,
            average,
            discriminators,
            generator_weights=weights,
            discriminator_weights=dict.fromkeys(DISCRIMINATOR_TERMS, 1.0),
            **kwargs,
        )
        self.perceptual = perceptual
        self.cache: EmbeddingCache | None = None
        if config.retrieval.candidates > config.retrieval.exact_candidates:
            if reader is None:
                raise ValueError("more candidates than exact_candidates need a patch reader")
            self.cache = EmbeddingCache(
                rows=len(reader),
                width=config.retrieval.embedding_sizes[-1],
                max_age_steps=config.retrieval.cache_max_age_steps,
            )
            self.retrieve: ExactRetrieval | CachedRetrieval = CachedRetrieval(
                config, networks.embedding, self.cache, reader
            )
        else:
            self.retrieve = ExactRetrieval(config, networks.embedding)
        self.declare_metrics(
            [f"loss/generator/{name}" for name in GENERATOR_TERMS]
            + [f"loss/discriminator/{name}" for name in DISCRIMINATOR_TERMS]
            + ["retrieval/scale", "retrieval/temperature", *self.retrieve.monitors]
        )

    def compute_terms(self, batch: dict[str, tf.Tensor], replica: tf.Tensor) -> LossTerms:
        settings, form = self.config.losses, self.config.losses.adversarial
        objects, boxes, real = batch["objects"], batch["boxes"], batch["image"]
        networks = self.networks
        encoding = networks.encoder({"objects": objects, "triples": batch["triples"]})
        mask = encoding.object_mask  # [B, O]
        predicted_boxes = networks.box_predictor(encoding.object_vectors)  # [B, O, 4]

        temperature = self.temperature()  # []
        anchor_seed = derive_seed(
            self.config.training.seed, self.step, replica, Purpose.SELECTION_ANCHOR
        )
        retrieved = self.retrieve(
            batch,
            mask,
            seeds=self._row_seeds(objects, replica),
            anchors=draw_anchors(mask, anchor_seed),
            temperature=temperature,
            step=self.step,
        )
        own_crops = tf.cast(batch["patch_crops"], tf.float32) / 127.5 - 1.0  # [B, O, h, w, 3]
        own_crops *= tf.cast(mask, tf.float32)[:, :, None, None, None]

        fakes = networks.generator(
            tf.concat([retrieved.crops, own_crops], axis=0),
            _twice(encoding),
            tf.concat([boxes, boxes], axis=0),
        )  # [2B, H, W, 3]
        selected, reconstructed = tf.split(fakes, 2)  # [B, H, W, 3] each

        everything = tf.concat([real, fakes], axis=0)  # [3B, H, W, 3]
        image_logits = self.discriminators.image(everything, training=True)  # [3B, h', w']
        crops = self.discriminators.crops(everything, tf.concat([boxes] * 3, axis=0))
        object_logits, class_logits = self.discriminators.object(crops, training=True)
        real_image, *fake_image = tf.split(image_logits, 3)
        real_object, *fake_object = tf.split(object_logits, 3)  # [B, O] each
        real_class, *fake_class = tf.split(class_logits, 3)  # [B, O, categories] each
        real_crops, _, reconstructed_crops = tf.split(crops, 3)  # [B, O, S, S, 3] each

        real_maps = self.perceptual.maps(real)
        generator = {
            "selection": retrieved.selection_loss,
            "cooccurrence": retrieved.cooccurrence_loss,
            "adversarial_image": _mean([generator_loss(x, form) for x in fake_image]),
            "adversarial_object": _mean(
                [generator_loss(x, form=form, object_mask=mask) for x in fake_object]
            ),
            "reconstruction": reconstruction_loss(reconstructed, real),
            "box": box_loss(predicted_boxes, boxes, mask),
            "auxiliary": _mean([auxiliary_loss(x, objects, mask) for x in fake_class]),
            "perceptual_image": self.perceptual.between(
                self.perceptual.maps(reconstructed), real_maps
            )
            + settings.perceptual_selected_share
            * self.perceptual.between(self.perceptual.maps(selected), real_maps),
            "perceptual_object": self._object_distance(reconstructed_crops, real_crops, mask),
        }
        discriminator = {
            "adversarial_image": _mean(
                [discriminator_loss(real_image, x, form=form) for x in fake_image]
            ),
            "adversarial_object": _mean(
                [
                    discriminator_loss(real_object, x, form=form, object_mask=mask)
                    for x in fake_object
                ]
            ),
            "auxiliary": auxiliary_loss(real_class, objects, mask),
        }
        return LossTerms(
            generator,
            discriminator,
            {
                "retrieval/scale": networks.embedding.scale,
                "retrieval/temperature": temperature,
                **retrieved.monitors,
            },
        )

    def start(self) -> None:
        """Embeds the whole bank where a cache is used; call before the first step.

        A checkpoint that is restored afterwards brings its own cache.
        """
        if self.cache is not None:
            self.retrieve.fill()

    def finish_step(self) -> None:
        """Embeds the next rows of the bank again, where a cache is used."""
        if self.cache is not None:
            self.retrieve.refresh(self.step)

    def temperature(self) -> tf.Tensor:
        """The softmax temperature of the current step (method §3.6)."""
        settings = self.config.retrieval
        return exponential_temperature(
            self.step,
            start=settings.temperature_start,
            end=settings.temperature_end,
            anneal_steps=int(settings.temperature_anneal_fraction * self.config.training.steps),
        )

    def _object_distance(self, crops: tf.Tensor, target: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Perceptual distance of object crops: [B, O, S, S, 3] twice -> [B]."""
        shape = [-1, *crops.shape[2:]]
        distance = self.perceptual(tf.reshape(crops, shape), tf.reshape(target, shape))  # [B*O]
        return mean_over_objects(tf.reshape(distance, tf.shape(mask)), mask)

    def _row_seeds(self, objects: tf.Tensor, replica: tf.Tensor) -> tf.Tensor:
        seed = derive_seed(self.config.training.seed, self.step, replica, Purpose.GUMBEL_NOISE)
        return tf.random.stateless_uniform(
            [tf.shape(objects)[0], 2], seed, minval=None, maxval=None, dtype=tf.int32
        )  # [B, 2]


def synthesise(
    networks: RetrievalNetworks,
    batch: dict[str, tf.Tensor],
    *,
    row_seeds: tf.Tensor | None,
    boxes: tf.Tensor | None = None,
    choice: tf.Tensor | None = None,
    library: PatchLibrary | None = None,
) -> Synthesis:
    """Generates one image per graph, as at test time.

    Args:
      networks: the trained networks (usually the moving average).
      batch: `objects` [B, O], `triples` [B, T, 3] and the candidate entries of a pipeline batch;
        with `candidate_distances` [B, O, K] the deterministic retrieval starts from the nearest of
        all candidates, without from the first object's first.
      row_seeds: [B] int32 for random retrieval; None for the deterministic one.
      boxes: [B, O, 4] layout to use; None uses the predicted boxes.
      choice: [B, O] int32 candidate of every object, for other selection rules; None retrieves.
      library: embeddings and pixels of the bank, for batches without the candidates' own.

    Returns:
      A `Synthesis`.
    """
    encoding = networks.encoder({"objects": batch["objects"], "triples": batch["triples"]})
    if boxes is None:
        boxes = networks.box_predictor(encoding.object_vectors)  # [B, O, 4]
    boxes *= tf.cast(encoding.object_mask, tf.float32)[:, :, None]
    if library is None:
        embeddings = networks.embedding(batch["candidate_features"])  # [B, O, K, D]
    else:
        embeddings = library.embeddings_at(batch["candidate_ids"])  # [B, O, K, D]
    selection = GroupRetrieval(straight_through=True)(
        embeddings,
        batch["candidate_valid"],
        None if row_seeds is None else derive_row_seeds(row_seeds, Purpose.GUMBEL_NOISE),
        scale=networks.embedding.scale,
        locked=choice,
        distances=batch.get("candidate_distances"),
    )
    if library is None:
        crops = mix_patches(selection.weights, batch["candidate_crops"])  # [B, O, h, w, 3]
    else:
        crops = library.chosen_crops(batch["candidate_ids"], selection.choice)  # [B, O, h, w, 3]
    return Synthesis(networks.generator(crops, encoding, boxes), boxes, crops, selection)


def reconstruct(
    networks: RetrievalNetworks, batch: dict[str, tf.Tensor], boxes: tf.Tensor
) -> tf.Tensor:
    """Images from the scenes' own patches: [B, H, W, 3] float32 in [-1, 1]."""
    encoding = networks.encoder({"objects": batch["objects"], "triples": batch["triples"]})
    crops = tf.cast(batch["patch_crops"], tf.float32) / 127.5 - 1.0  # [B, O, h, w, 3]
    crops *= tf.cast(encoding.object_mask, tf.float32)[:, :, None, None, None]
    return networks.generator(crops, encoding, boxes)


def _twice(encoding: GraphEncoding) -> GraphEncoding:
    return GraphEncoding(*[tf.concat([part, part], axis=0) for part in encoding])


def _mean(terms: list[tf.Tensor]) -> tf.Tensor:
    return tf.add_n(terms) / len(terms)
