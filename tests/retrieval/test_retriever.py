"""What a user's own retriever is given, and what is made of its answer."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from nearest_colour import NearestColour

from rgan_tf import registered_names
from rgan_tf.errors import BadInput
from rgan_tf.retrieval import registry
from rgan_tf.retrieval.learned import LearnedRetriever
from rgan_tf.retrieval.patch_library import embed_bank
from rgan_tf.retrieval.retriever import (
    Retrieved,
    Retriever,
    check_retrieved,
    choose_patches,
)
from rgan_tf.retrieval.rules import NearestRetriever
from rgan_tf.retrieval.selection import Candidates, Options, Selection, best_in_turn

# One scene of three objects; the first patch is black, and brighter ones are farther from it.
IDS = tf.constant([[[5, 6, 7], [6, 5, 8], [9, -1, -1]]])
BRIGHTNESS = {5: 0.0, 6: 10.0, 7: 5.0, 8: 3.0, 9: 200.0, -1: 0.0}
COLOURS = tf.constant(np.vectorize(BRIGHTNESS.get)(IDS)[..., None].repeat(3, axis=3), tf.float32)
CANDIDATES = Candidates(IDS, IDS >= 0, None, COLOURS)


def choice(options=None, candidates=CANDIDATES, **nearest):
    return choose_patches(NearestColour(), candidates, options or Options(), **nearest)


def test_the_best_by_a_score_by_hand():
    found = choice()
    assert found.choice.numpy().tolist() == [[0, 1, 0]]  # 5, 5, and the only one there is
    assert found.order.numpy().tolist() == [[0, 1, 2]]
    assert choice(Options(repeats=False)).choice.numpy().tolist() == [[0, 2, 0]]  # 5, then 8
    some = Options(repeats=tf.constant([False]))
    assert choice(some).choice.numpy().tolist() == [[0, 2, 0]]


def test_a_lock_holds_and_a_lock_on_nothing_does_not():
    found = choice(Options(locked=tf.constant([[2, -1, 1]]), repeats=False))
    assert found.choice.numpy().tolist() == [[2, 1, 0]]  # 7; 5, as nobody has it; slot 1 is empty
    assert found.order.numpy().tolist() == [[1, 2, -1]]


def test_scenes_that_ask_for_the_nearest_get_them():
    ids = tf.repeat(IDS, 2, axis=0)
    both = Candidates(ids, ids >= 0, None, tf.repeat(COLOURS, 2, axis=0))
    found = choice(candidates=both, is_nearest=tf.constant([False, True]))
    assert found.choice.numpy().tolist() == [[0, 1, 0], [0, 0, 0]]


def test_choose_may_be_a_function_of_tensorflow():
    """What `Retriever` advises for Python's `if` over tensors; no dataclass could be traced."""

    class Brightest(NearestColour):
        @tf.function
        def choose(self, candidates, options):
            if tf.reduce_all(candidates.valid[:, :, :1]):
                chosen = best_in_turn(candidates.embeddings[..., 0], candidates, options)
            else:
                chosen = Selection(*[tf.fill(tf.shape(candidates.valid)[:2], -1)] * 2)
            return chosen

    options = Options(locked=tf.constant([[-1, -1, 1]]), repeats=False)
    assert choose_patches(Brightest(), CANDIDATES, options).choice.numpy().tolist() == [[1, 2, 0]]
    parts = tf.data.Dataset.from_tensors((IDS, IDS >= 0, COLOURS)).map(
        lambda ids, valid, colours: choose_patches(
            Brightest(), Candidates(ids, valid, None, colours), Options()
        )
    )
    assert [each.choice.numpy().tolist() for each in parts] == [[[1, 0, 0]]]


def test_arrays_and_lists_are_candidates_and_options():
    given = [part.numpy().astype(kind) for part, kind in ((IDS, "int64"), (IDS >= 0, "int32"))]
    candidates = Candidates(*given, None, COLOURS.numpy())
    found = choice(Options(locked=[[2, -1, 1]], repeats=np.False_), candidates)
    assert found.choice.numpy().tolist() == [[2, 1, 0]]
    assert candidates != Candidates(*given, None, COLOURS.numpy())  # and no error
    for wrong in (
        lambda: Candidates(IDS, IDS >= 0, None, COLOURS[:, :1]),
        lambda: Candidates(IDS[..., :0], IDS[..., :0] >= 0, None, COLOURS[..., :0, :]),
        lambda: Candidates(IDS, tf.RaggedTensor.from_tensor(IDS >= 0), None, COLOURS),
        lambda: Options(temperature=1.0),
        lambda: Options(seeds=[1, 2]),
        lambda: Options(repeats=None),
    ):
        with pytest.raises(ValueError, match=r"^\w+ must be \[B.*got "):
            wrong()


class Careless(Retriever):
    """Takes the last slot of every object, whatever it is asked."""

    def choose(self, candidates, options):
        last = tf.fill(tf.shape(candidates.valid)[:2], candidates.valid.shape[2] - 1)
        return Selection(last, last)


def test_a_careless_retriever_breaks_no_promise():
    found = choose_patches(Careless(), CANDIDATES, Options(locked=tf.constant([[1, -1, -1]])))
    assert found.choice.numpy().tolist() == [[1, 2, -1]]


@pytest.mark.parametrize("slot", [3, -7])
def test_a_slot_that_does_not_exist_is_none(slot):
    class Beyond(Retriever):
        def choose(self, candidates, options):
            return Selection(*[tf.fill([1, 3], slot)] * 2)

    assert choose_patches(Beyond(), CANDIDATES, Options()).choice.numpy().tolist() == [[-1] * 3]


@pytest.mark.parametrize(
    "wrong",
    [
        tf.zeros([1, 3]),
        tf.zeros([1, 3, 3], tf.int32),
        tf.zeros([1, 2], tf.int32),
        tf.zeros([3, 1], tf.int32),
        [[0, 0, 0]],
        None,
    ],
)
def test_what_is_not_a_slot_per_object_is_refused(wrong):
    class Wrong(Retriever):
        def choose(self, candidates, options):
            return Selection(wrong, wrong)

    with pytest.raises(ValueError, match=r"Wrong.choose: choice must be int32 \[B, O\]"):
        choose_patches(Wrong(), CANDIDATES, Options())


@pytest.mark.parametrize(
    "embed, got",
    [
        (lambda patches: tf.reduce_mean(patches.features, axis=-1), r"\(1, 3, 3\)"),
        (lambda patches: patches.features[0], r"\(3, 3, 4\)"),
        (lambda patches: tf.reduce_mean(patches.features), r"\(\)"),
        (lambda patches: None, "NoneType"),
    ],
)
def test_what_is_not_a_vector_per_patch_is_refused(embed, got):
    mine = NearestColour()
    mine.embed = embed
    batch = {"candidate_ids": IDS, "candidate_valid": IDS >= 0}
    batch["candidate_features"] = tf.zeros([1, 3, 3, 4])
    with pytest.raises(ValueError, match=f"NearestColour.embed: must return one vector .* {got}$"):
        mine.candidates_of(batch)
    mine.embed = lambda patches: tf.cast(patches.features, tf.float64)
    assert mine.candidates_of(batch).embeddings.dtype == tf.float32


def test_what_a_step_could_not_use_is_refused():
    retrieved = Retrieved(None, None, None, None, {"mine/share": tf.constant(0.5)})
    for monitors in ((), "mine/share"):  # a text is not a tuple of itself
        mine = NearestColour()
        mine.monitors = monitors
        with pytest.raises(ValueError, match="NearestColour.retrieve: reports 'mine/share', and"):
            check_retrieved(mine, retrieved)
    mine.monitors = ("mine/share", "mine/other")
    check_retrieved(mine, retrieved)
    with pytest.raises(ValueError, match="must return a Retrieved, got tuple"):
        check_retrieved(mine, tuple(retrieved))


def test_a_batch_without_patches_is_refused_with_what_to_do():
    batch = {"candidate_ids": IDS, "candidate_valid": IDS >= 0}
    with pytest.raises(BadInput, match="nearest_colour: needs retrieval.candidates of at most"):
        NearestColour().retrieve(
            batch, IDS[..., 0] >= 0, seeds=None, anchors=None, temperature=None, step=None
        )


def test_a_slot_for_locked_patches_changes_no_number_that_is_drawn():
    wide = Candidates(
        tf.pad(IDS, [[0, 0], [0, 0], [0, 1]]),
        tf.pad(IDS >= 0, [[0, 0], [0, 0], [0, 1]]),
        None,
        tf.pad(COLOURS, [[0, 0], [0, 0], [0, 1], [0, 0]]),
        searched=3,
    )
    for retriever in (NearestRetriever(), NearestColour()):
        for seed in range(4):
            options = Options(seeds=tf.constant([[seed, 1]]))
            plain, with_slot = (
                choose_patches(retriever, part, options) for part in (CANDIDATES, wide)
            )
            np.testing.assert_array_equal(plain.choice, with_slot.choice)


def test_ties_go_to_the_nearer_candidate():
    found = best_in_turn(tf.zeros(IDS.shape), CANDIDATES, Options())
    assert found.choice.numpy().tolist() == [[0, 0, 0]]


@pytest.mark.parametrize("shape", [[1, 3], [1, 3, 1], [3], [1, 3, 3, 1]])
def test_scores_that_are_not_one_per_candidate_are_refused(shape):
    with pytest.raises(ValueError, match=r"best_in_turn: scores .* \[1, 3, 3\], got shape"):
        best_in_turn(tf.zeros(shape), CANDIDATES, Options())


def test_scores_of_a_batch_of_any_size_are_not_refused():
    @tf.function(input_signature=[tf.TensorSpec([None, 3, None])])
    def chosen(scores):
        return best_in_turn(scores, CANDIDATES, Options()).choice

    np.testing.assert_array_equal(chosen(tf.zeros(IDS.shape)), [[0, 0, 0]])


class Scaled(LearnedRetriever):
    """One that learns, with a setting of its own."""

    factor = 1.0


def test_a_subclass_of_the_learned_retriever_stays_one_when_it_is_bound():
    mine = Scaled()
    mine.factor = 2.0
    bound = mine.bound_to("phi")
    assert (type(bound), bound.embedding, bound.factor) == (Scaled, "phi", 2.0)
    assert mine.embedding is None


def test_a_retriever_bears_the_name_under_which_it_is_registered(monkeypatch):
    monkeypatch.setattr(registered_names, "RETRIEVERS", list(registered_names.RETRIEVERS))
    monkeypatch.setattr(registry, "RETRIEVERS", dict(registry.RETRIEVERS))
    registry.register_retriever("scaled", Scaled)
    config = SimpleNamespace(retrieval=SimpleNamespace(choice="scaled"))
    assert registry.retriever_for(config).name == "scaled" and Scaled.name == "learned"


def test_many_banks_in_one_process_are_embedded_without_a_warning(caplog):
    class Bank:
        def __len__(self):
            return 4

        def features(self, ids):
            return tf.cast(ids, tf.float32)[:, tf.newaxis]

        def crops(self, ids):
            return tf.zeros([tf.size(ids), 2, 2, 3], tf.uint8)

    for _ in range(6):
        assert embed_bank(NearestColour(), Bank()).shape == (4, 3)
    assert "retracing" not in caplog.text
