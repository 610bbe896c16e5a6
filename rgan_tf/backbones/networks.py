"""The available pretrained networks: layers, preprocessing, weight files."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import tensorflow as tf

from rgan_tf import registered_names
from rgan_tf.arguments import list_of, whole_number
from rgan_tf.errors import BadInput

# Mean colour of ImageNet in BGR, 0..255, which Caffe's networks subtract.
CAFFE_MEAN_BGR = (103.939, 116.779, 123.68)

PREPROCESSINGS = ("symmetric", "caffe", "none")
"""x / 127.5 - 1; BGR minus the mean colour; as they are, for a network that does it itself."""


@dataclasses.dataclass(frozen=True)
class NetworkSpec:
    """Describes one pretrained network.

    Attributes:
      build: makes the Keras model for an input of [B, None, None, 3] with random weights.
      preprocessing: one of `PREPROCESSINGS`.
      weight_files: names of files with every layer; none: `build` gives trained weights.
      partial_weight_files: names of files with only the layers for `feature_layers`.
      download: path below the Keras Applications store, or None.
      feature_layers: layers whose mean-pooled maps are the retrieval features.
      feature_input_size: px; crops are resized to it for the retrieval features.
      final_layer: layer whose mean-pooled map is the feature of a Fréchet distance.
      final_input_size: px; images are resized to it for the final features.
      perceptual_layers: layers whose maps the perceptual distance compares.
      perceptual_weights: weight of each map's mean absolute difference.
      classifier_files: those of `weight_files` that also hold the classifier: a softmax over the
        1000 classes of ImageNet on the final features.
      is_numbered: Keras numbers the layers in order of creation, so their names match those of the
        file only by chance; the weights are read in file order.
    """

    build: Callable[[], tf.keras.Model]
    preprocessing: str
    weight_files: tuple[str, ...]
    partial_weight_files: tuple[str, ...]
    download: str | None
    feature_layers: tuple[str, ...]
    feature_input_size: int
    final_layer: str
    final_input_size: int
    perceptual_layers: tuple[str, ...]
    perceptual_weights: tuple[float, ...]
    classifier_files: tuple[str, ...] = ()
    is_numbered: bool = False


def _balanced(*unrelated: float) -> tuple[float, ...]:
    """Weights that give every layer the same share of a distance of 1.

    Args:
      *unrelated: per layer, the mean absolute difference between the maps of two unrelated
        photographs, measured at 64 px on pairs of 256 COCO training images.

    Returns:
      Weights under which two unrelated photographs are at distance 1. Without them the layer with
      the largest activations would dominate: they differ by a factor of 15 in SqueezeNet.
    """
    return tuple(1.0 / (len(unrelated) * value) for value in unrelated)


def preprocess(images: tf.Tensor, preprocessing: str) -> tf.Tensor:
    """Converts images [B, H, W, 3] float32 in 0..255, RGB, to the network's input format."""
    if preprocessing == "none":
        return images
    if preprocessing == "symmetric":
        return images / 127.5 - 1.0  # [B, H, W, 3]
    return images[..., ::-1] - tf.constant(CAFFE_MEAN_BGR)  # [B, H, W, 3]


def build_squeezenet() -> tf.keras.Model:
    """SqueezeNet 1.1 without its classifier.

    Iandola et al. 2016, https://arxiv.org/abs/1602.07360. Pooling drops incomplete windows, so a
    64 px image gives maps of 31, 15, 7 and 3 px, a 32 px image of 15, 7, 3 and 1 px.
    """
    layers = tf.keras.layers
    inputs = layers.Input([None, None, 3])
    x = layers.Conv2D(64, 3, strides=2, activation="relu", name="conv1")(inputs)
    squeezes = {2: 16, 3: 16, 4: 32, 5: 32, 6: 48, 7: 48, 8: 64, 9: 64}
    for index, squeeze in squeezes.items():
        if index in (2, 4, 6):
            x = layers.MaxPooling2D(3, strides=2, name=f"pool{index - 1}")(x)
        name = f"fire{index}"
        x = layers.Conv2D(squeeze, 1, activation="relu", name=f"{name}/squeeze1x1")(x)
        narrow = layers.Conv2D(4 * squeeze, 1, activation="relu", name=f"{name}/expand1x1")(x)
        wide = layers.Conv2D(
            4 * squeeze, 3, padding="same", activation="relu", name=f"{name}/expand3x3"
        )(x)
        x = layers.Concatenate(name=name)([narrow, wide])
    return tf.keras.Model(inputs, x, name="squeezenet")


def _application(name: str) -> Callable[[], tf.keras.Model]:
    def build() -> tf.keras.Model:
        make = getattr(tf.keras.applications, name)
        return make(include_top=False, weights=None, input_shape=(None, None, 3))

    return build


_MOBILENET_LAYERS = (
    "block_1_expand_relu",
    "block_3_expand_relu",
    "block_6_expand_relu",
    "block_13_expand_relu",
)

SPECS: dict[str, NetworkSpec] = {
    "mobilenet_v2": NetworkSpec(
        build=_application("MobileNetV2"),
        preprocessing="symmetric",
        weight_files=(
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
            "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",
        ),
        partial_weight_files=("mobilenet_v2_truncated.h5",),
        download="mobilenet_v2/mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        feature_layers=_MOBILENET_LAYERS,  # 96 + 144 + 192 + 576 = 1008
        feature_input_size=64,
        final_layer="out_relu",
        final_input_size=128,
        perceptual_layers=_MOBILENET_LAYERS,
        perceptual_weights=_balanced(0.959, 0.952, 0.848, 0.499),
        classifier_files=("mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5",),
    ),
    "squeezenet": NetworkSpec(
        build=build_squeezenet,
        preprocessing="caffe",
        weight_files=("squeezenet_v1.1_keras_notop.h5",),
        partial_weight_files=(),
        download=None,
        feature_layers=("fire3", "fire5", "fire7", "fire9"),  # 128 + 256 + 384 + 512 = 1280
        feature_input_size=64,
        final_layer="fire9",
        final_input_size=128,
        perceptual_layers=("conv1", "fire3", "fire5", "fire7", "fire9"),
        perceptual_weights=_balanced(23.4, 43.1, 38.9, 21.1, 2.93),
    ),
    "resnet50": NetworkSpec(
        build=_application("ResNet50"),
        preprocessing="caffe",
        weight_files=("resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",),
        partial_weight_files=(),
        download="resnet/resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
        feature_layers=("conv5_block3_out",),  # 2048
        feature_input_size=128,
        final_layer="conv5_block3_out",
        final_input_size=128,
        perceptual_layers=(),
        perceptual_weights=(),
    ),
    "vgg19": NetworkSpec(
        build=_application("VGG19"),
        preprocessing="caffe",
        weight_files=("vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",),
        partial_weight_files=(),
        download="vgg19/vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5",
        feature_layers=(),
        feature_input_size=64,
        final_layer="block5_pool",
        final_input_size=128,
        perceptual_layers=tuple(f"block{index}_conv1" for index in range(1, 6)),
        # The customary 1/32 .. 1 for pixels of unit deviation; those of Caffe are 58 times larger.
        perceptual_weights=tuple(weight / 58 for weight in (1 / 32, 1 / 16, 1 / 8, 1 / 4, 1.0)),
    ),
    # The weights of Keras; most published FIDs use another training, the graph of 2015.
    "inception_v3": NetworkSpec(
        build=_application("InceptionV3"),
        preprocessing="symmetric",
        weight_files=(
            "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5",
            "inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        ),
        partial_weight_files=(),
        download="inception_v3/inception_v3_weights_tf_dim_ordering_tf_kernels.h5",
        feature_layers=(),
        feature_input_size=299,
        final_layer="mixed10",  # 2048
        final_input_size=299,
        perceptual_layers=(),
        perceptual_weights=(),
        classifier_files=("inception_v3_weights_tf_dim_ordering_tf_kernels.h5",),
        is_numbered=True,
    ),
}


def register_backbone(
    name: str,
    *,
    build: Callable[[], tf.keras.Model],
    feature_layers: Sequence[str] | None = (),
    perceptual_layers: Sequence[str] | None = (),
    preprocessing: str = "symmetric",
    input_size: int = 64,
    weight_files: Sequence[str] | None = (),
) -> None:
    """Registers a pretrained network under a name for configs and commands.

    Args:
      name: for `retrieval.backbone`, `losses.perceptual_backbone`, `--backbone`.
      build: makes the Keras model for an input of [B, None, None, 3]. Its weights are frozen.
      feature_layers: layers whose concatenated mean-pooled maps are the retrieval features; none:
        it cannot be used for retrieval.
      perceptual_layers: layers whose maps the perceptual distance compares, with equal weights;
        none: it cannot be used for that.
      preprocessing: "symmetric" (x / 127.5 - 1), "caffe" (BGR minus the mean colour) or "none"
        (0..255, for a network that does it itself).
      input_size: px; crops are resized to it for the features.
      weight_files: names of h5 files, searched in `--weights-dir` and RGAN_WEIGHTS; the first one
        found is read. None: `build` provides the weights, the same ones in every process. Banks and
        evaluations remember their checksum.

    Raises:
      ValueError: if the name is taken or not a text, `build` is not a function, the preprocessing
        is unknown, the size is not a number of px, no layers are named, or layers or files are not
        a sequence of texts.

    Example:
      ```python
      import rgan_tf
      import tensorflow as tf

      rgan_tf.register_backbone(
          "efficientnet_b0",
          build=lambda: tf.keras.applications.EfficientNetB0(include_top=False),
          feature_layers=("block3a_expand_activation", "block5a_expand_activation"),
          preprocessing="none",  # its first layers do it
      )
      ```
    """
    if not (isinstance(name, str) and name.strip()):
        raise ValueError(f"backbone {name!r}: name it by a text")
    if name in SPECS:
        raise ValueError(f"backbone {name!r}: there is one of this name; choose another name")
    if preprocessing not in PREPROCESSINGS:
        known = ", ".join(PREPROCESSINGS)
        raise ValueError(f"backbone {name!r}: preprocessing must be one of {known}")
    if not callable(build) or isinstance(build, tf.keras.Model):
        raise ValueError(f"backbone {name!r}: build must be a function that makes the Keras model")
    try:
        size = whole_number(input_size, "input_size")
        features, perceptual, files = (
            () if names is None else list_of(names, "layers and files", str, "texts")
            for names in (feature_layers, perceptual_layers, weight_files)
        )
    except BadInput as error:
        raise ValueError(f"backbone {name!r}: {error}") from error
    if size < 1:
        raise ValueError(f"backbone {name!r}: input_size must be at least 1 px, got {size}")
    if not features and not perceptual:
        raise ValueError(f"backbone {name!r}: name its feature_layers or perceptual_layers")
    SPECS[name] = NetworkSpec(
        build=build,
        preprocessing=preprocessing,
        weight_files=files,
        partial_weight_files=(),
        download=None,
        feature_layers=features,
        feature_input_size=size,
        final_layer=(features or perceptual)[-1],
        final_input_size=max(size, 128),
        perceptual_layers=perceptual,
        perceptual_weights=(1.0 / max(len(perceptual), 1),) * len(perceptual),
    )
    if features:
        registered_names.FEATURE_BACKBONES.append(name)
    if perceptual:
        registered_names.PERCEPTUAL_BACKBONES.append(name)
