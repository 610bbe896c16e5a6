"""What the garbage collector walks while versions come and go."""

from __future__ import annotations

import gc
import weakref

import pytest

from export.server.freezing import Freezer


class Model:
    """Its parts refer to one another, as those of a model do."""

    def __init__(self):
        self.parts = Parts()


class Parts:
    def __init__(self):
        self.itself = self


@pytest.fixture(autouse=True)
def no_collector_but_ours():
    """Nothing is collected by chance, and nothing is set aside before and after the test."""
    gc.disable()
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


def is_walked(thing) -> bool:
    return any(other is thing for other in gc.get_objects())


def test_a_version_is_set_aside_once():
    freezer, first = Freezer(), Model()
    assert is_walked(first.parts)
    assert freezer.freeze_if_changed([first])
    assert not is_walked(first.parts) and gc.get_freeze_count() > 1000
    later = Parts()
    assert not freezer.freeze_if_changed([first])
    assert is_walked(later) and not is_walked(first.parts)


def test_without_a_version_all_that_is_there_stays_walked():
    assert not Freezer().freeze_if_changed([])
    assert gc.get_freeze_count() == 0


def test_what_is_given_up_is_collected_before_the_next_is_set_aside():
    freezer, first, second = Freezer(), Model(), Model()
    freezer.freeze_if_changed([first])
    parts = weakref.ref(first.parts)
    del first
    gc.collect()
    assert parts() is not None, "what is set aside is not collected by itself"
    assert freezer.freeze_if_changed([second])
    assert parts() is None and not is_walked(second.parts)


def test_while_a_version_that_was_given_up_answers_nothing_is_set_aside():
    freezer, first, second = Freezer(), Model(), Model()
    freezer.freeze_if_changed([first])
    assert not freezer.freeze_if_changed([second])
    assert is_walked(first.parts) and is_walked(second.parts)
    del first
    assert freezer.freeze_if_changed([second]) and not freezer.freeze_if_changed([second])
    assert not is_walked(second.parts)


def test_one_that_comes_back_loaded_anew_is_another():
    freezer, first = Freezer(), Model()
    freezer.freeze_if_changed([first])
    del first
    again = Model()
    assert freezer.freeze_if_changed([again]) and not is_walked(again.parts)


def test_several_versions_are_told_from_some_of_them():
    freezer, first, second = Freezer(), Model(), Model()
    freezer.freeze_if_changed([first])
    assert freezer.freeze_if_changed([first, second])
    assert not freezer.freeze_if_changed([second, first])
    del first
    assert freezer.freeze_if_changed([second])
