"""Curves as pictures: points where they belong, gaps where nothing is a number."""

from __future__ import annotations

import re

import numpy as np

from training.report.curves import MOST_POINTS, draw_curve, group_of, grouped
from training.report.events import Curve

# The plot lies between x 52 and 332, y 8 and 118.


def lines(values, steps=None):
    steps = np.arange(len(values)) if steps is None else np.array(steps)
    drawn = draw_curve("loss", Curve(steps, np.array(values, float)))
    found = re.findall(r'<polyline points="([^"]*)"', drawn)
    return drawn, [[tuple(map(float, p.split(","))) for p in line.split()] for line in found]


def test_points_lie_where_steps_and_values_say():
    drawn, found = lines([3.0, 1.0, 2.0], steps=[10, 20, 50])
    assert found == [[(52, 8), (122, 118), (332, 63)]]
    assert ">10</text>" in drawn and ">50</text>" in drawn and ">3</text>" in drawn
    assert "2 at step 50" in drawn


def test_a_constant_runs_through_the_middle():
    drawn, found = lines([4.0, 4.0])
    assert found == [[(52, 63), (332, 63)]]
    assert drawn.count(">4</text>") == 1


def test_what_is_not_finite_leaves_a_gap_and_is_counted():
    drawn, found = lines([0.0, 1.0, np.nan, np.inf, 1.0, 0.0])
    assert [len(line) for line in found] == [2, 2]
    assert "2 not finite" in drawn
    drawn, found = lines([np.nan])
    assert not found and "<svg" not in drawn and "1 not finite" in drawn
    drawn, found = lines([1.0, np.nan, 2.0])
    assert not found and drawn.count("<circle") == 2


def test_a_long_curve_is_drawn_as_means_over_its_extremes():
    count = 10 * MOST_POINTS
    drawn, (line,) = lines(np.arange(count) % 10)  # every ten points: mean 4.5 of 0..9
    assert len(line) == MOST_POINTS
    assert {y for _, y in line} == {63.0}
    band = re.search(r'<polygon points="([^"]*)"', drawn)[1].split()
    assert len(band) == 2 * MOST_POINTS
    assert {float(p.split(",")[1]) for p in band} == {8.0, 118.0}


def test_one_point():
    drawn, found = lines([5.0])
    assert not found and '<circle cx="52.0" cy="63.0"' in drawn


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
    curve = Curve(np.array([1]), np.array([1.0]))
    found = {
        title: list(members) for title, members in grouped(dict.fromkeys(names, curve)).items()
    }
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
