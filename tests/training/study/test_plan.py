"""Which pairs are shown, where and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.study.plan import Chosen, Scene, most_repeats, plan_pairs, take_scenes


def scene(number=0, a=(1, 2), b=(3, 4), objects=("sky", "tree"), shown=None) -> Scene:
    shown = tuple(range(len(objects))) if shown is None else shown
    return Scene(number, objects, (), shown, Chosen(a, {}), Chosen(b, {}))


def test_scenes_that_cannot_be_asked_about_are_left_out_and_counted():
    scenes = [
        scene(0),
        scene(1, b=(1, 2)),  # the same
        scene(2, objects=("sky", "tree"), shown=(0,), a=(1,), b=(2,)),  # one patch
        scene(3, objects=("tree", "tree"), a=(1, 2), b=(2, 1)),  # two trees exchange their patches
        scene(4, objects=("sky", "tree"), a=(1, 2), b=(2, 1)),  # here that is another picture
        scene(5, objects=("tree", "tree"), a=(1, 1), b=(1, 2)),
        scene(6),
    ]
    taken, left_out = take_scenes(scenes, 3)
    assert [item.image_id for item in taken] == [0, 4, 5]
    assert (left_out.identical, left_out.too_small) == (2, 1)
    # No more is read than needed, and less is taken where there is less.
    endless = (scene(number) for number in iter(int, 1))
    assert len(take_scenes(endless, 2)[0]) == 2
    assert len(take_scenes(scenes, 100)[0]) == 4


@given(st.integers(1, 60), st.data())
def test_a_plan(count, data):
    repeats = data.draw(st.integers(0, most_repeats(count)))
    seed = data.draw(st.integers(0, 1000))
    pairs = plan_pairs([scene(number) for number in range(count)], repeats, seed=seed)
    by_id = {pair.id: pair for pair in pairs}
    assert list(by_id) == sorted(by_id) and len(by_id) == count + repeats
    originals = [pair for pair in pairs if pair.repeats is None]
    assert sorted(pair.scene.image_id for pair in originals) == list(range(count))
    left = sum(pair.left == "a" for pair in originals)
    assert abs(2 * left - count) <= 1
    for place, pair in enumerate(pairs):
        assert {pair.left, pair.right} == {"a", "b"}
        if pair.repeats is not None:
            first = by_id[pair.repeats]
            assert first.scene is pair.scene and first.left == pair.right and first.id < pair.id
            assert place >= most_repeats(count) > pairs.index(first)
    assert sum(pair.repeats is not None for pair in pairs) == repeats
    again = plan_pairs([scene(number) for number in range(count)], repeats, seed=seed)
    assert again == pairs


def test_order_and_sides_are_of_the_seed():
    scenes = [scene(number) for number in range(40)]
    plans = [plan_pairs(scenes, 5, seed=seed) for seed in range(200)]
    orders = {tuple(pair.scene.image_id for pair in plan) for plan in plans}
    assert len(orders) == 200 and tuple(range(40)) not in orders
    # Every place has either set on the left about equally often.
    for place in (0, 7, 39):
        share = sum(plan[place].left == "a" for plan in plans) / 200
        assert share == pytest.approx(0.5, abs=0.13)
    # Of one pair, the extra one of an odd number falls on either side.
    assert {plan_pairs([scene()], 0, seed=seed)[0].left for seed in range(20)} == {"a", "b"}
