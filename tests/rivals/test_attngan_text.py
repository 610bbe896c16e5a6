"""Texts of scene graphs: the sentences, their words, and the same numbers within a graph."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.data.pipeline import mirror_triples, mirrored_predicates
from rgan_tf.errors import BadInput
from rgan_tf.rivals.attngan.sentences import Dictionary, words_of
from rgan_tf.rivals.attngan.tokens import SceneTexts, same_text, triple_order
from rgan_tf.vocabulary import Vocabulary
from rgan_tf.world.world import categories

WORDS = Vocabulary.from_categories(("grass", "Traffic light", "sky", "tree", "wall-concrete"))
SKY_GRASS_TREE = ("sky", "grass", "tree")


def graph_of(vocabulary, *scenes, objects: int = 4, triples: int = 4) -> dict[str, tf.Tensor]:
    """Scenes (names, triples with predicate names) as padded tensors."""
    ids = np.zeros([len(scenes), objects], np.int32)
    rows = np.full([len(scenes), triples, 3], -1, np.int32)
    for row, (names, told) in enumerate(scenes):
        ids[row, : len(names)] = [vocabulary.object_id(name) for name in names]
        for place, (subject, predicate, target) in enumerate(told):
            rows[row, place] = (subject, vocabulary.predicates.index(predicate), target)
    return {"objects": tf.constant(ids), "triples": tf.constant(rows)}


CASES = {
    "plain": (
        (SKY_GRASS_TREE, [(0, "above", 1), (2, "left of", 0)]),
        "sky above grass and tree left of sky",
    ),
    "orphan": ((SKY_GRASS_TREE, [(0, "above", 1)]), "sky above grass"),
    "empty": ((SKY_GRASS_TREE, []), "sky and grass and tree"),
    "only in the image": ((("sky", "grass"), [(0, "__in_image__", 1)]), "sky and grass"),
    "duplicate": (
        (("tree", "tree"), [(0, "left of", 1), (0, "left of", 1)]),
        "tree left of tree and tree left of tree",
    ),
    "several words": (
        (("Traffic light", "wall-concrete"), [(0, "inside", 1)]),
        "traffic light inside wall-concrete",
    ),
}


def test_graphs_have_these_texts():
    texts = SceneTexts(WORDS)
    tokens = texts(graph_of(WORDS, *(scene for scene, _ in CASES.values()))).numpy()
    assert tokens.shape[1] % 8 == 0
    for row, (_, text) in zip(tokens, CASES.values(), strict=True):
        ids = texts.dictionary.ids_of(text)
        assert row.tolist() == ids + [0] * (len(row) - len(ids))


def test_a_mirrored_image_has_the_text_of_its_mirrored_graph():
    graph = graph_of(WORDS, CASES["plain"][0])
    mirrored = mirror_triples(graph["triples"].numpy(), mirrored_predicates(WORDS))
    texts = SceneTexts(WORDS)
    tokens = texts({**graph, "triples": tf.constant(mirrored)}).numpy()[0]
    expected = texts.dictionary.ids_of("sky above grass and tree right of sky")
    assert tokens[tokens > 0].tolist() == expected


@pytest.mark.parametrize(
    ("most", "text"),
    [
        (8, "sky above grass and tree left of sky"),
        (7, "sky above grass"),
        (3, "sky above grass"),
        (2, ""),
    ],
)
def test_a_text_that_is_too_long_loses_whole_sentences_from_its_end(most, text):
    scene, _ = CASES["plain"]
    texts = SceneTexts(WORDS)
    tokens = texts(graph_of(WORDS, scene), most_words=most).numpy()[0]
    assert tokens.shape == (most,)
    assert tokens[tokens > 0].tolist() == texts.dictionary.ids_of(text)


def test_no_later_sentence_takes_the_room_of_a_longer_one():
    """The second has no room, so the shorter third is left out with it."""
    scene = (SKY_GRASS_TREE, [(0, "above", 1), (2, "left of", 0), (0, "above", 2)])
    tokens = SceneTexts(WORDS)(graph_of(WORDS, scene), most_words=7)
    assert int(np.sum(tokens > 0)) == 3


def test_words_are_lower_case_runs_of_ascii_word_characters():
    assert words_of("Traffic light, wall-concrete") == ["traffic", "light", "wall", "concrete"]
    assert words_of("left of café") == ["left", "of", "caf"]


def test_the_dictionary_is_closed_sorted_and_starts_at_one():
    dictionary = Dictionary(WORDS)
    assert dictionary.words == tuple(sorted(dictionary.words))
    assert dictionary.ids_of(dictionary.words[0]) == [1]
    assert {"and", "traffic", "light", "concrete", "of"} <= set(dictionary.words)
    assert not any("padding" in word or "image" in word for word in dictionary.words)
    with pytest.raises(BadInput, match="unknown word 'horse'"):
        dictionary.ids_of("horse above grass")
    with pytest.raises(BadInput, match="has no word of ASCII letters"):
        Dictionary(Vocabulary.from_categories(("tree", "木")))


def test_the_built_in_world_has_28_words_and_texts_of_80():
    dictionary = Dictionary(
        Vocabulary.from_categories([category["name"] for category in categories()])
    )
    assert dictionary.size == 28 + 1
    assert dictionary.longest(objects=8, triples=16) == 80  # 16 x 4 + 15, rounded up
    assert Dictionary(WORDS).longest(objects=2, triples=2) == 16  # 2 x (2 + 2 + 2) + 1
    assert Dictionary(WORDS).longest(objects=8, triples=1) == 24  # 8 names of 2, and 7 "and"


def test_the_order_of_triples_is_drawn_per_row_and_changes_the_text_only():
    scene = (SKY_GRASS_TREE, [(0, "above", 1), (2, "left of", 0), (2, "above", 1)])
    graph = graph_of(WORDS, *[scene] * 20)
    seeds = tf.constant([[row, 3] for row in range(20)])
    order = triple_order(graph["triples"], seeds)
    np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(4), [20, 1]))
    assert (order.numpy()[:, 3] == 3).all()  # padding stays last
    assert len(np.unique(order, axis=0)) > 3
    texts = SceneTexts(WORDS)
    shuffled, straight = texts(graph, order).numpy(), texts(graph).numpy()
    assert len(np.unique(shuffled, axis=0)) > 3
    np.testing.assert_array_equal(np.sort(shuffled, axis=1), np.sort(straight, axis=1))
    again = triple_order(graph["triples"][4:5], seeds[4:5])
    np.testing.assert_array_equal(again, order[4:5])


def test_scenes_are_the_same_text_by_their_sentences_in_any_order():
    one = [(0, "above", 1), (2, "left of", 0)]
    graph = graph_of(
        WORDS,
        (SKY_GRASS_TREE, one),
        (("tree", "grass", "sky"), [(0, "left of", 2), (2, "above", 1)]),  # the same, told anew
        (SKY_GRASS_TREE, one[:1]),
        (SKY_GRASS_TREE, []),
        (("tree", "sky", "grass"), []),
        (("tree", "sky"), []),
    )
    same = same_text(SceneTexts(WORDS).keys(graph)).numpy()
    expected = np.eye(6, dtype=bool)
    for a, b in ((0, 1), (3, 4)):
        expected[a, b] = expected[b, a] = True
    np.testing.assert_array_equal(same, expected)


def test_names_of_the_same_words_make_the_same_text():
    names = ("wall-brick", "wall brick", "sky", "Sky")
    vocabulary = Vocabulary.from_categories(names, ("behind", "next to", "next-to"))
    graph = graph_of(
        vocabulary,
        (("wall-brick", "sky"), [(0, "next to", 1)]),
        (("wall brick", "Sky"), [(0, "next-to", 1)]),
        (("wall brick", "Sky"), [(0, "behind", 1)]),
        (("Sky", "wall brick"), [(0, "next-to", 1)]),
        (("wall brick", "sky"), []),
        (("wall-brick", "Sky"), []),
    )
    texts = SceneTexts(vocabulary)
    words = texts(graph).numpy()
    expected = (words[:, np.newaxis] == words[np.newaxis]).all(axis=-1)
    expected[4, 5] = expected[5, 4] = True  # names in no relationship have no order
    np.testing.assert_array_equal(same_text(texts.keys(graph)), expected)
    assert expected[0, 1] and not expected[0, 2] and not expected[0, 3]
