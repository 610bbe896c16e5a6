from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from rgan_tf.backbones import load_backbone
from rgan_tf.backbones.torchvision import TORCHVISION, load_torchvision
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.metrics.diversity import sample_diversity
from rgan_tf.metrics.lpips import LearnedPerceptualDistance, load_lpips, read_heads
from tests.metrics.torch_format import write_state

CHANNELS = {
    "alex": (64, 192, 384, 256, 256),
    "squeeze": (64, 128, 256, 384, 384, 512, 512),
    "vgg": (64, 128, 256, 512, 512),
}
ALEXNET = {  # name: output channels, input channels, side of the kernel, stride, padding
    "features.0": (64, 3, 11, 4, 2),
    "features.3": (192, 64, 5, 1, 2),
    "features.6": (384, 192, 3, 1, 1),
    "features.8": (256, 384, 3, 1, 1),
    "features.10": (256, 256, 3, 1, 1),
}


@pytest.fixture(scope="module")
def caffe(weights_dir):
    return load_lpips("squeezenet_caffe", weights_dir)


@pytest.fixture(scope="module")
def photographs(coco_root):
    """[4, 64, 64, 3] float32 in [-1, 1]."""
    paths = sorted(coco_root.rglob("*.jpg"))[:4]
    images = [Image.open(path).convert("RGB").resize([64, 64]) for path in paths]
    return np.stack(images).astype(np.float32) / 127.5 - 1


@pytest.fixture(scope="module")
def alexnet():
    """Weights as torchvision lays them out, OIHW, large enough to keep the maps alive."""
    rng = np.random.default_rng(0)
    weights = {"classifier.6.bias": np.zeros(1000, np.float32)}
    for name, (channels, inputs, side, _, _) in ALEXNET.items():
        kernel = rng.normal(size=[channels, inputs, side, side]) * np.sqrt(2 / (inputs * side**2))
        weights[f"{name}.weight"] = kernel.astype(np.float32)
        weights[f"{name}.bias"] = rng.normal(size=channels).astype(np.float32) * 0.1
    return weights


@pytest.fixture(scope="module")
def alex_folder(tmp_path_factory, alexnet):
    """A folder with an AlexNet in the newer layout and heads in the older one."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "lpips_v0.1").mkdir()
    write_state(folder / "alexnet-owt-7be5be79.pth", alexnet)
    write_state(folder / "lpips_v0.1" / "alex.pth", _heads("alex"), "sequence")
    return folder


def _heads(network, seed=1):
    rng = np.random.default_rng(seed)
    return {
        f"lin{i}.model.1.weight": rng.uniform(size=[1, c, 1, 1]).astype(np.float32)
        for i, c in enumerate(CHANNELS[network])
    }


def _lpips(first, second, heads):
    """The formula pixel by pixel, for maps [h, w, C] of one pair of images."""
    total = 0.0
    for one, other, head in zip(first, second, heads, strict=True):
        pixels = []
        for y, x in np.ndindex(one.shape[:2]):
            a, b = one[y, x].astype(np.float64), other[y, x].astype(np.float64)
            a, b = a / (np.sqrt(a @ a) + 1e-10), b / (np.sqrt(b @ b) + 1e-10)
            pixels.append(sum(head * (a - b) ** 2))
        total += sum(pixels) / len(pixels)
    return total


def _convolve(image, kernel, bias, stride, padding):
    """Correlation of [H, W, C] with a kernel OIHW, then a ReLU."""
    image = np.pad(image, [(padding, padding), (padding, padding), (0, 0)])
    side = kernel.shape[2]
    windows = np.lib.stride_tricks.sliding_window_view(image, (side, side), axis=(0, 1))
    return np.maximum(np.einsum("hwiyx,oiyx->hwo", windows[::stride, ::stride], kernel) + bias, 0)


def _pool(image):
    return np.lib.stride_tricks.sliding_window_view(image, (3, 3), axis=(0, 1))[::2, ::2].max(
        axis=(3, 4)
    )


def _alexnet_maps(image, weights):
    normalised = (image - [-0.030, -0.088, -0.188]) / [0.458, 0.448, 0.450]
    maps, x = [], normalised
    for name, (_, _, _, stride, padding) in ALEXNET.items():
        if name in ("features.3", "features.6"):
            x = _pool(x)
        x = _convolve(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, padding)
        maps.append(x)
    return maps


@pytest.mark.parametrize("network", CHANNELS)
def test_published_heads_have_the_known_shapes_and_signs(weights_dir, network):
    heads = read_heads(network, weights_dir)
    assert tuple(len(head) for head in heads) == CHANNELS[network]
    assert all(head.dtype == np.float32 and head.min() >= 0 and head.max() > 0 for head in heads)


def test_hand_worked_number():
    # One map of 1 x 2 pixels and 2 channels. Pixel 0: directions (1, 0) and (0, 1); pixel 1: equal
    # directions of other lengths. Head (3, 5): the mean over pixels is (3 + 5 + 0) / 2.
    maps = {0.0: [[[[2.0, 0.0], [1.0, 1.0]]]], 1.0: [[[[0.0, 7.0], [4.0, 4.0]]]]}

    def look_up(images):
        first, second = (tf.constant(maps[key]) for key in (0.0, 1.0))
        return [tf.where(images[0, 0, 0, 0] > 0.5, second, first)]

    distance = LearnedPerceptualDistance("hand", look_up, [np.array([3.0, 5.0], np.float32)])
    dark, light = np.zeros([1, 32, 32, 3]), np.ones([1, 32, 32, 3])
    assert distance(dark, light).numpy() == pytest.approx([4.0])
    assert distance.name == "lpips_hand"


def test_equals_the_formula_on_the_maps(caffe, weights_dir, photographs):
    layers = ("conv1", "fire3", "fire5", "fire6", "fire7", "fire8", "fire9")
    network = load_backbone("squeezenet", weights_dir).map_network(layers)
    maps = [m.numpy() for m in network((photographs + 1) * 127.5)]
    assert tuple(m.shape[-1] for m in maps) == CHANNELS["squeeze"]
    heads = read_heads("squeeze", weights_dir)
    expected = [_lpips([m[i] for m in maps], [m[i + 1] for m in maps], heads) for i in range(2)]
    np.testing.assert_allclose(caffe(photographs[:2], photographs[1:3]), expected, rtol=1e-4)


def test_zero_for_equal_images_symmetric_and_per_example(caffe, photographs):
    other = photographs[::-1]
    np.testing.assert_array_equal(caffe(photographs, photographs), np.zeros(4))
    there, back = caffe(photographs, other).numpy(), caffe(other, photographs).numpy()
    assert there.shape == (4,) and there.dtype == np.float32 and there.min() > 0.1
    np.testing.assert_allclose(there, back, rtol=1e-5)
    np.testing.assert_allclose(caffe(photographs[:1], other[:1])[0], there[0], rtol=1e-4)
    dark = np.full([1, 32, 32, 3], -1.0)
    assert np.isfinite(caffe(dark, -dark).numpy()).all()


def test_grows_with_the_distortion_of_real_images(caffe, photographs):
    noise = np.random.default_rng(2).normal(size=photographs.shape)
    for amounts, distort in (
        ((0.0, 0.05, 0.1, 0.2, 0.4), lambda amount: photographs + amount * noise),
        ((0, 1, 2, 4), lambda amount: tf.nn.avg_pool2d(photographs, 2 * amount + 1, 1, "SAME")),
    ):
        values = np.stack([caffe(distort(amount), photographs) for amount in amounts])  # [A, 4]
        assert (np.diff(values, axis=0) > 0).all()
    brighter = caffe(photographs * 0.9 + 0.02, photographs).numpy()
    assert (brighter < caffe(photographs, photographs[::-1]).numpy()).all()


def test_names_say_which_network_and_whose(caffe, alex_folder):
    assert caffe.name == "lpips_squeezenet_caffe"
    assert load_lpips("alex", alex_folder).name == "lpips_alex"
    with pytest.raises(BadInput, match="LPIPS of 'resnet' is not known; choose squeezenet_caffe"):
        load_lpips("resnet")


def test_alexnet_equals_convolutions_by_hand(alex_folder, alexnet):
    images = np.random.default_rng(3).uniform(-1, 1, [2, 64, 64, 3]).astype(np.float32)
    maps = [_alexnet_maps(image, alexnet) for image in images]
    assert [m.shape for m in maps[0]] == [
        (15, 15, 64), (7, 7, 192), (3, 3, 384), (3, 3, 256), (3, 3, 256)
    ]  # fmt: skip
    heads = [head.reshape(-1) for head in _heads("alex").values()]
    distance = load_lpips("alex", alex_folder)
    np.testing.assert_allclose(distance(images[:1], images[1:]), [_lpips(*maps, heads)], rtol=1e-4)
    network = load_torchvision("alex", alex_folder)
    assert not network.trainable_variables and len(network.variables) == 10


def test_networks_have_the_layers_and_maps_of_torchvision():
    expected = {
        "alex": [0, 3, 6, 8, 10],
        "vgg": [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28],
        "squeeze": [0, 3, 4, 6, 7, 9, 10, 11, 12],
    }
    sides = {  # of a 65 px image; torchvision's SqueezeNet pools incomplete windows too
        "alex": [15, 7, 3, 3, 3],
        "vgg": [65, 32, 16, 8, 4],
        "squeeze": [32, 16, 8, 4, 4, 4, 4],
    }
    for name, spec in TORCHVISION.items():
        network = spec.build()
        numbers = {int(layer.name.split(".")[1]) for layer in network.layers if layer.weights}
        assert sorted(numbers) == expected[name]
        maps = network(tf.zeros([1, 65, 65, 3]))
        assert [m.shape[1] for m in maps] == sides[name]
        assert tuple(m.shape[-1] for m in maps) == CHANNELS[name]


def test_incomplete_windows_are_pooled_as_torchvision_does():
    network = TORCHVISION["squeeze"].build()
    maps = tf.keras.Model(network.input, network.get_layer("features.0").output)
    pooled = next(
        layer for layer in network.layers if isinstance(layer, tf.keras.layers.MaxPooling2D)
    ).output
    before, after = (
        model(np.random.default_rng(4).normal(size=[1, 65, 65, 3])).numpy()[0]
        for model in (maps, tf.keras.Model(network.input, pooled))
    )
    assert before.shape[:2] == (32, 32) and after.shape[:2] == (16, 16)
    np.testing.assert_array_equal(after[15, 15], before[30:, 30:].max(axis=(0, 1)))
    np.testing.assert_array_equal(after[3, 15], before[6:9, 30:].max(axis=(0, 1)))


def test_files_that_are_missing_or_of_another_network_are_named(alex_folder, alexnet, tmp_path):
    with pytest.raises(BadInput, match="no lpips_v0.1/vgg.pth in .*RGAN_WEIGHTS"):
        load_lpips("vgg", alex_folder)
    (tmp_path / "lpips_v0.1").mkdir()
    heads = _heads("alex")
    write_state(tmp_path / "lpips_v0.1" / "alex.pth", heads)
    with pytest.raises(BadInput, match="no alexnet-owt-7be5be79.pth or alexnet-owt-4df8aa71.pth"):
        load_lpips("alex", tmp_path)
    for change, message in (
        ({"features.3.weight": alexnet["features.6.weight"]}, "features.3 has the shapes"),
        ({"features.3.bias": np.full(192, np.nan, np.float32)}, "features.3 has .* not finite"),
        ({"features.3.bias": None}, "has no features.3.bias"),
    ):
        changed = {k: v for k, v in (alexnet | change).items() if v is not None}
        write_state(tmp_path / "alexnet-owt-4df8aa71.pth", changed)
        with pytest.raises(CorruptData, match=message):
            load_lpips("alex", tmp_path)
    for wrong, message in (
        (_heads("vgg"), r"lin1 is \[1, 128, 1, 1\] instead of \[1, 192, 1, 1\]"),
        (dict(list(heads.items())[:4]), r"lin4 is \[0\]"),
        ({name: -head for name, head in heads.items()}, "lin0 has weights below 0"),
    ):
        write_state(tmp_path / "lpips_v0.1" / "alex.pth", wrong, "sequence")
        with pytest.raises(CorruptData, match=message):
            read_heads("alex", tmp_path)
    (tmp_path / "lpips_v0.1" / "alex.pth").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(CorruptData, match="not a usable torch file"):
        read_heads("alex", tmp_path)


def test_images_that_cannot_be_compared_are_refused(caffe):
    images = np.zeros([2, 64, 64, 3])
    with pytest.raises(ValueError, match="two .* are compared"):
        caffe(images, images[:1])
    with pytest.raises(ValueError, match="32 px, got 31"):
        caffe(images[:, :31], images[:, :31])


def test_measures_the_diversity_of_samples(caffe, photographs):
    samples = np.stack([photographs[:2], photographs[2:]], axis=1)  # two graphs, two samples
    samples[1, 1] = samples[1, 0]
    values = sample_diversity(samples, caffe)
    assert values[0] > 0.1 and values[1] == 0.0
