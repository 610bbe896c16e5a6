"""Stage 3: retrieval and generator trained together (RetrieveGAN, equation 7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import tensorflow as tf

from rgan_tf.bank.patch_reader import PatchReader
from rgan_tf.config import Config
from rgan_tf.config_files import flat_settings
from rgan_tf.devices import compiles
from rgan_tf.graph.encoder import GraphEncoding
from rgan_tf.losses import GENERATOR_LOSSES
from rgan_tf.losses.basic import mean_over_objects, reconstruction_loss
from rgan_tf.losses.own import Loss, StepOutputs, check_names, own_terms
from rgan_tf.losses.perceptual import PerceptualDistance
from rgan_tf.losses.retrieval import draw_anchors
from rgan_tf.model.adversarial_model import AdversarialModel, LossTerms
from rgan_tf.model.box_losses import box_losses
from rgan_tf.model.judgement import (
    GRADIENT_PENALTY,
    Judge,
    discriminator_terms,
    discriminator_weights,
    generator_terms,
)
from rgan_tf.model.networks import Discriminators, RetrievalNetworks
from rgan_tf.model.own_patches import outside, relit
from rgan_tf.model.present import PresentObjects
from rgan_tf.model.recompute import recomputed
from rgan_tf.model.retrieval_losses import anchor_mask, retrieval_losses
from rgan_tf.retrieval.noise import row_uniforms
from rgan_tf.retrieval.patches import own_crops
from rgan_tf.retrieval.registry import retriever_for
from rgan_tf.retrieval.retriever import Retrieved, Retriever, check_retrieved
from rgan_tf.retrieval.rules import NOISE
from rgan_tf.retrieval.temperature import exponential_temperature
from rgan_tf.seeds import Purpose, derive_seed

_EXCHANGED = 0.4  # share of objects that are exchanged in a scene with exchanges


class RetrieveGANModel(AdversarialModel):
    """Joint training of patch retrieval and image generation.

    Two paths share every weight (method §6.1): the selection path builds the image from the
    retrieved patches, the reconstruction path from the scene's own patches. They run as one batch.
    Both use the ground-truth layout; towards the end a share of the scenes puts its retrieved
    patches into predicted boxes, as at test time. The own patches are candidates in the selection
    loss only; generation with them as candidates would be easier than at test time.

    Args:
      config: the experiment.
      networks: encoder, box predictor, patch embedding, generator.
      average: the moving average of `networks`.
      discriminators: image and object discriminator, and that on maps if the config has it.
      perceptual: distance on a frozen backbone.
      reader: of the bank's patches; needed if K is above `config.retrieval.exact_candidates`.
      retriever: chooses the patches; None takes that of `config.retrieval.choice`.
      losses: your own, added to those of equation (7).

    Attributes:
      retriever: the one that the step uses.

    Raises:
      ValueError: if the reader is missing but needed, or two losses have one name.
    """

    def __init__(
        self,
        config: Config,
        networks: RetrievalNetworks,
        average: RetrievalNetworks,
        discriminators: Discriminators,
        perceptual: PerceptualDistance,
        reader: PatchReader | None = None,
        *,
        retriever: Retriever | None = None,
        losses: Sequence[Loss] = (),
        **kwargs,
    ):
        terms = generator_losses(config)
        check_names(losses, terms)
        weights = {name: getattr(config.losses, name) for name in terms}
        weights |= {loss.name: loss.weight for loss in losses}
        super().__init__(
            config,
            networks,
            average,
            discriminators,
            generator_weights=weights,
            discriminator_weights=discriminator_weights(config, judges_maps=True),
            **kwargs,
        )
        self.perceptual = perceptual
        self._own_losses = tuple(losses)
        if retriever is None:
            settings = config.retrieval
            if reader is None and settings.candidates > settings.exact_candidates:
                raise ValueError("more candidates than exact_candidates need a patch reader")
            retriever = retriever_for(config, networks.embedding, reader)
        self.retriever = retriever.bound_to(networks.embedding)
        self._retriever_state = self.retriever.state()  # makes Keras track it
        self.declare_metrics(
            [
                "retrieval/scale",
                "retrieval/temperature",
                "layout/predicted_share",
                "layout/generalised_iou",
                *self.retriever.monitors,
            ]
        )

    def compute_terms(self, batch: dict[str, tf.Tensor], first_row: tf.Tensor) -> LossTerms:
        settings, form = self.config.losses, self.config.losses.adversarial
        objects, boxes, real = batch["objects"], batch["boxes"], batch["image"]
        networks = self.networks
        graph = {"objects": objects, "triples": batch["triples"]}
        encoding = networks.encoder(graph)
        mask = encoding.object_mask  # [B, O]
        predicted_boxes = networks.predict_boxes(graph, encoding)  # [B, O, 4]
        losses_of_boxes = box_losses(self.config, predicted_boxes, boxes, graph, mask)

        def row_seeds(purpose: Purpose) -> tf.Tensor:
            return self.batch_seeds(purpose, first_row, tf.shape(objects)[0])  # [B, 2]

        temperature = self.temperature()  # []
        anchors = draw_anchors(
            anchor_mask(self.config.retrieval, mask, boxes),
            derive_seed(self.run_seed, self.step, 0, Purpose.SELECTION_ANCHOR),
            first_row=first_row,
        )  # [B]
        retrieved = self.retriever.retrieve(
            batch,
            mask,
            seeds=row_seeds(Purpose.GUMBEL_NOISE),
            anchors=anchors,
            temperature=temperature,
            step=self.step,
        )
        check_retrieved(self.retriever, retrieved)
        if self.retriever.name == NOISE:
            own = retrieved.crops  # [B, O, h, w, 3]; a generator without patches sees none
        else:
            own = own_crops(batch, mask)  # [B, O, h, w, 3]
        own, kept = self._altered_patches(own, retrieved, mask, row_seeds)

        in_predicted = self._in_predicted_boxes(row_seeds(Purpose.PREDICTED_BOXES))  # [B]
        layout = tf.where(
            in_predicted[:, tf.newaxis, tf.newaxis],
            tf.stop_gradient(predicted_boxes) * tf.cast(mask, tf.float32)[:, :, tf.newaxis],
            boxes,
        )  # [B, O, 4]
        fakes = self._generate(
            tf.concat([retrieved.crops, own], axis=0),
            _twice(encoding),
            tf.concat([layout, boxes], axis=0),
        )  # [2B, H, W, 3]
        selected, reconstructed = tf.split(fakes, 2)  # [B, H, W, 3] each

        images, layouts = [real, selected, reconstructed], [boxes, layout, boxes]
        maps = [self.perceptual.maps(each) for each in images]
        judge = Judge(self.config, self.discriminators, self.perceptual.maps)
        count = 1 + judged_paths(self.config)
        of_real, *of_fakes = judge(images[:count], layouts[:count], mask, row_seeds, maps[:count])
        if len(of_fakes) > 1:
            reconstructed_crops = of_fakes[1].crops  # [B, O, S, S, 3]
        else:
            reconstructed_crops = self.discriminators.crops(reconstructed, boxes)  # [B, O, S, S, 3]
        target, target_maps = real, maps[0]
        if self.config.training.exchanged_patches:
            # Exchanged patches have no counterpart but the image itself.
            share = outside(boxes, mask & ~kept, self.config.data.image_size)  # [B, H, W, 1]
            target = share * real + (1.0 - share) * tf.stop_gradient(reconstructed)  # [B, H, W, 3]
            target_maps = self.perceptual.maps(target)
        # In predicted boxes the images are not meant to agree.
        comparable = tf.cast(~in_predicted, tf.float32)  # [B]
        generator = {
            **generator_terms(of_fakes, objects, mask, form=form),
            **retrieval_losses(self.config.retrieval, retrieved, mask, anchors, boxes),
            "reconstruction": reconstruction_loss(reconstructed, target),
            **losses_of_boxes,
            "perceptual_image": self.perceptual.between(maps[2], target_maps)
            + settings.perceptual_selected_share
            * comparable
            * self.perceptual.between(maps[1], maps[0]),
            "perceptual_object": self._object_distance(reconstructed_crops, of_real.crops, kept),
        }
        generator |= own_terms(
            self._own_losses,
            StepOutputs(
                batch,
                mask,
                predicted_boxes,
                retrieved.crops,
                retrieved.choice_ids,
                selected,
                reconstructed,
            ),
        )
        discriminator = discriminator_terms(of_real, of_fakes, objects, mask, form=form)
        if GRADIENT_PENALTY in self.discriminator_weights:
            discriminator[GRADIENT_PENALTY] = judge.penalty(real, of_real.crops, mask, self.step)
        return LossTerms(
            generator,
            discriminator,
            {
                "retrieval/scale": networks.embedding.scale,
                "retrieval/temperature": temperature,
                "layout/predicted_share": self.predicted_share(),
                "layout/generalised_iou": 1.0 - tf.reduce_mean(losses_of_boxes["box_overlap"]),
                **retrieved.monitors,
            },
        )

    def start(self) -> None:
        """Starts the retriever; `fit` and the first step do so if nobody has."""
        self.retriever.start()

    def make_train_function(self, force: bool = False) -> Callable:
        """See Keras; `fit` calls it before the replicas begin."""
        self.start()
        return super().make_train_function(force)

    @tf.autograph.experimental.do_not_convert  # a quarter of the time of tracing, for nothing
    def train_step(self, batch: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """See `AdversarialModel`."""
        with tf.init_scope():  # a loop without `fit` gets here while the step is traced
            self.start()
        return super().train_step(batch)

    def state(self) -> dict[str, tf.Module]:
        """See `GuardedModel`."""
        return {**super().state(), **self.retriever.state()}

    def finish_step(self) -> None:
        """See `Retriever.finish_step`."""
        self.retriever.finish_step(self.step)

    def temperature(self) -> tf.Tensor:
        """The softmax temperature of the current step (method §3.6)."""
        settings = self.config.retrieval
        return exponential_temperature(
            self.step,
            start=settings.temperature_start,
            end=settings.temperature_end,
            anneal_steps=int(settings.temperature_anneal_fraction * self.config.training.steps),
        )

    def predicted_share(self) -> tf.Tensor:
        """Scalar float32: share of scenes whose retrieved patches go into predicted boxes.

        0 at first, then rising linearly to its full value at the end of the stage: first the
        predictor must learn, and at test time there are only predicted boxes.
        """
        settings = self.config.training
        start = settings.predicted_boxes_from * settings.steps
        rise = tf.cast(self.step, tf.float32) - start  # []
        length = max(settings.steps - start, 1.0)
        return settings.predicted_boxes * tf.clip_by_value(rise / length, 0.0, 1.0)

    def _altered_patches(
        self,
        own: tf.Tensor,
        retrieved: Retrieved,
        mask: tf.Tensor,
        row_seeds: Callable[[Purpose], tf.Tensor],
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Own patches as given to the reconstruction path, see `own_patches`.

        Returns:
          [B, O, h, w, 3] float32, and [B, O] bool: which objects still have their own.
        """
        settings = self.config.training
        if settings.relit_patches:
            seeds = row_seeds(Purpose.RELIT_PATCHES)  # [B, 2]
            is_relit = _drawn(seeds, settings.relit_patches)[:, None, None, None, None]
            present = tf.cast(mask, tf.float32)[:, :, None, None, None]  # [B, O, 1, 1, 1]
            own = tf.where(is_relit, relit(own, seeds) * present, own)  # [B, O, h, w, 3]
        if not settings.exchanged_patches:
            return own, mask
        seeds = row_seeds(Purpose.EXCHANGED_PATCHES)  # [B, 2]
        some = row_uniforms(seeds, [mask.shape[1], 1])[..., 0] < _EXCHANGED  # [B, O]
        exchanged = some & _drawn(seeds, settings.exchanged_patches)[:, tf.newaxis]  # [B, O]
        exchanged &= mask & (retrieved.choice_ids >= 0)  # [B, O]
        own = tf.where(exchanged[:, :, None, None, None], retrieved.crops, own)
        return own, mask & ~exchanged

    def _object_distance(self, crops: tf.Tensor, target: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Perceptual distance of object crops: [B, O, S, S, 3] twice -> [B]."""
        present = PresentObjects(mask, keeps_padding=compiles(self.config))  # M objects
        distance = self.perceptual(present.take(crops), present.take(target))  # [M]
        return mean_over_objects(present.put(distance), mask)

    def _in_predicted_boxes(self, seeds: tf.Tensor) -> tf.Tensor:
        """[B] bool: rows of this step that are generated in their predicted boxes."""
        return _drawn(seeds, self.predicted_share())

    def _generate(self, crops: tf.Tensor, encoding: GraphEncoding, boxes: tf.Tensor) -> tf.Tensor:
        """[B, H, W, 3]; with `recompute`, inner values are recomputed for the gradient."""
        if not self.config.training.recompute:
            return self.networks.generator(crops, encoding, boxes)

        def generate(crops, object_vectors, image_vector, predicate_vectors, boxes):
            vectors = {
                "object_vectors": object_vectors,
                "image_vector": image_vector,
                "predicate_vectors": predicate_vectors,
            }
            return self.networks.generator(crops, encoding._replace(**vectors), boxes)

        return recomputed(generate)(
            crops,
            encoding.object_vectors,
            encoding.image_vector,
            encoding.predicate_vectors,
            boxes,
        )


def generator_losses(config: Config) -> tuple[str, ...]:
    """Names of the generator's losses in the joint stage, without those of the user."""
    settings = flat_settings(config)
    return tuple(
        entry.name for entry in GENERATOR_LOSSES if not entry.switch or settings[entry.switch]
    )


def judged_paths(config: Config) -> int:
    """How many of the paths the discriminators see: the selection path, or that and the other."""
    return 1 if config.discriminators.judged == "selected" else 2


def _drawn(seeds: tf.Tensor, share: tf.Tensor | float) -> tf.Tensor:
    """[B] bool: a random share of the rows, by their seeds [B, 2]."""
    # 24 bits of the seed as a number in [0, 1).
    bits = tf.bitwise.bitwise_and(seeds[:, 0], 0xFFFFFF)  # [B]
    return tf.cast(bits, tf.float32) / 2.0**24 < share  # [B]


def _twice(encoding: GraphEncoding) -> GraphEncoding:
    return GraphEncoding(*[tf.concat([part, part], axis=0) for part in encoding])
