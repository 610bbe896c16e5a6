"""Ids, reserved entries, near names, round trip."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgan_tf.errors import BadInput
from rgan_tf.near_names import near_names
from rgan_tf.vocabulary import IMAGE, IN_IMAGE, MAX_NAME_CHARACTERS, PADDING, Vocabulary

WORLD = Vocabulary.from_categories(["tree", "sky", "cow"])


def test_ids_are_positions_after_the_reserved_entries():
    assert (PADDING, IMAGE, IN_IMAGE) == (0, 1, 0)
    assert WORLD.objects[IMAGE] == "__image__" and WORLD.predicates[IN_IMAGE] == "__in_image__"
    assert [WORLD.object_id(n) for n in ("cow", "sky", "tree")] == [2, 3, 4]
    geometric = ("left of", "right of", "above", "below", "inside", "surrounding")
    assert [WORLD.predicate_id(n) for n in geometric] == [1, 2, 3, 4, 5, 6]
    assert (WORLD.num_objects, WORLD.num_predicates) == (5, 7)
    assert WORLD.object_name(4) == "tree" and WORLD.predicate_name(6) == "surrounding"
    assert WORLD.categories == ("cow", "sky", "tree")


def test_near_names_are_found_whatever_the_case():
    assert near_names("TREE", ["Tree", "sky"]) == "did you mean 'Tree'?"
    assert near_names("xyz", ["sea", "rock"]) == "known names include 'sea', 'rock'"
    assert near_names("tree", []) == ""


def test_unknown_names_are_answered_with_near_ones():
    with pytest.raises(BadInput, match="unknown object 'Tre'; did you mean 'tree'"):
        WORLD.object_id("Tre")
    with pytest.raises(BadInput, match="unknown relationship 'left'; did you mean 'left of'"):
        WORLD.predicate_id("left")
    with pytest.raises(BadInput, match="known names include 'cow', 'sky', 'tree'"):
        WORLD.object_id("zzzzzzz")


def test_a_name_is_known_with_its_accents_together_or_apart():
    together, apart = "b\u00e4ume", "ba\u0308ume"
    for written in (together, apart):
        trees = Vocabulary.from_categories([written, "sky"])
        assert trees.object_id(together) == trees.object_id(apart) == trees.objects.index(written)
        with pytest.raises(BadInput, match="unknown object 'baume'"):
            trees.object_id("baume")
    with pytest.raises(BadInput, match="is listed twice"):
        Vocabulary.from_categories([together, apart])


def test_a_name_that_no_graph_could_write_is_refused_where_tables_are_made():
    longest = MAX_NAME_CHARACTERS * "a"
    assert Vocabulary.from_categories([longest]).object_id(longest) == 2
    for tables in (([longest + "a"],), (["sky"], [longest + "a"])):
        with pytest.raises(BadInput, match="^the name 'a+'... has 65 characters; .* at most 64"):
            Vocabulary.from_categories(*tables)
    # Data that was prepared before this rule can still be read.
    assert Vocabulary((*WORLD.objects, longest + "a"), WORLD.predicates).num_objects == 6


def test_tables_of_an_earlier_version_can_have_their_names_as_graphs_have_them():
    names = ("ba\u0308ume", "u\u0308ber")
    old = Vocabulary.from_categories(names[:1], names[1:])
    new = old.with_composed_names()
    assert (new.categories, new.predicates[1:]) == (("b\u00e4ume",), ("\u00fcber",))
    assert new.sha256() != old.sha256() and new.with_composed_names() == new


@pytest.mark.parametrize("name", ["__image__", "__padding__"])
def test_reserved_objects_cannot_be_named(name):
    with pytest.raises(BadInput, match="added by the model"):
        WORLD.object_id(name)


def test_reserved_names_are_never_suggested():
    with pytest.raises(BadInput) as caught:
        WORLD.object_id("__imag__")
    assert "__image__" not in str(caught.value)


@pytest.mark.parametrize("lookup", [WORLD.object_name, WORLD.predicate_name])
@pytest.mark.parametrize("bad", [-1, 7, 10**9, 1.0, "1", None])
def test_ids_out_of_range(lookup, bad):
    with pytest.raises(BadInput, match="id .*: must be (in|a whole number)"):
        lookup(bad)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {"objects": []},
        {"objects": ["cow"], "predicates": []},
        {"objects": "cow", "predicates": []},
        {"objects": ["__image__", "__padding__"], "predicates": ["__in_image__"]},
        {"objects": ["__padding__", "__image__", "a", "a"], "predicates": ["__in_image__"]},
        {"objects": ["__padding__", "__image__", ""], "predicates": ["__in_image__"]},
        {"objects": ["__padding__", "__image__", 3], "predicates": ["__in_image__"]},
        {"objects": ["__padding__", "__image__", " a"], "predicates": ["__in_image__"]},
    ],
)
def test_from_json_refuses(value):
    with pytest.raises(BadInput, match="^voc.json: "):
        Vocabulary.from_json(value, "voc.json")


@given(st.sets(st.text("abcdeé ", min_size=1).filter(lambda s: s == s.strip()), max_size=8))
def test_round_trip_and_fingerprint(categories):
    vocabulary = Vocabulary.from_categories(categories)
    again = Vocabulary.from_json(vocabulary.to_json())
    assert again == vocabulary and again.sha256() == vocabulary.sha256()
    more = Vocabulary.from_categories(categories | {"zebra"})
    assert more.sha256() != vocabulary.sha256()


def test_fingerprint_tells_tables_and_orders_apart():
    reserved = ("__padding__", "__image__")
    first = Vocabulary(reserved + ("a", "b"), ("__in_image__", "c"))
    swapped = Vocabulary(reserved + ("b", "a"), ("__in_image__", "c"))
    moved = Vocabulary(reserved + ("a",), ("__in_image__", "b", "c"))
    assert len({v.sha256() for v in (first, swapped, moved)}) == 3
