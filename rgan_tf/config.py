"""All settings of a run, as frozen dataclasses; `rgan_tf.config_files` reads them.

Comments give units and, where the paper leaves a value open, the reason for the default.
"""

from __future__ import annotations

import dataclasses
import typing
from typing import Any

from rgan_tf import registered_names

AUGMENTATIONS = ("color", "translation", "cutout")
"""Values of `discriminators.augmentation`, in the order of application."""

SMALLEST_IMAGE = 32
"""Side of an image in px; below it the perceptual networks' maps are empty."""

Switch = bool | typing.Literal["auto"]
"""On, off, or as the machine allows."""


def _number(default: float, **bounds: float) -> Any:
    """A number within `least`, `above`, `below` and `most`; others are above 0, in 32 bits."""
    return dataclasses.field(default=default, metadata=bounds)


def _from_zero(default: float) -> Any:
    return _number(default, least=0)


def _share(default: float) -> Any:
    return _number(default, least=0, most=1)


def _one_of(*choices: str) -> Any:
    """One of several names; the first is the default."""
    return _registered(choices)


def _registered(names: typing.Sequence[str]) -> Any:
    """One of several names to which plugins can add; the first is the default."""
    return dataclasses.field(default=names[0], metadata={"choices": names})


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """Sizes of one example, to which all batched tensors are padded."""

    image_size: int = 64  # px, square
    crop_size: int = 32  # px, square; input of the crop encoder
    max_objects: int = 8  # O, without the image node
    max_triples: int = 16  # T, without the triples to the image node
    flip: bool = False  # mirror half of the training images, with their predicates
    bank_on_device: bool = False  # keep what steps read of it there, if K > exact_candidates
    incomplete_scenes: float = _share(0.0)  # share of training scenes without some of their objects
    redraw_relations: bool = False  # geometric ones, anew for every epoch of training


@dataclasses.dataclass(frozen=True)
class GraphConfig:
    """Scene-graph encoder and box predictor."""

    width: int = 128  # size of object and predicate vectors
    hidden: int = 512  # width inside a graph convolution
    layers: int = 5  # graph convolutions
    box_hidden: int = 512  # width inside the box predictor
    instance_codes: bool = False  # boxes of interchangeable objects are ordered left to right


@dataclasses.dataclass(frozen=True)
class RetrievalConfig:
    """Pre-filter, patch embedding and group selection."""

    backbone: str = _registered(registered_names.FEATURE_BACKBONES)  # of the patch features
    candidates: int = 10  # K, per object
    choice: str = _registered(registered_names.RETRIEVERS)  # all but "learned" are baselines
    index: str = _one_of("auto", "exact", "scann")  # auto measures which is faster for a large bank
    redraw_every_steps: int = _from_zero(0)  # redraws half the candidates by the current embedding
    exact_candidates: int = 32  # up to this K, all are loaded and embedded in every step
    loaded_candidates: int = 8  # above it, this many are loaded; the rest use cached vectors
    cache_max_age_steps: int = 500  # maximum age of a cached vector
    embedding_sizes: tuple[int, ...] = (512, 256, 128)  # layers of the patch embedding; last is D
    embedding_start: str = _one_of("random", "frozen")  # frozen: whitened features + zero layers
    embedding_steps: int = _from_zero(0)  # of φ alone, by the selection loss; before the joint ones
    embedding_scenes: int = 32  # per step of φ alone
    embedding_learning_rate: float = 5e-4  # of φ alone
    straight_through: bool = True  # one-hot weights with a soft gradient, or soft weights
    gradient: str = _one_of("within_group", "expected", "paper")  # of the straight-through weights
    initial_scale: float = 10.0  # multiplies the distances; learned
    temperature_start: float = 1.0  # of the relaxed selection
    temperature_end: float = 1.0  # does not affect the choice; a low one makes gradients noisier
    temperature_anneal_fraction: float = _share(1 / 3)  # of the joint stage's steps
    selection_loss: str = _one_of("one_step", "iterative", "every_object")  # method §4.1
    cooccurrence_loss: str = _one_of("expected", "sampled")  # expected: sampled without the noise
    shared_pixels: bool = False  # whether overlapping objects are used to train compatibility
    half_size_patches: float = _share(0.0)  # share that φ sees in training as in images half as big


@dataclasses.dataclass(frozen=True)
class CooccurrenceConfig:
    """The triplet embedding of stage 2."""

    sizes: tuple[int, ...] = (512, 128)  # layers of the embedding; last is Dc
    margin: float = _number(0.2, least=0, most=2)  # of the triplet loss
    same_category_negatives: float = _share(0.5)  # share of the negatives
    shared_pixels: bool = False  # whether overlapping patches of one image are also positives
    triplets_per_step: int = 64
    steps: int = _from_zero(2000)
    learning_rate: float = 1e-3


@dataclasses.dataclass(frozen=True)
class GeneratorConfig:
    """Crop encoder, object-object refiner, object-image fuser, decoder."""

    crop_channels: int = 64
    refiner_layers: int = 2
    refiner_hidden: int = 128
    canvas_channels: int = 96
    canvas_blocks: int = _from_zero(3)
    decoder_channels: tuple[int, ...] = (64, 32)  # one entry per doubling from a quarter
    attention_weight: float = _from_zero(1.0)  # lambda_attn of equation (9)
    composition: bool = False  # keep the patches' pixels, with a gain and bias per pixel
    masks: bool = False  # a soft mask of each patch: an object does not fill its box
    skip: bool = False  # finer maps of the patches for the decoder's first doubling


@dataclasses.dataclass(frozen=True)
class Sg2imConfig:
    """The parametric decoder of stage 1."""

    layout_channels: int = 64
    decoder_channels: tuple[int, ...] = (128, 128, 96, 64, 32)  # one per doubling up to the image
    steps: int = _from_zero(4000)


@dataclasses.dataclass(frozen=True)
class DiscriminatorConfig:
    """Image and object discriminators."""

    image_channels: tuple[int, ...] = (64, 128, 256)
    object_channels: tuple[int, ...] = (64, 128, 256)
    object_crop_size: int = _number(32, least=SMALLEST_IMAGE)  # px
    spectral_normalization: bool = True
    judged: str = _one_of("both", "selected")  # paths of the joint stage that they judge
    augmentation: str = "none"  # of real and generated images: color,translation,cutout or some
    gradient_penalty: float = _from_zero(0.0)  # gamma of R1, on real images and crops; 0: off
    gradient_penalty_every_steps: int = 8  # steps between penalties, and factor on each
    feature: bool = False  # heads on the maps of losses.perceptual_backbone too; joint stage
    feature_channels: int = 64  # of the maps after fixed random mixing, and of the heads


@dataclasses.dataclass(frozen=True)
class LossConfig:
    """Form of the adversarial loss, the nine weights of equation (7), and two of our own."""

    adversarial: str = _one_of("hinge", "non_saturating")
    perceptual_backbone: str = _registered(registered_names.PERCEPTUAL_BACKBONES)
    selection: float = _from_zero(0.1)
    cooccurrence: float = _from_zero(1e-4)
    adversarial_image: float = _from_zero(1.0)
    adversarial_object: float = _from_zero(1.0)
    adversarial_feature: float = _from_zero(0.1)  # of discriminators.feature; not in the paper
    reconstruction: float = _from_zero(1.0)
    box: float = _from_zero(10.0)
    box_overlap: float = _from_zero(0.0)  # 1 - generalised IoU of predicted boxes; not in the paper
    auxiliary: float = _from_zero(0.1)
    perceptual_image: float = _from_zero(1.0)
    perceptual_object: float = _from_zero(0.5)
    perceptual_selected_share: float = _share(0.5)  # of perceptual_image, on the selection path


@dataclasses.dataclass(frozen=True)
class AttnganConfig:
    """What only training.system=attngan has; see rgan_tf/rivals/attngan."""

    damsm_steps: int = _from_zero(2000)  # of its first training, that of the encoders
    damsm_batch_size: int = _number(48, least=2)  # every text is told apart from the others of it
    damsm_learning_rate: float = 2e-3
    matching_weight: float = _from_zero(50.0)  # lambda, of DAMSM's losses for the generator
    averages_words: bool = False  # in the matching; published: their sum, which favours long texts
    stages: int = _number(0, least=0, most=4)  # of the tree; 1: no words; 0: 3 up to 64 px, else 2


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """Optimisation of stages 1 and 3, checkpoints and logs."""

    system: str = _one_of("retrievegan", *registered_names.RIVALS)  # what stage 3 trains
    batch_size: int = 16  # per update: over all replicas and parts
    scale_with_replicas: str = _one_of("none", "linear", "sqrt")  # batch and rates, at the start
    accumulate_steps: int = 1  # parts that a replica computes one after another, to save memory
    precision: str = _one_of("float32", "bfloat16", "float16")  # of generators and discriminators
    jit_compile: Switch = "auto"  # XLA for the step; auto: see `rgan_tf.devices.compiles`
    recompute: bool = False  # of generator and discriminators for the gradient, to save memory
    steps: int = _from_zero(400_000)  # of the joint stage
    generator_learning_rate: float = 2.5e-4
    discriminator_learning_rate: float = 1e-3
    beta_1: float = _number(0.0, least=0, below=1)
    beta_2: float = _number(0.9, least=0, below=1)
    epsilon: float = 1e-7  # of Adam; a larger one magnifies rounding of tiny gradients less
    ema_decay: float = _share(0.999)
    loss_upper_bound: float = 1e6  # a step with a loss above it is skipped, as for NaN
    loss_jump: float = _number(20.0, above=1)  # likewise above this many times (1 + its usual size)
    relit_patches: float = _share(0.0)  # share of reconstructions from relit patches
    exchanged_patches: float = _share(0.0)  # share of reconstructions with some retrieved patches
    predicted_boxes: float = _share(0.0)  # share of scenes generated in predicted boxes, at the end
    predicted_boxes_from: float = _share(0.5)  # share of the joint stage after which that rises
    seed: int = _number(0, least=0, most=2**31 - 1)
    log_every_steps: int = 50
    picture_every_steps: int = 1000
    checkpoint_every_steps: int = 500
    deterministic: bool = False


@dataclasses.dataclass(frozen=True)
class Config:
    """One experiment.

    Example:
      ```python
      import rgan_tf

      config = rgan_tf.load_config("procedural_64", ["training.batch_size=4"])
      assert isinstance(config, rgan_tf.Config) and config.training.batch_size == 4
      ```
    """

    name: str = "unnamed"
    data: DataConfig = DataConfig()
    graph: GraphConfig = GraphConfig()
    retrieval: RetrievalConfig = RetrievalConfig()
    cooccurrence: CooccurrenceConfig = CooccurrenceConfig()
    generator: GeneratorConfig = GeneratorConfig()
    sg2im: Sg2imConfig = Sg2imConfig()
    discriminators: DiscriminatorConfig = DiscriminatorConfig()
    losses: LossConfig = LossConfig()
    attngan: AttnganConfig = AttnganConfig()
    training: TrainingConfig = TrainingConfig()


def changed(config: Config, **sections: dict[str, Any]) -> Config:
    """A config with other values: section -> key -> value. They are not checked."""
    replaced = {
        name: dataclasses.replace(getattr(config, name), **values)
        for name, values in sections.items()
    }
    return dataclasses.replace(config, **replaced)


def parse_augmentation(text: str) -> tuple[str, ...]:
    """Reads names of augmentations from one string.

    Args:
      text: names from `AUGMENTATIONS` in any order, separated by commas; "none" or "" for none.

    Returns:
      The names in the order of `AUGMENTATIONS`.

    Raises:
      ValueError: for an unknown or repeated name.
    """
    if text.strip() in ("", "none"):
        return ()
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in AUGMENTATIONS:
            allowed = ", ".join(AUGMENTATIONS)
            raise ValueError(f"augmentation must be none or some of {allowed}; got {name!r}")
        if names.count(name) > 1:
            raise ValueError(f"augmentation names {name} twice: {text!r}")
    return tuple(name for name in AUGMENTATIONS if name in names)
