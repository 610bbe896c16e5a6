"""What calls from Python may pass for numbers and lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rgan_tf.arguments import list_of, path_list, path_text, real_number, text_list, whole_number
from rgan_tf.errors import BadInput


def test_numbers_may_be_of_numpy():
    for value in (3, np.int64(3), np.uint8(3), np.array(3)):
        whole = whole_number(value, "seed")
        assert whole == 3 and type(whole) is int
    for value in (1, 1.0, np.float32(1.0), np.int32(1)):
        assert type(real_number(value, "temperature")) is float


@pytest.mark.parametrize("value", [3.0, "3", None, True, [3], np.array([3]), np.float64(3)])
def test_what_is_not_a_whole_number_is_named(value):
    with pytest.raises(BadInput, match="^seed .*: must be a whole number$") as caught:
        whole_number(value, "seed")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", ["1", None, False, [1.0], 1j])
def test_what_is_not_a_number_is_named(value):
    with pytest.raises(BadInput, match="^temperature .*: must be a number$"):
        real_number(value, "temperature")


def test_one_text_is_not_a_list_of_its_letters():
    assert text_list("sky", "keep") == ("sky",)
    assert text_list(iter(["sky", "tree"]), "keep") == ("sky", "tree")
    assert text_list(np.array(["sky"]), "keep") == ("sky",)
    assert text_list([0, "sky"], "keep", also=(int,)) == ("0", "sky")
    assert path_list(Path("a"), "banks") == ("a",)
    assert path_list(["a", Path("b")], "banks") == ("a", "b")
    assert list_of([1.5], "x", float, "numbers") == (1.5,)


@pytest.mark.parametrize("values", [None, 5, b"sky", {"sky": 1}, [None], [["sky"]], [0], [True]])
def test_what_is_not_a_list_of_texts_is_named(values):
    with pytest.raises(
        BadInput, match="^keep: must be a list of texts, (got|and holds) "
    ) as caught:
        text_list(values, "keep")
    assert len(str(caught.value)) < 120


class Place:
    """A path by `os.PathLike`, whatever it says."""

    def __init__(self, path):
        self.path = path

    def __fspath__(self):
        return self.path


def test_what_is_opened_says_its_path():
    assert path_text(Place("a"), "bank") == path_text(Path("a"), "bank") == "a"
    assert path_list([Place("a")], "banks") == ("a",)


@pytest.mark.parametrize("value", [None, 5, b"a", ["a"], Place, Place(b"a"), Place(5), "a\0"])
def test_what_is_not_a_path_is_named(value):
    for read, given in ((path_text, value), (path_list, [value])):
        with pytest.raises(BadInput, match=r"^bank.* must be a (path as text|list of paths), "):
            read(given, "bank")


def test_one_thing_is_not_a_list_of_it():
    with pytest.raises(BadInput, match="x: must be a list of numbers, got one; put it into a list"):
        list_of(1.5, "x", float, "numbers")
    with pytest.raises(BadInput, match="x: must be a list of numbers, and holds 'a'"):
        list_of(["a"], "x", float, "numbers")
