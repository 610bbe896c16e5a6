"""Pictures show what they claim: colours in place, arrows, labels, sizes, text that fits."""

from __future__ import annotations

import numpy as np
import pytest

from rgan_tf import pictures

NAMES = ["sky", "cow"]
BOXES = np.array([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.75, 1.0]])


def _near(pixel, color, tolerance=12):
    return np.abs(pixel.astype(int) - np.array(color)).max() <= tolerance


def test_colours_are_stable_and_distinct():
    assert pictures.category_color("sky") == (110, 171, 222)
    assert pictures.category_color("zebra") == pictures.category_color("zebra")
    names = ["person", "zebra", "house", "car", "dog", "horse", "boat", "sheep"]
    assert len({pictures.category_color(name) for name in names}) == len(names)


def test_layout_puts_each_outline_where_its_box_is():
    picture = pictures.draw_layout(NAMES, BOXES, size=200)
    assert picture.shape == (200, 200, 3) and picture.dtype == np.uint8
    cow = pictures.category_color("cow")
    assert _near(picture[120, 100], cow)  # left edge, half way down
    assert _near(picture[149, 180], cow)  # bottom edge
    assert not _near(picture[180, 100], cow)  # below the box
    assert _near(picture[180, 1], pictures.category_color("sky"))


def test_small_boxes_are_in_front_whatever_the_order():
    forward = pictures.draw_layout(NAMES, BOXES, 200)
    backward = pictures.draw_layout(NAMES[::-1], BOXES[::-1], 200)
    np.testing.assert_array_equal(forward, backward)


def test_layout_has_labels_and_arrows_only_where_asked():
    plain = pictures.draw_layout(NAMES, BOXES, 256)
    unnamed = pictures.draw_layout([" ", " "], BOXES, 256)
    related = pictures.draw_layout(NAMES, BOXES, 256, [(1, "inside", 0)])
    assert (plain != unnamed).any()
    changed = np.argwhere((plain != related).any(-1))
    # From the cow's centre (192, 128) to the sky's (128, 128): a horizontal arrow.
    assert changed[:, 1].min() >= 100 and changed[:, 1].max() <= 200
    assert abs(changed[:, 0].mean() - 128) < 3
    reversed_arrow = pictures.draw_layout(NAMES, BOXES, 256, [(0, "inside", 1)])
    assert (reversed_arrow != related).any()


@pytest.mark.parametrize("size", [32, 64, 256])
def test_extreme_boxes_are_drawn_without_complaint(size):
    names = ["a very long category name indeed"] * 4
    boxes = np.array([[0, 0, 0.01, 0.01], [0.99, 0.99, 1, 1], [0, 0, 1, 1], [-1, 0.5, 2, 0.5]])
    rows = [(0, "left of", 1), (1, "above", 1), (2, "a long predicate", 3)]
    assert pictures.draw_layout(names, boxes, size, rows).shape == (size, size, 3)
    assert pictures.draw_layout([], np.zeros([0, 4]), size).shape == (size, size, 3)


def test_patch_sheet_frames_each_patch_in_its_colour():
    crops = [np.full([8, 8, 3], value, np.uint8) for value in (40, 90, 140)]
    sheet = pictures.patch_sheet(crops, ["sky", "cow", "cow"], ["image 1"] * 3, cell=50, columns=2)
    assert sheet.shape == (12 + 2 * (50 + 35 + 12), 12 + 2 * 62, 3)
    for index, (crop, name) in enumerate(zip(crops, ["sky", "cow", "cow"], strict=True)):
        top, left = 12 + (index // 2) * 97, 12 + (index % 2) * 62
        assert (sheet[top + 25, left + 25] == crop[0, 0]).all()
        assert tuple(sheet[top + 25, left - 2]) == pictures.category_color(name)
    with pytest.raises(ValueError):
        pictures.patch_sheet(crops, ["sky"])
    assert pictures.patch_sheet([], []).ndim == 3


def test_comparison_grid_puts_row_i_of_every_column_side_by_side():
    dark, light = (np.full([4, 4, 3], value, np.uint8) for value in (30, 220))
    picture = pictures.comparison_grid([("ours", [dark, light]), ("real", [light])], cell=40)
    assert picture.shape == (26 + 2 * 48 + 8, 8 + 2 * 48, 3)
    values = [picture[26 + 20, 28, 0], picture[26 + 68, 28, 0], picture[26 + 20, 76, 0]]
    assert values == [30, 220, 220]
    assert picture[26 + 68, 76, 0] > 240  # the shorter column leaves its cell empty
    assert picture[:26].min() < 120  # titles
    titled = pictures.comparison_grid([("ours", [dark])], cell=40, title="A long title of it all")
    assert titled.shape == (26 + 30 + 48 + 8, 56, 3)


@pytest.mark.parametrize("width", [10, 40, 1000])
def test_long_text_is_shortened_to_fit(width):
    font = pictures._font(12)
    text = pictures._fitted(font, "traffic light at the corner", width)
    assert font.getlength(text) <= max(width, font.getlength("…"))
    assert (text == "traffic light at the corner") == (width == 1000)
