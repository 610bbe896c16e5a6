"""Differentiable augmentation: known amounts by hand, then what is drawn, then gradients."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config import AUGMENTATIONS, parse_augmentation
from rgan_tf.discriminators import augmentation
from rgan_tf.discriminators.augmentation import augment, change_colors, cut_out, translate
from rgan_tf.retrieval.noise import draw_noise
from rgan_tf.seeds import Purpose, derive_row_seeds

ROWS = 2000  # for statistics
SINGLE = [(kind,) for kind in AUGMENTATIONS]


def _images(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def _seeds(rows: int, start: int = 0) -> tf.Tensor:
    return derive_row_seeds(np.arange(start, start + rows), Purpose.AUGMENTATION)


def _augment_many(images: np.ndarray, kind: str) -> np.ndarray:
    """Traced, as rows are slow one by one."""
    return tf.function(augment, autograph=False)(
        tf.constant(images), _seeds(len(images)), (kind,)
    ).numpy()


def _int(*values: int) -> tf.Tensor:
    return tf.constant(values, tf.int32)


def _float(*values: float) -> tf.Tensor:
    return tf.constant(values, tf.float32)


# Known amounts.


def test_colors_by_hand():
    images = tf.constant([[[[0.5, 0.0, -0.5], [-0.25, 0.25, 0.75]]]])  # [1, 1, 2, 3]

    def changed(brightness, saturation, contrast):
        return change_colors(images, *map(_float, (brightness, saturation, contrast)))[0, 0]

    np.testing.assert_allclose(changed(0, 1, 1), images[0, 0], atol=1e-7)
    brighter = [[0.75, 0.25, -0.25], [0.0, 0.5, 1.0]]
    np.testing.assert_allclose(changed(0.25, 1, 1), brighter, atol=1e-7)
    np.testing.assert_allclose(changed(0, 0, 1), [[0.0] * 3, [0.25] * 3], atol=1e-7)
    vivid = [[1.0, 0.0, -1.0], [-0.75, 0.25, 1.25]]
    np.testing.assert_allclose(changed(0, 2, 1), vivid, atol=1e-7)
    # The mean of the image is 1/8: half of each distance from it is left.
    flat = [[0.3125, 0.0625, -0.1875], [-0.0625, 0.1875, 0.4375]]
    np.testing.assert_allclose(changed(0, 1, 0.5), flat, atol=1e-7)
    # All three: pixels 0.25 and 0.5 are grey, and 0.375 is the mean.
    np.testing.assert_allclose(changed(0.25, 0, 1.5), [[0.1875] * 3, [0.5625] * 3], atol=1e-7)


def test_colors_of_each_row_use_its_own_amounts():
    images = _images(3, 4, 5, 3)
    amounts = [_float(-0.3, 0.0, 0.4), _float(0.0, 1.0, 1.7), _float(0.6, 1.0, 1.4)]
    together = change_colors(images, *amounts)
    for row in range(3):
        alone = change_colors(images[row : row + 1], *(a[row : row + 1] for a in amounts))
        np.testing.assert_allclose(together[row], alone[0], atol=1e-6)
    np.testing.assert_allclose(together[1], images[1], atol=1e-6)  # the amounts of no change
    assert np.abs(together[0] - images[0]).max() > 0.1


@pytest.mark.parametrize(
    "down, right, lands",
    [(0, 0, (1, 2)), (1, 0, (2, 2)), (-1, 1, (0, 3)), (2, -2, (3, 0)), (-2, 0, None), (0, 3, None)],
)
def test_translation_moves_one_pixel(down, right, lands):
    images = np.zeros([1, 4, 5, 3], np.float32)
    images[0, 1, 2] = [0.5, -1.0, 0.25]
    expected = np.zeros_like(images)
    if lands:
        expected[0][lands] = [0.5, -1.0, 0.25]
    np.testing.assert_array_equal(translate(images, _int(down), _int(right)), expected)


def test_translation_fills_with_grey_and_moves_every_row_by_its_own_amount():
    images = _images(2, 6, 4, 3)
    moved = translate(images, _int(2, -1), _int(1, 0)).numpy()
    expected = np.zeros_like(images)
    expected[0, 2:, 1:] = images[0, :-2, :-1]
    expected[1, :-1] = images[1, 1:]
    np.testing.assert_array_equal(moved, expected)


@pytest.mark.parametrize(
    "top, left, area",
    [(2, 3, 24), (0, 0, 24), (4, 6, 24), (-2, 3, 12), (6, -3, 6), (-4, 3, 0), (8, 0, 0)],
)
def test_cutout_covers_exactly_its_rectangle(top, left, area):
    images = np.full([1, 8, 12, 3], 0.75, np.float32)  # the rectangle is 4 x 6
    cut = cut_out(images, _int(top), _int(left)).numpy()
    expected = images.copy()
    expected[0, max(top, 0) : max(top + 4, 0), max(left, 0) : max(left + 6, 0)] = 0
    np.testing.assert_array_equal(cut, expected)
    assert (cut == 0).sum() == 3 * area and (cut == 0.75).sum() == 3 * (8 * 12 - area)


def test_cutout_of_odd_sides_is_rounded_down_and_hides_even_a_nan():
    images = np.full([2, 5, 7, 3], np.nan, np.float32)
    cut = cut_out(images, _int(0, 3), _int(1, 5)).numpy()
    assert (cut[0] == 0).sum() == 3 * 2 * 3 and (cut[1] == 0).sum() == 3 * 2 * 2
    assert np.isnan(cut).sum() == 3 * (2 * 5 * 7 - 6 - 4)


# What is drawn.


def test_color_draws_fill_their_ranges_and_are_unrelated():
    # Two grey columns and one coloured: the amounts can be read off the result.
    picture = np.float32([[[-0.5] * 3, [0.5] * 3, [0.3, 0.0, -0.3]]])  # [1, 3, 3]
    changed = _augment_many(np.tile(picture, [ROWS, 1, 1, 1]), "color")
    contrast = changed[:, 0, 1, 0] - changed[:, 0, 0, 0]
    saturation = (changed[:, 0, 2, 0] - changed[:, 0, 2, 2]) / 0.6 / contrast
    brightness = changed.mean(axis=(1, 2, 3))
    for amounts, low, high in (
        (brightness, -0.5, 0.5),
        (saturation, 0.0, 2.0),
        (contrast, 0.5, 1.5),
    ):
        span = high - low
        assert low - 1e-5 <= amounts.min() < low + 0.01 * span
        assert high - 0.01 * span < amounts.max() <= high + 1e-5
        counts = np.histogram(amounts, bins=10, range=(low, high))[0]
        assert counts.min() > 130 and counts.max() < 270  # 200 each, with a deviation of 13
    related = np.corrcoef([brightness, saturation, contrast]) - np.eye(3)
    assert np.abs(related).max() < 0.1


def _shifts(changed: np.ndarray) -> np.ndarray:
    """[B, 2]: where the one pixel of value 1 is."""
    return np.stack([np.argwhere(row[..., 0] == 1)[0] for row in changed])


def test_translations_are_up_to_an_eighth_and_all_equally_frequent():
    images = np.zeros([ROWS, 16, 33, 3], np.float32)
    images[:, 8, 16] = 1
    down, right = (_shifts(_augment_many(images, "translation")) - [8, 16]).T
    for shifts, largest in ((down, 2), (right, 4)):
        values, counts = np.unique(shifts, return_counts=True)
        np.testing.assert_array_equal(values, np.arange(-largest, largest + 1))
        expected = ROWS / len(values)
        assert np.abs(counts - expected).max() < 5 * expected**0.5
    assert abs(np.corrcoef(down, right)[0, 1]) < 0.1


@pytest.mark.parametrize("side", [8, 6, 7])  # the square has 4, 3 and 3 px
def test_middles_of_cutouts_lie_anywhere(side):
    cut = _augment_many(np.ones([ROWS, side, side, 3], np.float32), "cutout")
    square = side // 2
    for axis in (1, 2):
        shown = [np.flatnonzero(hidden) for hidden in (cut[..., 0] == 0).any(axis=3 - axis)]
        # At a border the first row is the same for several squares; the last then tells them apart.
        tops = [rows[0] if rows[0] else rows[-1] + 1 - square for rows in shown]
        values, counts = np.unique(tops, return_counts=True)
        first = -(square // 2)
        last = side - square - first  # as far over the one border as over the other
        np.testing.assert_array_equal(values, np.arange(first, last + 1))
        expected = ROWS / len(values)
        assert np.abs(counts - expected).max() < 5 * expected**0.5


@pytest.mark.parametrize("count", [1, 2, 3, 5, 17, 33, 129, 1000, 4097])
def test_largest_draw_stays_below_the_count(count):
    largest = tf.constant(1 - 2**-24, tf.float32)
    for jit_compile in (False, True):
        below = tf.function(lambda u: augmentation._below(u, count), jit_compile=jit_compile)
        assert below(largest) == count - 1 and below(tf.constant(0.0)) == 0


def test_kinds_draw_from_different_streams_and_do_not_disturb_each_other():
    seeds, draw = _seeds(1000), tf.function(augmentation._draw, autograph=False)
    streams = list(augmentation._STREAMS.values())
    together = draw(seeds, streams).numpy()  # [B, kinds, 3]
    for index, stream in enumerate(streams):
        alone = draw(seeds, [stream]).numpy()
        np.testing.assert_array_equal(together[:, index], alone[:, 0])
    related = np.corrcoef(together.reshape(1000, -1).T) - np.eye(9)
    assert np.abs(related).max() < 0.15  # five deviations
    # Retrieval may have the same row seeds.
    scores = tf.function(draw_noise, autograph=False)(seeds, tf.constant([1, 3]))[1].numpy()[
        :, 0
    ]  # [B, 3]
    everything = np.corrcoef(np.concatenate([together.reshape(1000, -1), scores], axis=1).T)
    assert np.abs(everything - np.eye(12)).max() < 0.15


def test_is_the_same_on_every_machine_and_in_every_version():
    # A run that is resumed would be augmented otherwise if these numbers moved.
    draws = augmentation._draw(_int(5, 6)[tf.newaxis], [1, 2, 3])[0]
    expected = [
        [8749564, 4868809, 14745495],
        [2141433, 14646664, 1902751],
        [14941407, 8723769, 4039627],
    ]
    np.testing.assert_array_equal(draws * 2**24, expected)


# Rows and seeds.


@pytest.mark.parametrize("kinds", [*SINGLE, AUGMENTATIONS])
def test_a_row_depends_on_itself_only(kinds):
    images, seeds = _images(5, 16, 24, 3), _seeds(5)
    together = augment(images, seeds, kinds).numpy()
    for row in range(5):
        alone = augment(images[row : row + 1], seeds[row : row + 1], kinds)
        np.testing.assert_allclose(alone[0], together[row], atol=1e-6)
    halves = [augment(images[part], seeds[part], kinds) for part in (slice(2), slice(2, 5))]
    np.testing.assert_allclose(np.concatenate(halves), together, atol=1e-6)
    order = [3, 0, 4, 1, 2]
    shuffled = augment(images[order], seeds.numpy()[order], kinds)
    np.testing.assert_allclose(shuffled, together[order], atol=1e-6)
    other = images.copy()
    other[1:] = _images(4, 16, 24, 3, seed=9)
    np.testing.assert_allclose(augment(other, seeds, kinds)[0], together[0], atol=1e-6)


@pytest.mark.parametrize("kinds", [*SINGLE, AUGMENTATIONS])
def test_same_seeds_same_change_other_seeds_another(kinds):
    images = np.tile(_images(1, 32, 32, 3), [6, 1, 1, 1])
    changed = augment(images, _seeds(6), kinds).numpy()
    np.testing.assert_array_equal(augment(images, _seeds(6), kinds), changed)
    other = augment(images, _seeds(6, start=6), kinds).numpy()
    everything = np.concatenate([changed, other]).reshape(12, -1)
    # There are 81 translations of such an image, so two seeds may draw the same one.
    assert len(np.unique(everything, axis=0)) >= 10
    equal = augment(images, tf.tile(_seeds(1), [6, 1]), kinds).numpy()
    np.testing.assert_allclose(equal, equal[[0] * 6], atol=1e-6)


@pytest.mark.parametrize("kinds", [*SINGLE, AUGMENTATIONS])
def test_real_and_generated_images_are_changed_alike(kinds):
    # Every change is affine in the image: the mean of two goes to the mean of their results.
    real, generated = _images(4, 16, 16, 3, seed=1), _images(4, 16, 16, 3, seed=2)
    seeds = _seeds(4)
    results = [augment(part, seeds, kinds).numpy() for part in (real, generated)]
    middle = augment((real + generated) / 2, seeds, kinds)
    np.testing.assert_allclose(middle, np.mean(results, axis=0), atol=1e-5)
    # Other seeds on one side would show.
    results[1] = augment(generated, _seeds(4, start=4), kinds).numpy()
    assert np.abs(middle - np.mean(results, axis=0)).max() > 0.01


def test_order_is_fixed_and_a_second_mention_changes_nothing():
    images, seeds = _images(3, 16, 16, 3), _seeds(3)
    expected = images
    for kind in ("color", "translation", "cutout"):
        expected = augment(expected, seeds, (kind,))
    for kinds in (AUGMENTATIONS, ["cutout", "color", "translation", "color"]):
        np.testing.assert_allclose(augment(images, seeds, kinds), expected, atol=1e-6)
    # The order matters: grey that comes in first would be coloured afterwards.
    wrong = augment(augment(images, seeds, ("translation", "cutout")), seeds, ("color",))
    assert np.abs(wrong - expected).max() > 0.01


# Gradients.


@pytest.mark.parametrize(
    "kinds", [*(pytest.param(kind, marks=pytest.mark.thorough) for kind in SINGLE), AUGMENTATIONS]
)
def test_gradient_equals_finite_differences(kinds):
    images, seeds = tf.constant(_images(2, 8, 8, 3)), _seeds(2, start=3)
    weights = tf.constant(_images(2, 8, 8, 3, seed=1))

    def value(images):
        return tf.reduce_sum(augment(images, seeds, kinds) * weights)

    with tf.GradientTape() as tape:
        tape.watch(images)
        result = value(images)
    gradient = tape.gradient(result, images).numpy()
    assert np.abs(gradient).reshape(2, -1).max(axis=1).min() > 0.1
    rng = np.random.default_rng(2)
    for _ in range(24):
        place = tuple(rng.integers(images.shape))
        step = np.zeros(images.shape, np.float32)
        step[place] = 0.5  # the change is affine, so a large step is exact
        difference = value(images + step) - value(images - step)
        np.testing.assert_allclose(gradient[place], difference, atol=2e-5)


def test_hidden_pixels_get_no_gradient_and_the_others_theirs():
    images = tf.constant(_images(1, 8, 8, 3))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(images)
        cut = tf.reduce_sum(cut_out(images, _int(2), _int(4)))
        moved = tf.reduce_sum(translate(images, _int(1), _int(-2)))
    expected = np.ones([1, 8, 8, 3])
    expected[:, 2:6, 4:] = 0
    np.testing.assert_array_equal(tape.gradient(cut, images), expected)
    expected = np.ones([1, 8, 8, 3])
    expected[:, 7:] = 0  # moved out below
    expected[:, :, :2] = 0  # and to the left
    np.testing.assert_array_equal(tape.gradient(moved, images), expected)


# Types, shapes and compilers.


@pytest.mark.parametrize("kinds", [*SINGLE, AUGMENTATIONS])
def test_shape_range_and_influence(kinds):
    images = _images(4, 16, 24, 3)
    changed = augment(images, _seeds(4), kinds)
    assert changed.shape == [4, 16, 24, 3] and changed.dtype == tf.float32
    assert np.isfinite(changed).all()
    assert np.abs(changed - images).reshape(4, -1).max(axis=1).min() > 0.01
    if "color" not in kinds:
        assert set(np.unique(changed)) <= {*np.unique(images), 0.0}  # no pixel is made up
    else:
        assert np.abs(changed).max() > 1  # not clipped


@pytest.mark.parametrize("dtype", [tf.bfloat16, tf.float16])
@pytest.mark.parametrize("kinds", [*SINGLE, AUGMENTATIONS])
def test_halves_are_computed_in_float32(dtype, kinds):
    images, seeds = tf.cast(_images(3, 16, 16, 3), dtype), _seeds(3)
    with tf.GradientTape() as tape:
        tape.watch(images)
        changed = augment(images, seeds, kinds)
    assert changed.dtype == dtype
    full = tf.cast(augment(tf.cast(images, tf.float32), seeds, kinds), dtype)
    np.testing.assert_array_equal(tf.cast(changed, tf.float32), tf.cast(full, tf.float32))
    gradient = tape.gradient(changed, images)
    assert gradient.dtype == dtype and np.abs(tf.cast(gradient, tf.float32)).max() > 0


@pytest.mark.parametrize(
    "kinds", [*(pytest.param(kind, marks=pytest.mark.thorough) for kind in SINGLE), AUGMENTATIONS]
)
def test_xla_equals_graph_equals_eager(kinds):
    images, seeds = tf.constant(_images(3, 16, 24, 3)), _seeds(3)

    def run(images, seeds):
        with tf.GradientTape() as tape:
            tape.watch(images)
            changed = augment(images, seeds, kinds)
            value = tf.reduce_sum(changed**2)
        return changed, tape.gradient(value, images)

    eager = run(images, seeds)
    for jit_compile in (False, True):
        for part, expected in zip(
            tf.function(run, jit_compile=jit_compile)(images, seeds), eager, strict=True
        ):
            np.testing.assert_allclose(part, expected, atol=1e-5)


@pytest.mark.parametrize("rows", [3, None])
def test_static_shape_is_kept_in_a_graph(rows):
    shapes = []

    @tf.function(
        input_signature=[
            tf.TensorSpec([rows, 16, 24, 3], tf.float32),
            tf.TensorSpec([None, 2], tf.int32),
        ]
    )
    def run(images, seeds):
        changed = augment(images, seeds, AUGMENTATIONS)
        shapes.append(changed.shape.as_list())
        return changed

    images, seeds = tf.constant(_images(3, 16, 24, 3)), _seeds(3)
    np.testing.assert_allclose(run(images, seeds), augment(images, seeds, AUGMENTATIONS), atol=1e-6)
    assert shapes == [[rows, 16, 24, 3]]


# Names.


def test_without_kinds_the_images_come_back():
    images = tf.constant(_images(2, 8, 8, 3))
    assert augment(images, _seeds(2), ()) is images
    assert augment(images, _seeds(2), []) is images


def test_unknown_kind_and_wrong_seeds_are_refused():
    images = tf.constant(_images(2, 8, 8, 3))
    with pytest.raises(ValueError, match="color, translation, cutout; got 'blur'"):
        augment(images, _seeds(2), ("color", "blur"))
    with pytest.raises(ValueError, match="one per image"):
        augment(images, _seeds(1), ("color",))
    with pytest.raises(ValueError, match="one per image"):
        augment(images, _int(1, 2), ("color",))


@pytest.mark.parametrize(
    "text, kinds",
    [
        ("", ()),
        ("none", ()),
        (" none ", ()),
        ("cutout", ("cutout",)),
        ("color,translation", ("color", "translation")),
        ("cutout, translation,color", AUGMENTATIONS),
    ],
)
def test_names_are_read(text, kinds):
    assert parse_augmentation(text) == kinds


@pytest.mark.parametrize(
    "text, message",
    [
        ("colour", "none or some of color, translation, cutout; got 'colour'"),
        ("color,none", "got 'none'"),
        ("color,", "got ''"),
        ("Color", "got 'Color'"),
        ("color translation", "got 'color translation'"),
        ("cutout,color,cutout", "names cutout twice"),
    ],
)
def test_wrong_names_are_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_augmentation(text)
