"""Pictures show what they claim: colours in place, arrows, labels, sizes, text that fits."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageDraw

from rgan_tf import pictures
from training.compare.entries import ABLATION, PARTS, SYSTEMS
from training.evaluation.names import SYSTEMS as EVALUATED

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


def test_labels_may_say_more_than_the_category_and_its_colour_stays():
    boxes = np.array([[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]])
    plain = pictures.draw_layout(["cow", "cow"], boxes, 200)
    told = pictures.draw_layout(["cow", "cow"], boxes, 200, labels=["cow:1", "cow:2"])
    assert (plain != told).any() and _near(told[60, 0], pictures.category_color("cow"))
    crops = [np.zeros([8, 8, 3], np.uint8)]
    sheet = pictures.patch_sheet(crops, ["cow:2"], cell=50, categories=["cow"])
    assert tuple(sheet[12 + 25, 12 - 2]) == pictures.category_color("cow")
    assert (sheet != pictures.patch_sheet(crops, ["cow"], cell=50)).any()


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
    titled = pictures.comparison_grid([("ours", [dark])], cell=40, title="All")
    assert titled.shape == (26 + 30 + 48 + 8, 56, 3)


@pytest.fixture
def written(monkeypatch):
    """All texts that are drawn, as (text, left, right, top)."""
    texts = []
    draw = ImageDraw.ImageDraw.text

    def record(self, xy, text, *args, font, **options):
        texts.append((text, xy[0], xy[0] + font.getlength(text), xy[1]))
        return draw(self, xy, text, *args, font=font, **options)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", record)
    return texts


TITLES = [
    "graph and true boxes",
    "predicted layout",
    "retrieved patches",
    "real",
    *(f"{name} ({boxes} boxes)" for name in EVALUATED for boxes in ("predicted", "true")),
    *(f"procedural 64-{name}" for name in (*SYSTEMS, *ABLATION, *PARTS)),
    "my_very_long_config_without_a_single_blank-retrievegan",
    "ein Wort: Donaudampfschifffahrtsgesellschaftskapitän",
]


@pytest.mark.parametrize("cell", [40, 96, 128, 192])
def test_titles_of_columns_are_whole_and_within_their_column(written, cell):
    image = np.zeros([4, 4, 3], np.uint8)
    titles = [title.replace("_", " ") if " " in title else title for title in TITLES]
    picture = pictures.comparison_grid(
        [(title, [image]) for title in titles], cell=cell, title=" ".join(titles)
    )
    assert picture.shape[1] == 8 + len(titles) * (cell + 8)
    for number, title in enumerate(titles):
        left = 8 + number * (cell + 8)
        lines = [
            (top, text)
            for text, start, stop, top in written
            if left <= start and stop <= left + cell and top > picture.shape[0] - 200 - cell
        ]
        found = "".join(text for _, text in sorted(lines)).replace(" ", "")
        assert title.replace(" ", "") in found, title
        assert "…" not in found
    top_line = "".join(text for text, start, _, _ in written if start == 8)
    assert " ".join(titles).replace(" ", "")[:80] in top_line.replace(" ", "")
    assert all(stop <= picture.shape[1] for _, _, stop, _ in written)


@pytest.mark.parametrize("width", [1, 30, 55, 1000])
def test_wrapped_text_is_whole_and_words_are_divided_only_where_they_must(width):
    font = pictures._font(13)
    text = "no cooccurrence loss of a_long_name"
    lines = pictures._wrapped(font, text, width)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert all(font.getlength(line) <= width or len(line) == 1 for line in lines)
    if width == 1000:
        assert lines == [text]
    if width == 55:
        assert lines[0] == "no" and "loss of" in lines
    assert pictures._wrapped(font, "", width) == [""]


@pytest.mark.parametrize("width", [10, 40, 1000])
def test_long_text_is_shortened_to_fit(width):
    font = pictures._font(12)
    text = pictures._fitted(font, "traffic light at the corner", width)
    assert font.getlength(text) <= max(width, font.getlength("…"))
    assert (text == "traffic light at the corner") == (width == 1000)
