"""DAMSM: both encoders, the matching loss, what it teaches, and how well texts are found again."""

from __future__ import annotations

import math

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.data.pipeline import scene_dataset
from rgan_tf.rivals.attngan import sizes as attngan_sizes
from rgan_tf.rivals.attngan.damsm import BETAS, FallingRate, build_damsm
from rgan_tf.rivals.attngan.image_encoder import (
    NETWORK,
    ImageEncoder,
    ImageFeatures,
    Regions,
    frozen_features,
)
from rgan_tf.rivals.attngan.matching import (
    GAMMA_ATTENTION,
    GAMMA_WORDS,
    TERMS,
    attend,
    cosine,
    matching_losses,
    word_scores,
)
from rgan_tf.rivals.attngan.precision import by_number_of_triples, r_precision
from rgan_tf.rivals.attngan.text_encoder import Text, TextEncoder

DIFFERENT = tf.eye(4, dtype=tf.bool)


@pytest.fixture(scope="module")
def encoder():
    tf.keras.utils.set_random_seed(1)
    return TextEncoder(num_words=12, embedding=6, hidden=4)


@pytest.fixture(scope="module")
def make_damsm(tiny_config, vocabulary, tiny_attngan):
    def make(seed: int = 1, **options):
        tf.keras.utils.set_random_seed(seed)
        return build_damsm(tiny_config, vocabulary, **tiny_attngan, **options)

    return make


def random_text(rows: int = 4, words: int = 5, width: int = 8, seed: int = 0) -> Text:
    """Rows of 5, 4, 3 and 2 words."""
    rng = np.random.default_rng(seed)
    mask = np.arange(words) < (words - np.arange(rows) % 4)[:, None]
    vectors = rng.normal(size=[rows, words, width]) * mask[..., None]
    sentence = rng.normal(size=[rows, width])
    return Text(tf.constant(vectors, tf.float32), tf.constant(sentence, tf.float32), mask)


def random_image(rows: int = 4, regions: int = 9, width: int = 8, seed: int = 1) -> Regions:
    rng = np.random.default_rng(seed)
    return Regions(
        tf.constant(rng.normal(size=[rows, regions, width]), tf.float32),
        tf.constant(rng.normal(size=[rows, width]), tf.float32),
    )


def test_public_size_has_the_public_counts(counted):
    public = attngan_sizes.PUBLIC
    for words, expected in ((27_297, 8_189_100), (5_450, 1_635_000)):
        text = TextEncoder(num_words=words, embedding=public.embedding, hidden=public.hidden)
        encoded = text(tf.ones([1, 2], tf.int32))
        assert counted(text.embedding) == expected
        assert counted(text.recurrent) == 439_296  # PyTorch's LSTM has a second bias: 440,320
    assert encoded.words.shape == (1, 2, 256) and encoded.sentence.shape == (1, 256)
    image = ImageEncoder(joint=public.joint)
    seen = image(tf.zeros([1, 17, 17, 768]), tf.zeros([1, 2048]))
    assert seen.regions.shape == (1, 289, 256) and seen.image.shape == (1, 256)
    assert counted(image.of_regions) == 196_608
    assert counted(image.of_image) == 524_544
    assert counted(image) == 721_152


def test_embedding_and_projections_start_within_a_tenth():
    text = TextEncoder(num_words=29, embedding=300, hidden=4)
    image = ImageEncoder(joint=64)
    text(tf.ones([1, 2], tf.int32)), image(tf.zeros([1, 2, 2, 512]))
    for start in (text.embedding.embeddings, image.of_regions.kernel, image.of_image.kernel):
        assert 0.099 < np.abs(start).max() <= 0.1 and abs(np.mean(start)) < 0.005
        assert 0.055 < np.std(start) < 0.060  # uniform: 0.1 / sqrt 3


def test_neither_padding_nor_batch_mates_change_a_text(encoder):
    tokens = tf.constant([[3, 1, 4, 0], [5, 9, 2, 6], [0, 0, 0, 0]])
    together = encoder(tokens)
    padded = encoder(tf.pad(tokens, [[0, 0], [0, 3]]))
    np.testing.assert_allclose(padded.words[:, :4], together.words, atol=1e-6)
    np.testing.assert_allclose(padded.sentence, together.sentence, atol=1e-6)
    assert not padded.words[:, 4:].numpy().any() and not padded.mask[:, 4:].numpy().any()
    alone = encoder(tokens[:1, :3])
    np.testing.assert_allclose(alone.words, together.words[:1, :3], atol=1e-6)
    np.testing.assert_allclose(alone.sentence, together.sentence[:1], atol=1e-6)
    trimmed = encoder(tf.pad(tokens, [[0, 0], [0, 3]]), trims=True)
    assert trimmed.words.shape == (3, 4, 8)
    np.testing.assert_allclose(trimmed.words, together.words, atol=1e-6)
    assert not together.sentence[2].numpy().any()  # a text without words


def test_a_sentence_is_more_than_the_mean_of_its_words(encoder):
    text = encoder(tf.constant([[3, 1, 4], [4, 1, 3]]))
    assert np.abs(text.sentence - tf.reduce_mean(text.words, axis=1)).max() > 1e-3
    assert np.abs(text.sentence[0] - text.sentence[1]).max() > 1e-3  # the order counts
    # The backward direction has read everything at the first word, the forward one at the last.
    np.testing.assert_allclose(text.sentence[:, :4], text.words[:, -1, :4], atol=1e-6)
    np.testing.assert_allclose(text.sentence[:, 4:], text.words[:, 0, 4:], atol=1e-6)


def test_the_size_of_a_sentence_is_known_in_a_graph(encoder):
    """What reads it would be missing where operations are counted."""
    traced = tf.function(lambda tokens: encoder(tokens).sentence, autograph=False)
    found = traced.get_concrete_function(tf.TensorSpec([3, 4], tf.int32)).output_shapes
    assert found.as_list() == [3, 8]
    assert traced.get_concrete_function(tf.TensorSpec([None, 4], tf.int32)).output_shapes[1] == 8


def test_dropout_is_a_row_s_own_and_keeps_the_mean():
    encoder = TextEncoder(num_words=4, embedding=2000, hidden=2)
    tokens, seeds = tf.constant([[1, 2], [1, 2]]), tf.constant([[1, 2], [3, 4]])
    words = encoder(tokens, seeds).words
    np.testing.assert_array_equal(words, encoder(tokens, seeds).words)
    np.testing.assert_allclose(words[1:], encoder(tokens[1:], seeds[1:]).words, atol=1e-6)
    assert np.abs(words[0] - words[1]).max() > 1e-4
    assert np.abs(words - encoder(tokens).words).max() > 1e-4


def test_words_compete_for_regions_and_each_word_chooses_among_regions():
    text, image = random_text(), random_image()
    attended = attend(text.words, text.mask, image.regions)
    assert attended.attention.shape == (4, 4, 5, 9) and attended.contexts.shape == (4, 4, 5, 8)
    np.testing.assert_allclose(tf.reduce_sum(attended.attention, -1), np.ones([4, 4, 5]), atol=1e-6)
    # By hand, for image 2 and text 1, which has 4 words.
    words, regions = text.words[1, :4].numpy(), image.regions[2].numpy()
    shares = np.exp(words @ regions.T)
    shares /= shares.sum(axis=0)
    np.testing.assert_allclose(shares.sum(axis=0), np.ones(9), atol=1e-6)
    attention = np.exp(GAMMA_ATTENTION * shares)
    attention /= attention.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(attended.attention[2, 1, :4], attention, atol=1e-5)
    contexts = attention @ regions
    np.testing.assert_allclose(attended.contexts[2, 1, :4], contexts, atol=1e-5)
    fits = (contexts * words).sum(1)
    fits /= np.linalg.norm(contexts, axis=1) * np.linalg.norm(words, axis=1)
    score = np.log(np.exp(GAMMA_WORDS * fits).sum())
    assert float(word_scores(text, image.regions)[2, 1]) == pytest.approx(score, abs=1e-4)
    mean = word_scores(text, image.regions, averages=True)[2, 1]
    assert float(mean) == pytest.approx(score - math.log(4), abs=1e-4)


def test_padded_words_contribute_nothing():
    text, image = random_text(), random_image()
    losses = matching_losses(text, image, DIFFERENT)
    filled = tf.where(text.mask[..., None], text.words, 7.0)
    filled = tf.pad(filled, [[0, 0], [0, 2], [0, 0]], constant_values=-3.0)
    other = Text(filled, text.sentence, tf.pad(text.mask, [[0, 0], [0, 2]]))
    for name, values in matching_losses(other, image, DIFFERENT).items():
        np.testing.assert_allclose(values, losses[name], atol=1e-5, err_msg=name)


def test_losses_by_hand_and_their_scale():
    """Two images and texts whose sentences have cosines 1 and 0."""
    sentence = tf.constant([[1.0, 0.0], [0.0, 2.0]])
    text = Text(tf.zeros([2, 1, 2]), sentence, tf.ones([2, 1], tf.bool))
    image = Regions(tf.zeros([2, 4, 2]), tf.constant([[3.0, 0.0], [0.0, 1.0]]))
    losses = matching_losses(text, image, tf.eye(2, dtype=tf.bool))
    for term in ("sentence_rows", "sentence_columns"):
        np.testing.assert_allclose(losses[term], [math.log(1 + math.exp(-10))] * 2, atol=1e-6)
    for term in ("word_rows", "word_columns"):  # no vector has a length, so nothing is told apart
        np.testing.assert_allclose(losses[term], [math.log(2)] * 2, atol=1e-6)
    assert float(cosine(tf.zeros([2]), tf.ones([2]))) == 0


def test_pairs_of_one_text_are_not_negatives():
    text = random_text(rows=1)
    text = Text(*(tf.repeat(part, 4, axis=0) for part in text))
    image = random_image()
    for values in matching_losses(text, image, tf.ones([4, 4], tf.bool)).values():
        np.testing.assert_array_equal(values, np.zeros(4))
    told_apart = matching_losses(text, image, DIFFERENT)  # as if they were different texts
    np.testing.assert_allclose(told_apart["word_rows"], [math.log(4)] * 4, atol=1e-5)
    assert float(tf.reduce_max(told_apart["word_columns"])) > math.log(4)


def test_a_text_without_words_costs_and_teaches_finite_numbers():
    text = random_text()
    mask = tf.concat([text.mask[:3], tf.zeros([1, 5], tf.bool)], axis=0)
    words = tf.where(mask[..., None], text.words, 0.0)
    image = random_image()
    with tf.GradientTape() as tape:
        tape.watch([words, image.regions])
        losses = matching_losses(Text(words, text.sentence, mask), image, DIFFERENT)
        total = tf.add_n([tf.reduce_sum(value) for value in losses.values()])
    assert np.isfinite(float(total))
    assert all(np.isfinite(g).all() for g in tape.gradient(total, [words, image.regions]))


def test_nothing_is_told_apart_at_the_start(tiny_config, vocabulary, make_batch, tiny_attngan):
    """Of our widths, each term starts at about log B, if texts have the same number of words.

    Otherwise the longer one wins, for a score sums over words; their mean does not have that.
    """
    tf.keras.utils.set_random_seed(1)
    model = build_damsm(
        tiny_config, vocabulary, attngan_sizes.SCALED, features=tiny_attngan["features"]
    )
    batch = make_batch(tiny_config, rows=12)
    rng = np.random.default_rng(3)
    triples = np.stack([rng.integers(*ends, [12, 8]) for ends in ((0, 2), (3, 7), (0, 2))], -1)
    even = {**batch, "triples": tf.constant(triples, tf.int32)}  # eight sentences of three words
    losses = model.compute_losses(even)
    assert set(losses) == set(TERMS)
    for name, value in losses.items():
        # Sharpened by γ2 γ3 = 50, small preferences for some words are no longer small.
        within = (0.7, 2.0) if name.startswith("word") else (0.7, 1.4)
        low, high = (math.log(12) * factor for factor in within)
        assert low < float(tf.reduce_mean(value)) < high, name
    for averages, is_biased in ((False, True), (True, False)):
        model.averages = averages
        uneven = float(tf.reduce_mean(model.compute_losses(batch)["word_rows"]))
        assert (uneven > 2.5 * math.log(12)) == is_biased


def test_gradient_reaches_both_encoders_and_no_frozen_network(make_damsm, scenes):
    model = make_damsm()
    encoders = model.encoders
    with tf.GradientTape() as tape:
        losses = model.compute_losses(scenes)
        total = tf.add_n([tf.reduce_sum(value) for value in losses.values()])
    variables = encoders.trainable_variables
    parts = (encoders.text_encoder, encoders.image_encoder)
    assert len(variables) == sum(len(part.trainable_variables) for part in parts)
    for variable, gradient in zip(variables, tape.gradient(total, variables), strict=True):
        assert np.abs(tf.convert_to_tensor(gradient)).max() > 0, variable.name
    # Neither the frozen network's weights nor another copy of them is saved.
    assert len(encoders.variables) == len(variables)


def test_the_network_is_not_the_judge_and_sees_169_regions():
    assert NETWORK == "squeezenet"
    assert frozen_features()(tf.zeros([1, 64, 64, 3])).shape == (1, 13, 13, 512)


def test_features_have_a_gradient_to_the_image(pooled_backbone):
    features, images = ImageFeatures(pooled_backbone, side=32), tf.zeros([1, 16, 16, 3])
    with tf.GradientTape() as tape:
        tape.watch(images)
        total = tf.reduce_sum(features(images))
    assert (tape.gradient(total, images).numpy() > 0).all()


def test_a_step_clips_the_text_encoder_s_gradient_only(make_damsm, scenes):
    """By plain descent of rate 1: the text encoder moves by 0.25 at most, the others by more."""
    model = make_damsm()
    model.compile(tf.keras.optimizers.SGD(1.0))
    parts = (model.encoders.text_encoder, model.encoders.image_encoder)
    before = [[value.numpy() for value in part.trainable_variables] for part in parts]
    with tf.GradientTape() as tape:
        total = tf.reduce_mean(tf.add_n(list(model.compute_losses(scenes).values())))
    of_text = parts[0].trainable_variables
    free = tf.linalg.global_norm([tf.convert_to_tensor(g) for g in tape.gradient(total, of_text)])
    model.train_step(scenes)
    moved = [
        np.sqrt(
            sum(np.square(a - b).sum() for a, b in zip(old, part.trainable_variables, strict=True))
        )
        for old, part in zip(before, parts, strict=True)
    ]
    assert moved[0] == pytest.approx(min(0.25, float(free)), rel=1e-3)
    assert moved[1] > 0.25


def test_adam_is_the_published_one_and_its_rate_falls_with_the_epochs(make_damsm):
    model = make_damsm(epoch_steps=10)
    assert (model.optimizer.beta_1, model.optimizer.beta_2) == BETAS == (0.5, 0.999)
    assert float(model.optimizer.learning_rate) == pytest.approx(2e-3)
    rate = FallingRate(2e-3, 10)
    assert float(rate(9)) == pytest.approx(2e-3)
    assert float(rate(10)) == pytest.approx(2e-3 * 0.98)
    assert float(rate(25)) == pytest.approx(2e-3 * 0.98**2)
    assert float(rate(10**6)) == pytest.approx(2e-4)


def test_resumed_equals_uninterrupted(make_damsm, scenes, tmp_path):
    straight = make_damsm()
    straight.train_step(scenes)
    path = tf.train.Checkpoint(**straight.state()).write(str(tmp_path / "state"))
    straight.train_step(scenes)
    resumed = make_damsm(seed=2)
    status = tf.train.Checkpoint(**resumed.state()).read(path)
    status.assert_existing_objects_matched().assert_consumed()
    resumed.train_step(scenes)
    assert int(resumed.step) == 2
    for a, b in zip(straight.encoders.variables, resumed.encoders.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6, err_msg=a.name)


@pytest.mark.thorough
def test_two_replicas_with_the_whole_batch_each_equal_one(make_damsm, scenes, two_replicas):
    single = make_damsm()
    with two_replicas.scope():
        double = make_damsm(seed=2)
        double.compile(tf.keras.optimizers.SGD(0.5))
        for a, b in zip(double.encoders.variables, single.encoders.variables, strict=True):
            a.assign(b)
    single.compile(tf.keras.optimizers.SGD(0.5))
    single.train_step(scenes)
    tf.function(lambda: two_replicas.run(double.train_step, (scenes,)))()
    for a, b in zip(double.encoders.variables, single.encoders.variables, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5, err_msg=b.name)


def test_the_guard_skips_a_broken_batch(make_damsm, scenes):
    model = make_damsm()
    start = [variable.numpy() for variable in model.encoders.variables]
    figures = model.train_step({**scenes, "image": scenes["image"] * float("nan")})
    assert float(figures["guard/skipped"]) == 1
    for value, variable in zip(start, model.encoders.variables, strict=True):
        np.testing.assert_array_equal(value, variable)


def test_r_precision_counts_own_texts_that_rank_first():
    vectors = np.eye(5, dtype=np.float32)
    keys = np.arange(5)[:, None]
    np.testing.assert_array_equal(r_precision(vectors, 3 * vectors, keys, pool=5), np.ones(5))
    rolled = np.roll(vectors, 1, axis=0)
    np.testing.assert_array_equal(r_precision(vectors, rolled, keys, pool=5), np.zeros(5))
    # All alike: ties lose. And where other texts are too few, nobody is judged.
    np.testing.assert_array_equal(r_precision(vectors, 0 * vectors, keys, pool=5), np.zeros(5))
    keys[1] = keys[0]
    assert np.isnan(r_precision(vectors, vectors, keys, pool=5)).all()
    np.testing.assert_array_equal(r_precision(vectors, vectors, keys, pool=4), np.ones(5))
    hits = np.array([1, 0, np.nan, 1], np.float32)
    assert by_number_of_triples(hits, np.array([2, 2, 2, 3])) == {"2": 0.5, "3": 1.0}
    with pytest.raises(ValueError, match="pool must be at least 2"):
        r_precision(vectors, vectors, keys, pool=1)


@pytest.mark.parametrize("texts", [2000, 10])
def test_chance_finds_a_text_as_often_as_its_pool_says(texts):
    """Also where few texts are frequent: a text that is twice in a pool would be one rival less."""
    rng = np.random.default_rng(0)
    images, sentences = rng.normal(size=[2, 2000, 6])
    keys = np.arange(2000) % texts
    hits = r_precision(images, sentences[keys], keys[:, None], pool=10)
    assert hits.mean() == pytest.approx(0.1, abs=0.02)


@pytest.mark.thorough
@pytest.mark.timeout(900)  # on a loaded machine
def test_learns_one_batch_by_heart(tiny_config, tiny_world):
    """50 steps at our size, through the network that ships with the project."""
    tf.keras.utils.set_random_seed(1)
    model = build_damsm(tiny_config, tiny_world.vocabulary, attngan_sizes.SCALED)
    batches = scene_dataset(tiny_world, "train", tiny_config, batch_size=8, seed=0)
    batch = next(iter(batches))
    batch = {name: batch[name] for name in ("image", "objects", "triples")}
    step, figures = tf.function(model.train_step), []
    for _ in range(50):
        model.reset_metrics()
        figures.append(float(step(batch)["loss"]))
    assert min(figures) < 0.5 * min(figures[0], 4 * math.log(8))  # which is chance
