"""The training step of AttnGAN's second part: the tree against its discriminators."""

from __future__ import annotations

import tensorflow as tf

from rgan_tf.config import Config, TrainingConfig, parse_augmentation
from rgan_tf.discriminators.augmentation import augment
from rgan_tf.errors import BadInput
from rgan_tf.fixed_order import sum_of
from rgan_tf.model.adversarial_model import LossTerms
from rgan_tf.rivals.attngan.damsm import DamsmEncoders, Features
from rgan_tf.rivals.attngan.discriminators import AttnganDiscriminators, StageCritic, pyramid_of
from rgan_tf.rivals.attngan.image_encoder import ImageEncoder, Regions, frozen_features
from rgan_tf.rivals.attngan.matching import TERMS, matching_losses
from rgan_tf.rivals.attngan.networks import AttnganRival
from rgan_tf.rivals.attngan.rows import across_replicas, of_replica
from rgan_tf.rivals.attngan.sizes import Sizes, scaled
from rgan_tf.rivals.attngan.text_encoder import Text
from rgan_tf.rivals.attngan.tokens import same_text, triple_order
from rgan_tf.rivals.rival import Game, RivalModel
from rgan_tf.seeds import Purpose, derive_seed
from rgan_tf.vocabulary import Vocabulary


class AttnganRivalModel(RivalModel):
    """Trains AttnGAN as published, with the encoders that DAMSM left.

    All random numbers but the shift of the wrong texts are a row's own, and so are all terms but
    two: the matching loss tells the texts of the whole batch apart, over all replicas, and the
    wrong text of a real image comes from another row.

    Args:
      config: see `RivalModel`; also the weight of the matching loss.
      networks, average: of the same sizes.
      discriminators: of AttnGAN.
      encoders: of DAMSM, frozen; with the text encoder of `networks`.
    """

    networks: AttnganRival
    average: AttnganRival
    discriminators: AttnganDiscriminators

    def __init__(
        self,
        config: Config,
        networks: AttnganRival,
        average: AttnganRival,
        discriminators: AttnganDiscriminators,
        encoders: DamsmEncoders,
        **kwargs,
    ):
        terms = [_term(side, discriminators.sides) for side in discriminators.sides]
        generator_weights = {
            **dict.fromkeys(terms, 1.0),
            **dict.fromkeys(TERMS, config.attngan.matching_weight),
            "kl": 1.0,
        }
        game = Game(generator_weights, dict.fromkeys(terms, 1.0), betas=(0.5, 0.999))
        super().__init__(config, networks, average, discriminators, game=game, **kwargs)
        encoders.trainable = False
        self.encoders = encoders

    def state(self) -> dict[str, tf.Module]:
        """See `GuardedModel`; the text encoder is part of the networks."""
        return {**super().state(), "image_encoder": self.encoders.image_encoder}

    def take_encoders(self) -> None:
        """Copies the text encoder into the moving average, after DAMSM's weights were loaded."""
        pairs = zip(
            self.average.text_encoder.variables, self.networks.text_encoder.variables, strict=True
        )
        for target, source in pairs:
            target.assign(source)

    def compute_terms(self, batch: dict[str, tf.Tensor], first_row: tf.Tensor) -> LossTerms:
        graph = {"objects": batch["objects"], "triples": batch["triples"]}
        rows = tf.shape(graph["objects"])[0]  # B

        def row_seeds(purpose: Purpose) -> tf.Tensor:
            return self.batch_seeds(purpose, first_row, rows)  # [B, 2]

        order = triple_order(graph["triples"], row_seeds(Purpose.TRIPLE_ORDER))  # [B, T]
        text = self.networks.read(graph, order)
        noises = self.networks.draw_noise(
            row_seeds(Purpose.IMAGE_NOISE), row_seeds(Purpose.CONDITION_NOISE)
        )  # [B, noise], [B, code]
        made = self.networks.generator(text, *noises)
        same = same_text(across_replicas(self.networks.texts.keys(graph), first_row))  # [A, A]
        wrong, has_wrong = self._wrong_sentences(text.sentence, same, first_row)  # [B, D], [B]

        generator = self._matching(text, made.images[-1], same, first_row)
        generator["kl"] = kl_loss(made.mean, made.log_variance)  # [B]
        discriminator = {}
        real = pyramid_of(batch["image"], len(made.images))  # [B, s, s, 3] each
        kinds = parse_augmentation(self.config.discriminators.augmentation)
        seeds = row_seeds(Purpose.IMAGE_AUGMENTATION)  # [B, 2]
        for side, critic, of_real, of_fake in zip(
            self.discriminators.sides, self.discriminators.critics, real, made.images, strict=True
        ):
            if kinds:
                of_real, of_fake = (augment(part, seeds, kinds) for part in (of_real, of_fake))
            term = _term(side, self.discriminators.sides)
            generator[term], discriminator[term] = stage_losses(
                critic, of_real, of_fake, text.sentence, wrong, has_wrong
            )
        return LossTerms(generator, discriminator, {})

    def _wrong_sentences(
        self, sentence: tf.Tensor, same: tf.Tensor, first_row: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """A sentence [B, D] of another text for every row, and whether there is one: [B] bool."""
        seed = derive_seed(self.run_seed, self.step, 0, Purpose.WRONG_TEXT)  # [2]
        other = wrong_rows(same, seed)  # [A], -1 = none
        other = of_replica(other, first_row, tf.shape(sentence)[0])  # [B]
        everyone = across_replicas(sentence, first_row)  # [A, D]
        return tf.gather(everyone, tf.maximum(other, 0)), other >= 0

    def _matching(
        self, text: Text, images: tf.Tensor, same: tf.Tensor, first_row: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """`TERMS` -> [B] float32, of the rows of this replica among those of all, A.

        Their gradient is that of the losses of all rows, as a row's image is a negative for the
        texts of the others. Each replica differentiates with respect to its own images only.
        """
        seen = self.encoders.encode_image(images)
        everyone = Text(*(across_replicas(part, first_row) for part in text))
        image = Regions(*(across_replicas(part, first_row) for part in seen))
        losses = matching_losses(
            everyone, image, same, averages=self.config.attngan.averages_words
        )  # [A] each
        rows = tf.shape(images)[0]  # B
        own = {}
        for term, values in losses.items():
            mine = of_replica(values, first_row, rows)  # [B]
            others = tf.reduce_sum(values) - tf.reduce_sum(mine)  # []
            slope = (others - tf.stop_gradient(others)) / tf.cast(rows, others.dtype)  # [], 0
            own[term] = mine + slope  # [B]
        return own


def stage_losses(
    critic: StageCritic,
    real: tf.Tensor,
    fake: tf.Tensor,
    sentence: tf.Tensor,
    wrong: tf.Tensor,
    has_wrong: tf.Tensor,
) -> tuple[tf.Tensor, tf.Tensor]:
    """The game of one stage.

    Args:
      critic: of this stage.
      real, fake: [B, s, s, 3] float32.
      sentence: [B, D] float32, of both.
      wrong: [B, D] float32, of other texts.
      has_wrong: [B] bool, whether there is one.

    Returns:
      The losses of the generator and of the discriminator, [B] float32 each; both 2 log 2 where
      nothing is told apart.
    """
    maps = critic.trunk(tf.concat([real, fake], axis=0))  # [2 B, 4, 4, c]
    of_real, of_fake = tf.split(maps, 2)  # [B, 4, 4, c] each
    real_alone, fake_alone = tf.split(critic.unconditional(maps), 2)  # [B] each
    pairs = critic.conditional(
        tf.concat([of_real, of_fake, of_real], axis=0),
        tf.concat([sentence, sentence, wrong], axis=0),
    )  # [3 B]
    real_pair, fake_pair, wrong_pair = tf.split(pairs, 3)  # [B] each
    generator = is_real(fake_alone) + is_real(fake_pair)  # [B]
    of_wrong = tf.where(has_wrong, is_fake(wrong_pair), 0.0)  # [B]
    reals = sum_of([is_real(real_alone), is_real(real_pair)])  # [B]
    fakes = sum_of([is_fake(fake_alone), is_fake(fake_pair), of_wrong])  # [B]
    return generator, reals / 2.0 + fakes / 3.0


def is_real(logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the answer "real", element by element."""
    return tf.nn.softplus(-logits)


def is_fake(logits: tf.Tensor) -> tf.Tensor:
    """Cross-entropy of the answer "generated, or of another text"."""
    return tf.nn.softplus(logits)


def kl_loss(mean: tf.Tensor, log_variance: tf.Tensor) -> tf.Tensor:
    """Divergence of N(mean, variance) [B, C] from N(0, I), a mean over the numbers -> [B]."""
    return -0.5 * tf.reduce_mean(
        1.0 + log_variance - tf.square(mean) - tf.exp(log_variance), axis=-1
    )


def wrong_rows(same: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """For every row another row with another text: the first one after a shift that all share.

    Args:
      same: [A, A] bool, pairs of one text.
      seed: [2] int32, of the shift.

    Returns:
      [A] int32; -1 where all rows have the same text.
    """
    count = tf.shape(same)[0]  # A
    shift = tf.random.stateless_uniform(
        [], seed, minval=0, maxval=tf.maximum(count, 1), dtype=tf.int32, alg="philox"
    )
    places = tf.range(count)  # [A]
    distance = (places - places[:, tf.newaxis] - shift) % count  # [A, A], from a row to another
    distance = tf.where(same, count, distance)  # [A, A]
    nearest = tf.argmin(distance, axis=1, output_type=tf.int32)  # [A]
    return tf.where(tf.reduce_all(same, axis=1), -1, nearest)  # [A]


def _term(side: int, sides: tuple[int, ...]) -> str:
    """The name of a stage's game; the last stage's is that of every system's image."""
    return "adversarial_image" if side == sides[-1] else f"adversarial_image_{side}"


def check_devices(settings: TrainingConfig, replicas: int) -> None:
    """Refuses to compile a step for several devices, which have to exchange what they see in it.

    Raises:
      BadInput: then.
    """
    if settings.jit_compile is True and replicas > 1:
        raise BadInput(
            "training.jit_compile: AttnGAN's step cannot be compiled for several devices; set it "
            "to false, or train on one"
        )


def build_attngan(
    config: Config,
    vocabulary: Vocabulary,
    sizes: Sizes | None = None,
    *,
    features: Features | None = None,
) -> AttnganRivalModel:
    """The compiled model with new weights; those of its encoders have to be loaded.

    Args:
      config: gives the image size, rates, guard and the weight of the matching loss.
      vocabulary: gives the words.
      sizes: widths; None takes ours, `PUBLIC` has those as published.
      features: the frozen network; None loads the one that ships with the project.

    Raises:
      BadInput: see `check_devices`.
    """
    check_devices(config.training, tf.distribute.get_strategy().num_replicas_in_sync)
    size = config.data.image_size
    sizes = sizes or scaled(size, config.attngan.stages)
    networks = AttnganRival(vocabulary, sizes, image_size=size)
    encoders = DamsmEncoders(
        networks.text_encoder, ImageEncoder(joint=sizes.joint), features or frozen_features()
    )
    model = AttnganRivalModel(
        config,
        networks,
        AttnganRival(vocabulary, sizes, image_size=size),
        AttnganDiscriminators(sizes, image_size=size),
        encoders,
    )
    model.compile()
    return model
