"""What trained rivals show: figures of networks whose behaviour is known."""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.generator.layout import box_coverage
from rgan_tf.rivals.attngan.image_encoder import Regions
from rgan_tf.rivals.attngan.text_encoder import Text
from rgan_tf.rivals.pastegan.selector import pick_at_test
from rgan_tf.rivals.rival import Drawing
from rgan_tf.seeds import Purpose, derive_row_seeds
from training.bench.trained_rivals import _height_of, attngan, layout2im, pastegan, random_patches

BOXES = tf.constant([[[0.0, 0.0, 0.5, 0.5], [0.5, 0.5, 1.0, 1.0]]] * 2)  # [2, 2, 4]
OBJECTS = tf.constant([[2, 3], [2, 0]])  # the second scene has one object
SIDE = 16


def painted(boxes: tf.Tensor, colours: tf.Tensor) -> tf.Tensor:
    """[B, SIDE, SIDE, 3]: every box of [B, O, 4] in its colour [B, O, 3]."""
    rows, columns = box_coverage(boxes, SIDE, SIDE)  # [B, O, SIDE] each
    return tf.einsum("boh,bov,boc->bhvc", rows, columns, colours)


class Painter:
    """Draws codes as colours; its encoder reads a share of them, away from the crops' edges."""

    def __init__(self, sees: float):
        self.sees = sees

    def draw_codes(self, seeds, objects):
        return tf.random.stateless_normal([seeds.shape[0], objects, 3], seeds[0])

    def draw(self, objects, boxes, codes, order):
        return painted(boxes, codes)

    def posterior(self, crops, objects):
        return self.sees * tf.reduce_mean(crops[:, :, 1:-1, 1:-1], axis=[2, 3]), None


class Texts(NamedTuple):
    """Texts that are written already."""

    tokens: tf.Tensor
    dictionary: SimpleNamespace

    def __call__(self, graph):
        return self.tokens

    def keys(self, graph):
        return self.tokens


def test_codes_that_can_be_read_have_no_error_and_change_their_box_alone():
    batch, seeds = {"objects": OBJECTS, "boxes": BOXES}, tf.constant([3, 4])
    found = layout2im(Painter(sees=1.0), 4, batch, seeds)
    np.testing.assert_allclose(found["code_error"][[0, 0, 1], [0, 1, 0]], 0.0, atol=1e-5)
    assert np.isnan(found["code_error"][1, 1])
    assert (found["change_inside"] > 0.1).all()
    np.testing.assert_array_equal(found["change_outside"], 0.0)
    blind = layout2im(Painter(sees=0.0), 4, batch, seeds)
    codes = np.abs(Painter(0).draw_codes(tf.constant([[0, 0]]), 2))
    assert np.nanmean(blind["code_error"]) > 0.3 > codes.min()


@pytest.mark.parametrize("copies, nearer", [(True, 1.0), (False, 0.0)])
def test_an_object_that_is_its_patch_is_nearer_to_it(copies, nearer):
    patches = np.zeros([2, 2, 3, 4, 4, 3], np.uint8)
    patches[:] = np.array([10, 60, 200], np.uint8)[:, None, None, None]
    valid = np.ones([2, 2, 3], bool)
    valid[1, 1] = False
    batch = {
        "objects": OBJECTS,
        "boxes": BOXES,
        "candidate_crops": tf.constant(patches),
        "candidate_valid": tf.constant(valid),
    }
    others = np.full([2, 2, 4, 4, 3], 250, np.uint8)

    def synthesise(graph, boxes, seeds):
        picked = pick_at_test(
            graph, graph["objects"] > 0, derive_row_seeds(seeds, Purpose.PATCH_CHOICE)
        )
        shown = picked.crops if copies else tf.constant(others, tf.float32) / 127.5 - 1
        return Drawing(painted(boxes, tf.reduce_mean(shown, axis=[2, 3])), boxes, picked.choice)

    def middle(crops):  # the edges of a crop are mixed with what is around its box
        return crops[:, 1:-1, 1:-1]

    networks = SimpleNamespace(synthesise=synthesise, encode_crops=middle, crop_size=4)
    found = pastegan(networks, batch, tf.constant(others), tf.constant([5, 6]))
    assert np.isnan(found["selected_is_nearer"][1, 1])
    assert np.nanmean(found["selected_is_nearer"]) == nearer
    own, other = found["distance_to_selected"], found["distance_to_random"]
    np.testing.assert_allclose((own if copies else other)[0], 0.0, atol=1e-5)


@pytest.mark.parametrize("averages, stages, nearer", [(False, 2, 0.0), (True, 1, 1.0)])
def test_texts_fit_by_the_score_of_the_training_and_one_stage_sees_no_word(
    averages, stages, nearer
):
    """The second text has more words, each of which fits the first image a little less."""
    tokens = tf.constant([[1, 0, 0], [2, 2, 2]])
    words = tf.gather(tf.constant([[0.0, 0.0], [1.0, 0.0], [0.9, 0.44]]), tokens)  # [2, 3, 2]
    drawn = SimpleNamespace(images=[None], attention=[tf.ones([2, 3, 4, 4])] * (stages - 1))
    networks = SimpleNamespace(
        texts=Texts(tokens, SimpleNamespace(ids_of=lambda word: [int(word)])),
        read=lambda graph: Text(words, words[:, 0], tokens > 0),
        draw_noise=lambda *seeds: (None, None),
        generator=lambda *given: drawn,
    )
    seen = Regions(tf.constant([[[1.0, 0.0]]] * 2), tf.constant([[1.0, 0.0]] * 2))
    encoders = SimpleNamespace(encode_image=lambda images: seen)
    graph, seeds = {"objects": None, "triples": None}, tf.constant([3, 4])
    found = attngan(networks, encoders, graph, ("1", "2"), seeds, averages=averages)
    assert found["own_text_is_nearer_by_words"][0] == nearer
    assert found["own_text_is_nearer_by_sentence"][0] == 1.0
    assert np.isnan(found["first_word_is_higher"]).all()  # no text has both


def test_where_a_word_is_looked_for():
    attention = np.zeros([2, 3, 4, 4], np.float32)
    attention[0, 0, 0] = attention[0, 2, 3] = 1.0  # places 0 and 2: the first and the last row
    tokens = tf.constant([[7, 8, 7], [8, 8, 0]])
    np.testing.assert_allclose(_height_of(tf.constant(attention), tokens, [7]), [1.5, np.nan])


def test_random_patches_have_the_category_of_their_object():
    bank = SimpleNamespace(
        category_ids=np.array([2, 3, 2, 3]),
        crops_at=lambda ids, size: np.broadcast_to(
            ids[..., None, None, None], (*ids.shape, size, size, 3)
        ),
    )
    objects = np.repeat([[2, 3, 4]], 50, axis=0)
    found = random_patches(bank, objects, 2, np.random.default_rng(0))[..., 0, 0, 0]
    assert set(found[:, 0]) == {0, 2} and set(found[:, 1]) == {1, 3} and set(found[:, 2]) == {0}


@pytest.mark.parametrize(
    "words, message",
    [
        (["--scenes", "1"], "--scenes 1: must be at least 2"),
        (["--seed", "-1"], "--seed -1: must be at least 0"),
        (["--seed", str(2**31)], "below 2^31"),
        (["--words", "sky", "sky"], "--words sky: is given twice; name two words"),
    ],
)
def test_what_cannot_be_measured_is_refused(rgan, monkeypatch, words, message):
    settings = SimpleNamespace(training=SimpleNamespace(system="attngan"))
    monkeypatch.setattr("rgan_tf.runs.open_run", lambda name: SimpleNamespace(config=settings))
    done = rgan("bench", "rival", "--run", "run", "--data", "data", *words)
    assert done.code == 2 and message in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.parametrize("system", ["layout2im", "pastegan"])
def test_words_are_refused_where_no_text_is_read(rgan, monkeypatch, system):
    settings = SimpleNamespace(training=SimpleNamespace(system=system))
    monkeypatch.setattr("rgan_tf.runs.open_run", lambda name: SimpleNamespace(config=settings))
    words = ("--words", "sky", "car")
    done = rgan("bench", "rival", "--run", "run", "--data", "data", *words)
    assert done.code == 2
    assert f"--words sky car: --run run trains {system}, not attngan" in done.err
