"""Curves as pictures: points where they belong, gaps where nothing is a number."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from training.report.curves import (
    LARGEST,
    MOST_POINTS,
    draw_curve,
    drawable,
    group_of,
    grouped,
    picture_of,
)
from training.report.events import Curve


def curve(values, steps=None):
    steps = np.arange(len(values)) if steps is None else np.array(steps)
    return Curve(steps, np.array(values, float))


def lines(drawn):
    """The lines of a drawn curve as lists of (step, value)."""
    return [[tuple(point) for point in line.get_xydata()] for line in drawn.axes[0].lines]


def test_points_lie_where_steps_and_values_say():
    drawn = draw_curve(curve([3.0, 1.0, 2.0], steps=[10, 20, 50]))
    assert lines(drawn) == [[(10, 3), (20, 1), (50, 2)]]
    assert not drawn.axes[0].collections


def test_what_is_not_finite_leaves_a_gap():
    drawn = draw_curve(curve([0.0, 1.0, np.nan, np.inf, 1.0, 0.0]))
    assert lines(drawn) == [[(0, 0), (1, 1)], [(4, 1), (5, 0)]]
    assert picture_of(curve([np.nan])) is None
    drawn = draw_curve(curve([1.0, np.nan, 2.0]))  # nothing to join: two points
    assert lines(drawn) == [[(0, 1)], [(2, 2)]]
    assert all(line.get_marker() == "." for line in drawn.axes[0].lines)


def test_a_long_curve_is_drawn_as_means_over_its_extremes():
    drawn = draw_curve(curve(np.arange(10 * MOST_POINTS) % 10))  # every ten: mean 4.5 of 0..9
    (line,) = lines(drawn)
    assert len(line) == MOST_POINTS and {value for _, value in line} == {4.5}
    (band,) = drawn.axes[0].collections
    assert set(band.get_paths()[0].vertices[:, 1]) == {0.0, 9.0}


@pytest.mark.parametrize(
    "values", [[5.0], [4.0, 4.0], [1e5, 1e5 + 1e-9], [-LARGEST, LARGEST], [-1.7e308, 1.7e308, 0.0]]
)
def test_whatever_the_numbers_a_picture_comes_of_them_and_always_the_same(values):
    picture = picture_of(curve(values))
    assert picture == picture_of(curve(values))
    pixels = np.asarray(Image.open(io.BytesIO(picture)))
    assert pixels.shape == (280, 680, 4) and pixels[..., 3].any()


def test_what_no_axis_has_room_for_is_a_gap():
    assert drawable(curve([1.0, 2 * LARGEST, -np.inf, np.nan])).tolist() == [1, 0, 0, 0]


def test_groups_are_those_of_the_tasks_in_their_order():
    names = (
        "guard/skipped",
        "layout/overlap",
        "loss/discriminator/auxiliary",
        "loss/generator",
        "retrieval/scale",
        "semihard_loss",
        "violations",
    )
    curves = dict.fromkeys(names, curve([1.0]))
    found = {title: list(members) for title, members in grouped(curves).items()}
    assert list(found.items()) == [
        ("Generator losses", ["loss/generator"]),
        ("Discriminator losses", ["loss/discriminator/auxiliary"]),
        ("Retrieval", ["retrieval/scale"]),
        ("Layout", ["layout/overlap"]),
        ("Guard", ["guard/skipped"]),
        ("Losses", ["semihard_loss"]),
        ("Other", ["violations"]),
    ]
    assert group_of("loss") == "Losses"
