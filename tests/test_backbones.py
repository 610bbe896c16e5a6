from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf

from rgan_tf import registered_names
from rgan_tf.backbones import load_backbone
from rgan_tf.backbones import weights as weight_files
from rgan_tf.backbones.backbone import Backbone
from rgan_tf.backbones.networks import (
    CAFFE_MEAN_BGR,
    SPECS,
    build_squeezenet,
    preprocess,
    register_backbone,
)
from rgan_tf.backbones.weights import (
    SHIPPED,
    find_weights,
    load_classifier,
    load_layers_in_order,
    save_layers,
)
from rgan_tf.config_files import config_from_dict
from rgan_tf.errors import BadInput, CorruptData

SQUEEZENET_FILE = "squeezenet_v1.1_keras_notop.h5"
MOBILENET_FILE = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224.h5"
MOBILENET_NO_TOP = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5"
INCEPTION_FILE = "inception_v3_weights_tf_dim_ordering_tf_kernels.h5"
INCEPTION_NO_TOP = "inception_v3_weights_tf_dim_ordering_tf_kernels_notop.h5"


@pytest.fixture(scope="module", autouse=True)
def built_anew(networks_once):
    """Here networks are built by the package itself, each by its `Backbone`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backbone, "_build", networks_once)
        yield


@pytest.fixture(scope="module")
def random_weights(tmp_path_factory):
    """A folder with a SqueezeNet of random weights."""
    tf.keras.utils.set_random_seed(3)
    folder = tmp_path_factory.mktemp("weights")
    save_layers(build_squeezenet(), folder / SQUEEZENET_FILE)
    return folder


@pytest.fixture(scope="module")
def shipped():
    return load_backbone("mobilenet_v2")


@pytest.fixture(scope="module")
def full(weights_dir):
    return load_backbone("mobilenet_v2", weights_dir)


@pytest.fixture(scope="module")
def reference(weights_dir):
    """Keras' own MobileNetV2 for 128 px: pooled features and class probabilities."""
    network = tf.keras.applications.MobileNetV2(
        weights=f"{weights_dir}/{MOBILENET_FILE}", input_shape=(128, 128, 3)
    )
    pooled = network.get_layer("global_average_pooling2d").output
    return tf.keras.Model(network.input, [pooled, network.output])


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, [5, 64, 64, 3], dtype=np.uint8)


def test_shipped_file_alone_gives_retrieval_features(shipped, images):
    features = shipped.features(images).numpy()
    assert features.shape == (5, 1008) and shipped.feature_size == 1008
    assert shipped.input_size == 64
    assert features.dtype == np.float32 and features.std(axis=0).max() > 0.01


def test_final_features_say_which_file_they_lack(shipped, images, offline):
    with pytest.raises(BadInput, match="no_top.h5.*--weights-dir or RGAN_WEIGHTS"):
        shipped.final_features(images)


def test_a_row_does_not_depend_on_its_batch_or_dtype(shipped, images):
    together = shipped.features(images).numpy()
    alone = np.concatenate(
        [shipped.features(images[i : i + 1].astype(np.float32)) for i in range(5)]
    )
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_other_sizes_are_resized_with_antialiasing(shipped):
    stripes = np.zeros([1, 256, 256, 3], np.uint8)
    stripes[:, :, 1::4] = stripes[:, :, 2::4] = 255  # plain bilinear sampling meets only these
    grey, white = (np.full([1, 64, 64, 3], level, np.float32) for level in (127.5, 255.0))
    seen = shipped.features(stripes).numpy()
    to_grey = np.abs(seen - shipped.features(grey).numpy()).mean()
    assert to_grey < 0.5 * np.abs(seen - shipped.features(white).numpy()).mean()
    plain = shipped.features(tf.image.resize(stripes, [64, 64])).numpy()
    np.testing.assert_array_equal(plain, shipped.features(white))  # what antialiasing prevents


def test_feature_extraction_traces_once_for_changing_batch_sizes(shipped, images):
    for count in (5, 3, 2, 4, 1):
        shipped.features(images[:count])
    assert shipped._functions["features"].experimental_get_tracing_count() <= 3


def test_truncated_file_gives_identical_features(shipped, images, tmp_path):
    shipped.save_truncated(tmp_path / "mobilenet_v2_truncated.h5")
    assert (tmp_path / "mobilenet_v2_truncated.h5").stat().st_size < 3_000_000
    assert len(list(tmp_path.iterdir())) == 1  # nothing temporary is left
    again = load_backbone("mobilenet_v2", tmp_path)
    assert again._path(partial=True).parent == tmp_path
    np.testing.assert_array_equal(again.features(images), shipped.features(images))


def test_full_file_agrees_with_keras_applications(full, reference, shipped, images):
    np.testing.assert_array_equal(full.features(images), shipped.features(images))
    large = np.random.default_rng(1).integers(0, 256, [2, 128, 128, 3], dtype=np.uint8)
    expected, _ = reference(large / np.float32(127.5) - 1, training=False)
    np.testing.assert_allclose(full.final_features(large), expected, rtol=1e-4, atol=1e-4)
    assert full.final_feature_size == 1280


def test_squeezenet_equals_hand_made_convolutions():
    backbone = load_backbone("squeezenet")
    image = np.random.default_rng(0).integers(0, 256, [1, 64, 64, 3]).astype(np.float32)
    with h5py.File(SHIPPED / SQUEEZENET_FILE) as file:
        kernel, bias = file["conv1/uniform1"][:], file["conv1/conv1_b"][:]
    bgr = image[0, :, :, ::-1] - np.asarray(CAFFE_MEAN_BGR, np.float32)
    row, column = 7, 11
    window = bgr[2 * row : 2 * row + 3, 2 * column : 2 * column + 3]  # valid, stride 2
    expected = np.maximum(np.einsum("hwc,hwcd->d", window, kernel) + bias, 0)
    maps = backbone.perceptual(tf.constant(image / 127.5 - 1))
    assert [m.shape[1:] for m in maps] == [
        (31, 31, 64), (15, 15, 128), (7, 7, 256), (3, 3, 384), (3, 3, 512)
    ]  # fmt: skip
    np.testing.assert_allclose(maps[0][0, row, column], expected, rtol=1e-3, atol=1e-2)


def test_fire_module_puts_the_narrow_half_first(random_weights):
    network = build_squeezenet()
    fire = tf.keras.Model(network.get_layer("pool1").output, network.get_layer("fire2").output)
    network.load_weights(str(random_weights / SQUEEZENET_FILE))
    inputs = np.random.default_rng(0).normal(size=[1, 5, 5, 64]).astype(np.float32)
    with h5py.File(random_weights / SQUEEZENET_FILE) as file:

        def kernel(part):
            return file[f"fire2/{part}/fire2/{part}/kernel:0"][:]

        squeezed = np.maximum(np.einsum("hwc,cd->hwd", inputs[0], kernel("squeeze1x1")[0, 0]), 0)
        narrow = np.maximum(np.einsum("hwc,cd->hwd", squeezed, kernel("expand1x1")[0, 0]), 0)
    output = fire(inputs).numpy()
    np.testing.assert_allclose(output[0, :, :, :64], narrow, atol=1e-5)
    assert output.shape[-1] == 128 and not np.allclose(output[..., 64:], output[..., :64])


def test_weights_come_from_the_named_folder_then_the_environment(
    random_weights, tmp_path, monkeypatch
):
    def found() -> Path:
        return load_backbone("squeezenet", tmp_path)._path(partial=False).parent

    assert found() == SHIPPED
    monkeypatch.setenv("RGAN_WEIGHTS", str(random_weights))
    assert found() == random_weights
    assert load_backbone("squeezenet", tmp_path).feature_size == 1280
    (tmp_path / SQUEEZENET_FILE).write_bytes(b"not a weight file")
    with pytest.raises(CorruptData, match=SQUEEZENET_FILE):
        load_backbone("squeezenet", tmp_path).features(np.zeros([1, 64, 64, 3], np.uint8))


@pytest.mark.parametrize("name", ["mobilenet_v2", "squeezenet"])
@pytest.mark.parametrize("sums", [True, False])
def test_a_shipped_file_is_read_as_it_was_shipped_or_not_at_all(name, sums, tmp_path, monkeypatch):
    shutil.copytree(SHIPPED, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(weight_files, "SHIPPED", tmp_path)
    path = load_backbone(name)._path(partial=True)
    assert path.parent == tmp_path
    if sums:
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        (tmp_path / "SHA256SUMS").unlink()
    with pytest.raises(CorruptData, match=f"{path.name}: damaged .*install rgan_tf again"):
        load_backbone(name)


def test_every_shipped_file_has_its_checksum_and_stands_in_the_list():
    files = sorted(path.name for path in SHIPPED.glob("*.h5"))
    sums = (SHIPPED / "SHA256SUMS").read_text().splitlines()
    assert sorted(line.split()[1] for line in sums) == files
    described = (SHIPPED / "README.md").read_text()
    assert all(f"| `{name}` |" in described for name in files)


def test_a_download_failure_names_file_and_places(tmp_path, offline):
    with pytest.raises(BadInput) as caught:
        load_backbone("vgg19", tmp_path)
    message = str(caught.value)
    assert "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5" in message
    assert str(tmp_path) in message and "no network in tests" in message and "\n" not in message


@pytest.mark.parametrize("damage", ["truncate", "drop_layer", "other_shape"])
def test_damaged_weights_are_refused(random_weights, tmp_path, damage):
    path = tmp_path / SQUEEZENET_FILE
    path.write_bytes((random_weights / SQUEEZENET_FILE).read_bytes())
    if damage == "truncate":
        path.write_bytes(path.read_bytes()[:100_000])
    else:
        with h5py.File(path, "r+") as file:
            if damage == "drop_layer":
                dropped = ("fire5/expand1x1", b"fire5/expand1x1")
                names = [name for name in file.attrs["layer_names"] if name not in dropped]
                file.attrs["layer_names"] = names
            else:
                del file["conv1/conv1/bias:0"]
                file["conv1/conv1/bias:0"] = np.zeros(63, np.float32)
    with pytest.raises(CorruptData, match=SQUEEZENET_FILE):
        load_backbone("squeezenet", tmp_path).features(np.zeros([1, 64, 64, 3], np.uint8))


def test_unknown_name_and_unoffered_kinds_are_bad_input(monkeypatch):
    with pytest.raises(BadInput, match="choose one of mobilenet_v2"):
        load_backbone("mobilenet_v3")
    bare = dataclasses.replace(SPECS["squeezenet"], perceptual_layers=(), perceptual_weights=())
    monkeypatch.setitem(SPECS, "squeezenet", bare)
    with pytest.raises(BadInput, match="has no perceptual maps"):
        load_backbone("squeezenet").perceptual(tf.zeros([1, 64, 64, 3]))


@pytest.mark.thorough
def test_resnet_has_features_and_no_perceptual_maps(tmp_path):
    network = SPECS["resnet50"].build()
    save_layers(network, tmp_path / SPECS["resnet50"].weight_files[0])
    resnet = load_backbone("resnet50", tmp_path)
    assert resnet.features(np.zeros([2, 64, 64, 3], np.uint8)).shape == (2, 2048)
    with pytest.raises(BadInput, match="has no perceptual maps"):
        resnet.perceptual(tf.zeros([1, 64, 64, 3]))


def test_networks_are_frozen_and_invisible_to_a_model_that_holds_one(shipped):
    class Holder(tf.keras.Model):
        def __init__(self):
            super().__init__()
            self.backbone = shipped

    assert not shipped.feature_network.trainable_variables
    assert len(shipped.feature_network.variables) > 50
    assert not Holder().variables


def test_a_copy_elsewhere_has_the_weights_of_the_original_or_is_refused(
    random_weights, tmp_path, monkeypatch
):
    """A worker that does not see the user's file would else take that of the release."""
    shutil.copytree(random_weights, tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    backbone = load_backbone("squeezenet", "mine")
    monkeypatch.chdir("/")
    copied, values = backbone.__reduce__()
    digest = load_backbone("squeezenet", random_weights).feature_digest()
    assert copied(*values).feature_digest() == values[-1] == digest
    assert digest != load_backbone("squeezenet").feature_digest()
    shutil.rmtree(tmp_path / "mine")
    with pytest.raises(BadInput, match="a worker on .* finds other weights than the command; "):
        copied(*values)


def test_networks_can_be_read_inside_a_traced_function(random_weights):
    backbone = load_backbone("squeezenet", random_weights)

    @tf.function
    def total(images):
        return tf.add_n([tf.reduce_sum(m) for m in backbone.perceptual(images)])

    assert np.isfinite(total(tf.zeros([1, 32, 32, 3])).numpy())
    with pytest.raises(ValueError, match="32 px, got 31"):
        backbone.perceptual(tf.zeros([1, 31, 64, 3]))


@pytest.mark.thorough  # the features of the full file stay
def test_class_probabilities_are_those_of_keras_applications(full, reference):
    large = np.random.default_rng(1).integers(0, 256, [2, 128, 128, 3], dtype=np.uint8)
    features, probabilities = full.final_outputs(large)
    _, expected = reference(large / np.float32(127.5) - 1, training=False)
    np.testing.assert_allclose(probabilities, expected, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(probabilities.numpy().sum(axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(features, full.final_features(large), rtol=1e-4, atol=1e-5)
    assert probabilities.shape == (2, 1000) and not full.classifier_network.trainable_variables
    # Images of another size are resized in the same way for both.
    halved, answer = full.final_outputs(large[:, ::2, ::2])
    expected = full.final_features(large[:, ::2, ::2])
    np.testing.assert_allclose(halved, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(answer - probabilities).max() > 1e-3


def test_a_file_without_classifier_gives_features_alone(random_weights, images):
    squeezenet = load_backbone("squeezenet", random_weights)
    features, probabilities = squeezenet.final_outputs(images)
    assert probabilities is None
    np.testing.assert_array_equal(features, squeezenet.final_features(images))


def test_of_two_files_the_one_with_a_classifier_makes_the_final_features(weights_dir, tmp_path):
    (tmp_path / MOBILENET_NO_TOP).touch()
    (tmp_path / MOBILENET_FILE).symlink_to(f"{weights_dir}/{MOBILENET_FILE}")
    backbone = load_backbone("mobilenet_v2", tmp_path)
    assert backbone._path(partial=False).name == MOBILENET_FILE
    assert backbone._path(partial=True).name == MOBILENET_NO_TOP  # as before there was a choice


def test_a_classifier_of_another_width_is_refused(weights_dir, random_weights):
    path = weights_dir / MOBILENET_FILE
    kernel, bias = load_classifier(path, 1280)
    assert kernel.shape == (1280, 1000) and bias.shape == (1000,)
    with pytest.raises(CorruptData, match=r"\(1280, 1000\).* not one of 1024 features"):
        load_classifier(path, 1024)
    assert load_classifier(random_weights / SQUEEZENET_FILE, 512) is None
    with pytest.raises(CorruptData, match="not a usable weight file"):
        load_classifier(random_weights / "missing.h5", 512)


@pytest.fixture(scope="module")
def inception():
    """Keras' InceptionV3 with random weights that keep its maps alive."""
    rng = np.random.default_rng(4)
    network = tf.keras.applications.InceptionV3(weights=None)
    for layer in network.layers:
        if isinstance(layer, tf.keras.layers.Conv2D):
            shape = layer.kernel.shape
            layer.set_weights([rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[:3]))])
        elif isinstance(layer, tf.keras.layers.BatchNormalization):  # or all would be alike
            beta, mean = rng.uniform(-0.2, 0.2, [2, *layer.beta.shape])
            layer.set_weights([beta, mean, rng.uniform(0.5, 1.5, mean.shape)])
    return network


def _names(network):
    return {layer.name for layer in network.layers if layer.weights}


@pytest.mark.thorough
def test_inception_v3_is_read_whatever_keras_calls_its_layers(inception, tmp_path):
    inception.save_weights(tmp_path / INCEPTION_FILE)
    images = np.random.default_rng(4).integers(0, 256, [2, 299, 299, 3], dtype=np.uint8)
    outputs = [inception.get_layer("avg_pool").output, inception.output]
    expected, expected_probabilities = tf.keras.Model(inception.input, outputs)(
        images / np.float32(127.5) - 1, training=False
    )
    assert np.std(expected, axis=0).max() > 3e-3 * np.max(expected)  # it sees the images
    backbone = load_backbone("inception_v3", tmp_path)
    features, probabilities = backbone.final_outputs(images)
    assert features.shape == (2, 2048) and probabilities.shape == (2, 1000)
    np.testing.assert_allclose(features, expected, atol=1e-4 * np.max(expected))
    np.testing.assert_allclose(probabilities, expected_probabilities, rtol=1e-3, atol=1e-6)
    (ours,) = (item for item in backbone.final_network.layers if isinstance(item, tf.keras.Model))
    assert not _names(ours) & _names(inception)  # reading by name would have found nothing
    with pytest.raises(BadInput, match="has no retrieval features"):
        backbone.features(images)


def _convolutions(count: int) -> tf.keras.Model:
    """Pairs of a convolution and a normalisation, with the names that Keras counts on with."""
    values = images = tf.keras.layers.Input([None, None, 3])
    for _ in range(count):
        values = tf.keras.layers.Conv2D(3, 3, kernel_initializer="random_normal")(values)
        values = tf.keras.layers.BatchNormalization(scale=False)(values)
    return tf.keras.Model(images, values)


def test_layers_in_order_are_all_there_or_refused(tmp_path):
    path = tmp_path / INCEPTION_NO_TOP
    written, base = _convolutions(3), _convolutions(3)
    written.save_weights(path)
    assert not _names(written) & _names(base)  # reading by name would find nothing
    load_layers_in_order(base, path)
    for weights, wanted in zip(base.get_weights(), written.get_weights(), strict=True):
        np.testing.assert_array_equal(weights, wanted)
    assert base.get_weights()[0].any()
    with pytest.raises(CorruptData, match="its 6 layers are not the 8 of .*another network"):
        load_layers_in_order(_convolutions(4), path)
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(CorruptData, match="not a usable weight file"):
        load_layers_in_order(base, path)


def test_maps_of_chosen_layers_are_those_of_the_perceptual_distance(random_weights):
    backbone = load_backbone("squeezenet", random_weights)
    images = np.random.default_rng(5).uniform(-1, 1, [2, 64, 64, 3]).astype(np.float32)
    first, last = backbone.map_network(["conv1", "fire9"])((images + 1) * 127.5)
    perceptual = backbone.perceptual(images)
    np.testing.assert_allclose(first, perceptual[0], rtol=1e-5)
    np.testing.assert_allclose(last, perceptual[-1], rtol=1e-5)


def test_what_is_downloaded_is_the_file_that_is_offered(tmp_path, monkeypatch):
    asked = []

    def get_file(name, origin, cache_subdir):
        asked.append((name, origin.rsplit("/", 1)[1]))
        return tmp_path / name

    monkeypatch.setattr(tf.keras.utils, "get_file", get_file)
    spec = SPECS["mobilenet_v2"]
    names = spec.classifier_files + spec.weight_files
    found = find_weights("mobilenet_v2", names, tmp_path, spec.download)
    assert asked == [(MOBILENET_NO_TOP, MOBILENET_NO_TOP)] and found.name == MOBILENET_NO_TOP
    # Of InceptionV3 the file with the classifier is fetched: the Inception score needs it.
    asked.clear()
    load_backbone("inception_v3", tmp_path)
    assert set(asked) == {(INCEPTION_FILE, INCEPTION_FILE)}


def test_without_a_network_both_files_are_named(tmp_path, offline):
    with pytest.raises(BadInput, match=f"{INCEPTION_FILE} or {INCEPTION_NO_TOP}"):
        load_backbone("inception_v3", tmp_path)


@pytest.fixture
def registered():
    """Two layers of fixed weights as "two_layers", which is gone afterwards."""

    def build():
        images = tf.keras.layers.Input([None, None, 3])
        ones = tf.keras.initializers.Ones()
        first = tf.keras.layers.Conv2D(2, 1, kernel_initializer=ones, name="first")(images)
        second = tf.keras.layers.Conv2D(1, 1, kernel_initializer=ones, name="second")(first)
        return tf.keras.Model(images, second)

    register_backbone(
        "two_layers",
        build=build,
        feature_layers=("first", "second"),
        perceptual_layers=("first",),
        input_size=8,
    )
    yield "two_layers"
    SPECS.pop("two_layers")
    for listed in (registered_names.FEATURE_BACKBONES, registered_names.PERCEPTUAL_BACKBONES):
        listed.remove("two_layers")


def test_a_registered_backbone_is_one_like_any_other(registered):
    config = config_from_dict(
        {"retrieval": {"backbone": registered}, "losses": {"perceptual_backbone": registered}}
    )
    backbone = load_backbone(config.retrieval.backbone)
    white = np.full([2, 16, 16, 3], 255, np.uint8)  # 1 in each channel
    np.testing.assert_allclose(backbone.features(white), [[3.0, 3.0, 6.0]] * 2, rtol=1e-6)
    maps = backbone.perceptual(tf.ones([1, 32, 32, 3]))
    assert [each.shape for each in maps] == [[1, 32, 32, 2]]
    assert backbone.feature_size == 3
    assert backbone.weights_sha256() == load_backbone(registered).weights_sha256()


def test_weights_that_build_draws_are_drawn_once(registered):
    drawn = []

    def build():
        drawn.append(build_squeezenet())
        return drawn[-1]

    name = "drawn"
    register_backbone(name, build=build, feature_layers=("conv1",), perceptual_layers=("conv1",))
    try:
        backbone = load_backbone(name)
    finally:
        SPECS.pop(name)
        for listed in (registered_names.FEATURE_BACKBONES, registered_names.PERCEPTUAL_BACKBONES):
            listed.remove(name)
    (maps,) = backbone.perceptual(tf.zeros([1, 64, 64, 3]))
    grey = backbone.features(tf.fill([1, 64, 64, 3], 127.5))
    np.testing.assert_allclose(grey, tf.reduce_mean(maps, axis=[1, 2]), rtol=1e-5)
    assert backbone.weights_sha256() == backbone.feature_weights_sha256
    assert len(drawn) == 1


def test_what_cannot_be_registered(registered):
    with pytest.raises(ValueError, match="there is one of this name"):
        register_backbone(registered, build=build_squeezenet, feature_layers=("conv1",))
    with pytest.raises(ValueError, match="preprocessing must be"):
        register_backbone("x", build=build_squeezenet, feature_layers=("a",), preprocessing="no")
    with pytest.raises(ValueError, match="name it by a text"):
        register_backbone(None, build=build_squeezenet, feature_layers=("conv1",))
    with pytest.raises(ValueError, match="build must be a function"):
        register_backbone("x", build=build_squeezenet(), feature_layers="conv1")
    with pytest.raises(ValueError, match="backbone 'x': layers and files: must be a list of texts"):
        register_backbone("x", build=build_squeezenet, feature_layers="conv1")
    with pytest.raises(ValueError, match="layers and files: must be a list of texts, and holds 3"):
        register_backbone("x", build=build_squeezenet, feature_layers=("conv1", 3))
    with pytest.raises(ValueError, match="backbone 'x': input_size '64': must be a whole number"):
        register_backbone("x", build=build_squeezenet, feature_layers=("a",), input_size="64")
    with pytest.raises(ValueError, match="input_size must be at least 1 px, got 0"):
        register_backbone("x", build=build_squeezenet, feature_layers=("a",), input_size=0)
    with pytest.raises(ValueError, match="name its feature_layers"):
        register_backbone("x", build=build_squeezenet)


@pytest.fixture
def registers():
    """`register_backbone`, whose names are gone afterwards."""
    lists = (registered_names.FEATURE_BACKBONES, registered_names.PERCEPTUAL_BACKBONES)
    before = [list(names) for names in lists]
    added = []

    def register(name, **options):
        register_backbone(name, **options)
        added.append(name)

    yield register
    for name in added:
        SPECS.pop(name)
    for names, old in zip(lists, before, strict=True):
        names[:] = old


def test_none_is_not_a_layer_and_not_a_file(registers):
    """As the arguments are described: None means that there are none."""
    registers("maps", build=build_squeezenet, perceptual_layers=["conv1"], weight_files=None)
    registers(
        "means", build=build_squeezenet, feature_layers=np.array(["conv1"]), perceptual_layers=None
    )
    assert SPECS["maps"].weight_files == SPECS["means"].perceptual_layers == ()
    assert "maps" not in registered_names.FEATURE_BACKBONES
    assert "means" in registered_names.FEATURE_BACKBONES
    assert "means" not in registered_names.PERCEPTUAL_BACKBONES


def _pooled():
    images = tf.keras.layers.Input([None, None, 3])
    maps = tf.keras.layers.Conv2D(2, 1, name="maps")(images)
    mean = tf.keras.layers.GlobalAveragePooling2D(name="mean")(maps)
    return tf.keras.Model(images, mean)


@pytest.mark.parametrize(
    "build, layers, message",
    [
        (lambda: None, ["a"], "backbone wrong: build must return a Keras model, got NoneType"),
        (_pooled, ["maps", "mean"], r"layer mean gives \(None, 2\), and maps \[B, h, w, C\] are"),
        (_pooled, ["nowhere"], "backbone wrong: No such layer: nowhere"),
    ],
)
def test_a_network_or_layer_of_no_use_is_named(registers, build, layers, message):
    registers("wrong", build=build, feature_layers=layers, perceptual_layers=layers)
    backbone = load_backbone("wrong")
    for ask in (lambda: backbone.feature_size, backbone.perceptual_network):
        with pytest.raises(BadInput, match=message):
            ask()


def test_a_network_that_preprocesses_itself_gets_the_pixels_as_they_are():
    pixels = tf.constant([[[[0.0, 128.0, 255.0]]]])
    np.testing.assert_array_equal(preprocess(pixels, "none"), pixels)


def test_an_unknown_backbone_in_a_config_names_those_that_are_known():
    with pytest.raises(BadInput, match="retrieval.backbone must be one of mobilenet_v2, resnet50"):
        config_from_dict({"retrieval": {"backbone": "two_layers"}})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([[224, 224, 3]], r"for \(None, 224, 224, 3\), and it gets \[B, 64, 64, 3\]; build it for"),
        ([[None, None, 1]], r"for \(None, None, None, 1\), and it gets \[B, 64, 64, 3\]"),
        ([[None, None, 3]] * 2, "a model of one input"),
        ([], "a model of one input"),
        ([[None, None, 3]], None),
        ([[64, 64, 3]], None),
    ],
    ids=["fixed size", "grey", "two inputs", "never called", "any size", "the size it gets"],
)
def test_a_network_for_other_pictures_is_refused(given, message):
    def build():
        images = [tf.keras.layers.Input(shape) for shape in given]
        layer = tf.keras.layers.Conv2D(2, 1, name="first")
        if not images:
            return tf.keras.Sequential([layer])
        return tf.keras.Model(images, sum(layer(each) for each in images))

    name = "other_pictures"
    register_backbone(name, build=build, feature_layers=("first",))
    try:
        backbone = load_backbone(name)
    finally:
        SPECS.pop(name)
        registered_names.FEATURE_BACKBONES.remove(name)
    grey = np.full([2, 16, 16, 3], 99, np.uint8)
    if message is None:
        assert backbone.features(grey).shape == (2, 2)
    else:
        with pytest.raises(BadInput, match=f"backbone {name}: .*{message}"):
            backbone.features(grey)


def test_a_network_that_nobody_registered_may_be_one_of_a_plugin():
    with pytest.raises(BadInput, match="'my_network' is not known; .*see RGAN_PLUGINS$"):
        load_backbone("my_network")
