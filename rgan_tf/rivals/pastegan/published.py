"""PasteGAN's generator with its published modules.

Batch normalisation is group normalisation, as in every rival; what else differs stands in the
room's docstring.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from rgan_tf.generator import blocks
from rgan_tf.generator.fuser import weighted_sum
from rgan_tf.generator.layout import box_coverage, warp_to_boxes
from rgan_tf.graph import tensors
from rgan_tf.graph.encoder import GraphEncoding
from rgan_tf.rivals.normalization import group_normalization
from rgan_tf.rivals.pastegan.flow import SLOPE, FlowNet
from rgan_tf.rivals.pastegan.sizes import Sizes
from rgan_tf.rivals.sg2im.decoder import RefinementNetwork

_OUTSIDE = -1e9  # attention logit of a pixel outside the box


class PublishedCropEncoder(tf.keras.layers.Layer):
    """Halves a patch by 3 x 3 convolutions, then maps its channels.

    Args:
      channels: of the halvings.
      output: D, of the map.

    Call args:
      crops: [N, S, S, 3] float32 in [-1, 1].

    Returns:
      [N, S / 2^n, S / 2^n, D] float32.
    """

    def __init__(self, *, channels: Sequence[int], output: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.halvings = [
            _Normalised(width, 3, strides=2, name=f"halving_{index}")
            for index, width in enumerate(channels)
        ]
        self.last = _Normalised(output, 1, name="last")

    def call(self, crops: tf.Tensor) -> tf.Tensor:
        values = crops  # [N, S, S, 3]
        for layer in self.halvings:
            values = layer(values)  # [N, s, s, c]
        return self.last(values)  # [N, s, s, D]


class PublishedRefinerLayer(tf.keras.layers.Layer):
    """A graph convolution over warped maps, beside a branch of the object's own map.

    Args:
      channels: D of all maps.
      hidden: of the messages.
      flow_channels: of the flow net; 0 leaves it out.

    Call args:
      maps: [B, N, h, w, D] float32.
      predicates: [B, E, h, w, D] float32.
      triples: [B, E, 3] int32, -1 = padding.

    Returns:
      New maps [B, N, h, w, D] and predicates [B, E, h, w, D].
    """

    def __init__(self, *, channels: int, hidden: int, flow_channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.flow = FlowNet(channels=flow_channels, name="flow") if flow_channels else None
        self.split = [hidden, channels, hidden]
        self.message_hidden = _Normalised(hidden, 3, name="message_hidden")
        self.message_output = blocks.convolution(sum(self.split), 3, name="message_output")
        self.predicate_normalization = group_normalization(channels, name="predicate_normalization")
        self.pooled, self.itself = (
            tf.keras.Sequential(
                [_Normalised(hidden, 3, name="hidden"), _Normalised(channels, 1, name="output")],
                name=name,
            )
            for name in ("pooled", "itself")
        )

    def call(
        self, maps: tf.Tensor, predicates: tf.Tensor, triples: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        nodes, edges = maps.shape[1], predicates.shape[1]
        graph = tensors.dense_to_graph_tensor(maps, predicates, triples)
        warped = tensors.flatten_batch(maps)  # [B * N, h, w, D]
        if self.flow is not None:
            warped = self.flow(warped)  # [B * N, h, w, D]
        values = tf.concat(
            [
                tensors.nodes_to_edges(graph, tensors.SUBJECT_END, warped),
                tensors.flatten_batch(predicates),
                tensors.nodes_to_edges(graph, tensors.OBJECT_END, warped),
            ],
            axis=-1,
        )  # [B * E, h, w, 3 D]
        values = self.message_output(self.message_hidden(values))  # [B * E, h, w, 2 F + D]
        to_subject, new, to_object = tf.split(values, self.split, axis=-1)
        messages = (
            tensors.mean_over_edges(graph, to_subject)[0]
            + tensors.mean_over_edges(graph, to_object)[1]
        )  # [B * N, h, w, F], of all triples that touch the node at either end
        messages = tf.reshape(messages, [-1, *maps.shape[2:4], self.split[0]])  # static shape again
        update = self.pooled(messages) + self.itself(warped)  # [B * N, h, w, D]
        new = _activate(self.predicate_normalization(new))  # [B * E, h, w, D]
        inner = maps.shape[2:]
        return (
            maps + tf.reshape(update, [-1, nodes, *inner]),  # [B, N, h, w, D]
            tf.reshape(new, [-1, edges, *inner]),  # [B, E, h, w, D]
        )


class PublishedFuser(tf.keras.layers.Layer):
    """The object-image fuser at the full resolution of the image.

    With x_i and x_r the map and the repeated vector of an object and of its relation with the
    image, in the object's box: t_i = f(x_i) . q(x_r) / sqrt(C), M_i = softmax of t_i over the
    objects whose box covers the pixel, and the canvas is sum_i M_i l(f(x_i)) + x_image.

    f, q and l are 1 x 1 convolutions with bias; within a box it is the same to apply them before
    the warp.

    Args:
      channels: C of the canvas, those of a map and a vector together.

    Call args:
      maps: [B, O + 1, h, w, D] float32, the image's last.
      relations: [B, O, h, w, D] float32, of each object with the image.
      encoding: of the graphs.
      boxes: [B, O, 4] float32.
      size: H of the canvas.

    Returns:
      [B, H, H, C] float32.
    """

    def __init__(self, *, channels: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.channels = channels
        self.of_object = blocks.convolution(channels, 1, name="of_object")
        self.of_relation = blocks.convolution(channels, 1, name="of_relation")
        self.value = blocks.convolution(channels, 1, name="value")

    def call(
        self,
        maps: tf.Tensor,
        relations: tf.Tensor,
        encoding: GraphEncoding,
        boxes: tf.Tensor,
        size: int,
    ) -> tf.Tensor:
        objects = boxes.shape[1]
        keys, values = self._keys_and_values(maps[:, :-1], encoding)  # 2 x [B, O, h, w, C]
        queries = _joined(encoding.predicate_vectors[:, -objects:], relations)  # [B, O, h, w, C]
        queries = _each(self.of_relation, queries)  # [B, O, h, w, C]
        weights = self.weights(keys, queries, boxes, encoding.object_mask, size)  # [B, O, H, H]
        values = warp_to_boxes(values, boxes, size, size)  # [B, O, H, H, C]
        image = _joined(encoding.image_vector[:, tf.newaxis], maps[:, -1:])  # [B, 1, h, w, C]
        whole = tf.zeros_like(boxes[:, :1]) + tf.constant([0.0, 0.0, 1.0, 1.0])  # [B, 1, 4]
        image = warp_to_boxes(image, whole, size, size)[:, 0]  # [B, H, H, C]
        return weighted_sum(weights, values) + image  # [B, H, H, C]

    def weights(
        self,
        keys: tf.Tensor,
        queries: tf.Tensor,
        boxes: tf.Tensor,
        object_mask: tf.Tensor,
        size: int,
    ) -> tf.Tensor:
        """M_i, [B, O, size, size] float32; the sum over objects is 1 where a box covers, else 0.

        `keys` and `queries` are [B, O, h, w, C]; for the rest see `call`.
        """
        keys, queries = (warp_to_boxes(each, boxes, size, size) for each in (keys, queries))
        logits = tf.reduce_sum(keys * queries, axis=-1) / self.channels**0.5  # [B, O, H, H]
        rows, columns = box_coverage(boxes, size, size)  # 2 x [B, O, H]
        rows *= tf.cast(object_mask, rows.dtype)[..., tf.newaxis]  # [B, O, H]
        covered = rows[..., :, tf.newaxis] * columns[..., tf.newaxis, :]  # [B, O, H, H]
        logits = tf.where(covered > 0, logits, _OUTSIDE)  # [B, O, H, H]
        return tf.nn.softmax(logits, axis=1) * covered  # [B, O, H, H]

    def _keys_and_values(
        self, maps: tf.Tensor, encoding: GraphEncoding
    ) -> tuple[tf.Tensor, tf.Tensor]:
        keys = _each(self.of_object, _joined(encoding.object_vectors, maps))  # [B, O, h, w, C]
        return keys, _each(self.value, keys)


class PublishedGenerator(tf.keras.layers.Layer):
    """Crop encoder, refiner, fuser, residual blocks and decoder; the call is `ScaledGenerator`'s.

    Args:
      sizes: widths.
      image_size: H = W, in px.
      crop_size: of the patches, in px.
    """

    def __init__(self, sizes: Sizes, *, image_size: int, crop_size: int, **kwargs: Any):
        super().__init__(**kwargs)
        if sizes.canvas_channels != sizes.width + sizes.crop_channels:
            raise ValueError(
                f"the published canvas has width + crop_channels = "
                f"{sizes.width + sizes.crop_channels} channels, got {sizes.canvas_channels}"
            )
        if sizes.width != sizes.crop_channels:
            raise ValueError(
                "the published refiner reads predicate vectors as maps: width and crop_channels "
                f"must be equal, got {sizes.width} and {sizes.crop_channels}"
            )
        self.image_size, self.crop_size = image_size, crop_size
        self.crop_encoder = PublishedCropEncoder(
            channels=sizes.encoder_channels, output=sizes.crop_channels, name="crop_encoder"
        )
        self.refiner = [
            PublishedRefinerLayer(
                channels=sizes.crop_channels,
                hidden=sizes.refiner_hidden,
                flow_channels=sizes.flow_channels,
                name=f"refiner_{index}",
            )
            for index in range(sizes.refiner_layers)
        ]
        self.fuser = PublishedFuser(channels=sizes.canvas_channels, name="fuser")
        self.canvas_blocks = [
            _ResidualBlock(sizes.canvas_channels, name=f"canvas_block_{index}")
            for index in range(sizes.canvas_blocks)
        ]
        self.decoder = RefinementNetwork(
            image_size=image_size, channels=sizes.decoder_channels, name="decoder"
        )

    def encode(self, crops: tf.Tensor) -> tf.Tensor:
        """[N, S, S, 3] float32 in [-1, 1] -> [N, s, s, crop_channels], the maps of patches."""
        return self.crop_encoder(crops)

    def call(self, crops: tf.Tensor, encoding: GraphEncoding, boxes: tf.Tensor) -> tf.Tensor:
        objects = boxes.shape[1]
        # The image's own patch is a zero crop.
        crops = tf.concat([crops, tf.zeros_like(crops[:, :1])], axis=1)  # [B, O + 1, S, S, 3]
        maps = _each(self.encode, crops)  # [B, O + 1, s, s, D]
        predicates = tf.tile(
            encoding.predicate_vectors[:, :, tf.newaxis, tf.newaxis], [1, 1, *maps.shape[2:4], 1]
        )  # [B, T + O, s, s, D]
        for layer in self.refiner:
            maps, predicates = layer(maps, predicates, encoding.triples)
        canvas = self.fuser(
            maps, predicates[:, -objects:], encoding, boxes, self.image_size
        )  # [B, H, H, C]
        for block in self.canvas_blocks:
            canvas = block(canvas)  # [B, H, H, C]
        return self.decoder(canvas)  # [B, H, H, 3]


class _Normalised(tf.keras.layers.Layer):
    """A convolution, normalised and activated: [N, h, w, c] -> [N, h', w', filters]."""

    def __init__(self, filters: int, size: int, *, strides: int = 1, name: str):
        super().__init__(name=name)
        self.convolution = blocks.convolution(filters, size, strides=strides, name="convolution")
        self.normalization = group_normalization(filters, name="normalization")

    def call(self, values: tf.Tensor) -> tf.Tensor:
        return _activate(self.normalization(self.convolution(values)))  # [N, h', w', filters]


class _ResidualBlock(tf.keras.layers.Layer):
    """x + conv(act(norm(conv(act(norm(x)))))), [N, h, w, C] -> [N, h, w, C]."""

    def __init__(self, channels: int, *, name: str):
        super().__init__(name=name)
        self.parts = [
            (
                group_normalization(channels, name=f"normalization_{index}"),
                blocks.convolution(channels, 3, name=f"convolution_{index}"),
            )
            for index in range(2)
        ]

    def call(self, values: tf.Tensor) -> tf.Tensor:
        update = values  # [N, h, w, C]
        for normalization, convolution in self.parts:
            update = convolution(_activate(normalization(update)))  # [N, h, w, C]
        return values + update


def _activate(values: tf.Tensor) -> tf.Tensor:
    return tf.nn.leaky_relu(values, alpha=SLOPE)


def _each(layer, values: tf.Tensor) -> tf.Tensor:
    """Applies a layer of images to every object: [B, O, ...] -> [B, O, ...]."""
    result = layer(tensors.flatten_batch(values))
    return tf.reshape(result, [-1, values.shape[1], *result.shape[1:]])


def _joined(vectors: tf.Tensor, maps: tf.Tensor) -> tf.Tensor:
    """[B, O, W] and [B, O, h, w, D] -> [B, O, h, w, W + D]."""
    repeated = tf.tile(vectors[:, :, tf.newaxis, tf.newaxis], [1, 1, *maps.shape[2:4], 1])
    return tf.concat([repeated, maps], axis=-1)
