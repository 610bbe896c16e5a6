"""AttnGAN's generators: their size, their attention, their game, and what each loss teaches."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.config_files import config_from_dict
from rgan_tf.data.pipeline import scene_dataset
from rgan_tf.errors import BadInput
from rgan_tf.model.flops import count_flops
from rgan_tf.rivals.attngan.attention import WordAttention
from rgan_tf.rivals.attngan.damsm import build_damsm
from rgan_tf.rivals.attngan.discriminators import AttnganDiscriminators, StageCritic, pyramid_of
from rgan_tf.rivals.attngan.generator import AttentionalGenerator
from rgan_tf.rivals.attngan.matching import TERMS
from rgan_tf.rivals.attngan.model import build_attngan, kl_loss, stage_losses, wrong_rows
from rgan_tf.rivals.attngan.networks import AttnganRival
from rgan_tf.rivals.attngan.sizes import BIRDS, PUBLIC, SCALED, SCALED_LARGE, scaled
from rgan_tf.rivals.attngan.text_encoder import Text
from rgan_tf.rivals.registry import rival_networks

SEEDS = tf.constant([5, 6, 7, 8])
GAMES = ("adversarial_image_8", "adversarial_image_16", "adversarial_image")


@pytest.fixture(scope="module")
def networks(tiny_rival):
    return tiny_rival("attngan").networks


@pytest.fixture(scope="module")
def ours(tables):
    """At our size, for the built-in world's tables."""
    tf.keras.utils.set_random_seed(1)
    return AttnganRival(tables(22, 7), SCALED)


def noises_of(networks, rows: int, factor: float = 1.0) -> list[tf.Tensor]:
    seeds = tf.constant([[row, 7] for row in range(rows)])
    return [factor * noise for noise in networks.draw_noise(seeds, seeds + 1)]


def random_text(rows: int = 3, words: int = 5, width: int = 8) -> Text:
    """Rows of 5, 4, 3, ... words; padding is not 0 here, so that nobody can rely on that."""
    rng = np.random.default_rng(0)
    mask = np.arange(words) < (words - np.arange(rows) % words)[:, None]
    return Text(
        tf.constant(rng.normal(size=[rows, words, width]), tf.float32),
        tf.constant(rng.normal(size=[rows, width]), tf.float32),
        tf.constant(mask),
    )


def text_spec(width: int) -> Text:
    return Text(tf.zeros([1, 2, width]), tf.zeros([1, width]), tf.ones([1, 2], tf.bool))


@pytest.mark.parametrize(
    ("sizes", "first", "later", "totals", "critics"),
    [
        pytest.param(
            BIRDS,
            6_444_928,
            267_136,
            (6_548_592, 6_816_592, 7_084_592),
            (6_313_730, 19_424_002, 71_858_946),
            marks=pytest.mark.thorough,
        ),
        (
            PUBLIC,
            12_017_472,
            843_648,
            (12_121_568, 12_966_512, 13_811_456),
            (13_304_450, 42_800_258, 160_774_274),
        ),
    ],
    ids=["birds", "coco"],
)
def test_public_size_has_the_public_counts(sizes, first, later, totals, critics, counted):
    """Built in a graph, where no weight gets a value: 160 M orthogonal ones would take minutes."""
    with tf.Graph().as_default():
        generator = AttentionalGenerator(sizes, image_size=256)
        made = generator(text_spec(sizes.joint), tf.zeros([1, 100]), tf.zeros([1, 100]))
        assert [image.shape[1] for image in made.images] == [64, 128, 256]
        assert [seen.shape[2] for seen in made.attention] == [64, 128]
        assert counted(generator.conditioning) == 102_800
        assert [counted(stage) for stage in generator.stages] == [first, later, later]
        assert {counted(head) for head in generator.to_image} == {27 * sizes.width}
        for stages, total in enumerate(totals, start=1):
            parts = [*generator.stages[:stages], *generator.to_image[:stages]]
            assert counted(generator.conditioning) + sum(map(counted, parts)) == total
        assert counted(generator) == totals[-1]
        judges = AttnganDiscriminators(sizes, image_size=256)
        assert tuple(counted(critic) for critic in judges.critics) == critics
        if sizes is BIRDS:
            for critic in judges.critics:
                assert critic.trunk(tf.zeros([1, 256, 256, 3])).shape[3] == 512
                assert counted(critic.alone_head) == 8_193
                joint = (critic.joint, critic.joint_normalization, critic.joint_head)
                assert sum(map(counted, joint)) == 3_548_161


def test_kernels_start_orthogonal_and_scales_near_one(tiny_rival):
    model = tiny_rival("attngan")
    kernels = scales = 0
    for variable in (*model.networks.trainable_variables, *model.discriminators.variables):
        values, name = variable.numpy(), variable.name.split("/")[-1]
        if name.startswith("kernel"):
            flat = values.reshape([-1, values.shape[-1]])
            product = flat.T @ flat if len(flat) >= flat.shape[1] else flat @ flat.T
            np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-4)
            kernels += 1
        elif name.startswith("gamma"):
            assert np.abs(values - 1).max() < 0.12 and values.std() > 0  # N(1, 0.02)
            scales += 1
        else:
            assert not values.any()
    assert kernels > 20 and scales > 10


def test_our_size_has_its_count(ours, counted):
    assert counted(ours.generator) == counted(ours) == 2_257_880
    assert len(ours.text_encoder.variables) == 7  # which are frozen


@pytest.mark.thorough
def test_our_size_keeps_to_the_operations_of_an_image(ours):
    objects, triples = tf.TensorSpec([1, 8], tf.int32), tf.TensorSpec([1, 16, 3], tf.int32)

    def draw(objects, triples):
        graph = {"objects": objects, "triples": triples}
        return ours.synthesise(graph, None, tf.zeros([1], tf.int32)).images

    assert 1.5e9 < count_flops(draw, objects, triples) <= 1.6e9


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("image_size", "stages", "weights", "gflop"),
    [(64, 1, 6_548_592, (1.15, 1.3)), (128, 0, 6_816_592, (4.2, 4.4))],
)
def test_the_first_stage_alone_and_the_large_tree(image_size, stages, weights, gflop, counted):
    sizes = scaled(image_size, stages)
    tree = AttentionalGenerator(sizes, image_size=image_size)

    def draw(words, sentence):
        text = Text(words, sentence, tf.ones([1, 80], tf.bool))
        return tree(text, tf.zeros([1, 100]), tf.zeros([1, 100])).images[-1]

    text = tf.TensorSpec([1, 80, 256]), tf.TensorSpec([1, 256])
    assert gflop[0] < count_flops(draw, *text) / 1e9 < gflop[1]
    assert counted(tree) == weights


def test_the_number_of_stages_is_a_setting(tiny_settings, vocabulary, scenes):
    """One stage at 64 px is literally the published first one, which reads no words."""
    tiny_settings["training"]["system"], tiny_settings["attngan"]["stages"] = "attngan", 1
    networks = rival_networks(config_from_dict(tiny_settings), vocabulary)
    assert len(networks.generator.stages) == 1
    assert networks.synthesise(scenes, None, SEEDS).images.shape == (4, 32, 32, 3)
    assert scaled(64, 1).sides(64) == (64,) and scaled(64, 1).width == 32
    assert scaled(64, 3) is SCALED and scaled(128, 2) is SCALED_LARGE
    tiny_settings["attngan"]["stages"] = 4
    with pytest.raises(BadInput, match="attngan.stages=4 needs data.image_size of at least 64"):
        config_from_dict(tiny_settings)
    tiny_settings["training"]["system"] = "sg2im"  # which has no such tree
    config_from_dict(tiny_settings)


def test_shapes_at_our_size(ours):
    made = ours.generator(random_text(2, 80, 256), *noises_of(ours, 2))
    assert [image.shape for image in made.images] == [(2, s, s, 3) for s in (16, 32, 64)]
    assert all(np.abs(image).max() <= 1 for image in made.images)
    assert [seen.shape for seen in made.attention] == [(2, 80, s, s) for s in (16, 32)]
    assert scaled(64) is SCALED and scaled(128) is SCALED_LARGE
    assert SCALED.sides(64) == (16, 32, 64) and SCALED_LARGE.sides(128) == (64, 128)
    with tf.Graph().as_default():  # the literal first stage alone, and the large variant
        for sizes, side, outputs in (
            (dataclasses.replace(SCALED_LARGE, stages=1), 64, [64]),
            (SCALED_LARGE, 128, [64, 128]),
        ):
            tree = AttentionalGenerator(sizes, image_size=side)
            images = tree(text_spec(256), tf.zeros([1, 100]), tf.zeros([1, 100])).images
            assert [image.shape[1] for image in images] == outputs


@pytest.mark.parametrize("side", [48, 16, 20])
def test_a_side_that_no_stage_has_is_refused(side):
    with pytest.raises(ValueError, match="32 times a power of two for 3 stages"):
        AttentionalGenerator(SCALED, image_size=side)


def test_configs_that_cannot_be_trained_are_refused(tiny_config, vocabulary, two_replicas):
    for section, key, value, says in (
        ("data", "image_size", 96, "data.image_size to be a power of two, got 96"),
        ("training", "accumulate_steps", 2, "needs training.accumulate_steps=1"),
    ):
        raw = {"data": {}, "training": {"system": "attngan"}}
        raw[section][key] = value
        with pytest.raises(BadInput, match=says):
            config_from_dict(raw)
        raw["training"]["system"] = "layout2im"
        config_from_dict(raw)
    training = dataclasses.replace(tiny_config.training, jit_compile=True)
    with two_replicas.scope(), pytest.raises(BadInput, match="cannot be compiled for several"):
        build_attngan(dataclasses.replace(tiny_config, training=training), vocabulary)


def test_generator_attention_sums_to_one_over_words_and_leaves_out_padding():
    layer, text = WordAttention(channels=6), random_text()
    values = tf.random.stateless_normal([3, 4, 4, 6], [1, 2])
    contexts, attention = layer(values, text)
    assert contexts.shape == (3, 4, 4, 6) and attention.shape == (3, 5, 4, 4)
    np.testing.assert_allclose(tf.reduce_sum(attention, axis=1), np.ones([3, 4, 4]), atol=1e-6)
    assert not attention.numpy()[~text.mask.numpy()].any()
    # By hand at one pixel of the row with three words.
    words = layer.project(text.words).numpy()[2, :3]
    shares = np.exp(words @ values[2, 1, 3].numpy())
    shares /= shares.sum()
    np.testing.assert_allclose(attention[2, :3, 1, 3], shares, atol=1e-5)
    np.testing.assert_allclose(contexts[2, 1, 3], shares @ words, atol=1e-5)


def test_generator_attention_is_the_same_in_any_batch():
    """The public code masks a pixel by the text of another row; alone, the same text behaves."""
    layer, text = WordAttention(channels=6), random_text()
    values = tf.random.stateless_normal([3, 4, 4, 6], [1, 2])
    together = layer(values, text)
    for rows in ([0], [2], [2, 0], [1, 1, 2]):
        some = Text(*(tf.gather(part, rows) for part in text))
        for part, whole in zip(layer(tf.gather(values, rows), some), together, strict=True):
            np.testing.assert_allclose(part, tf.gather(whole, rows), atol=1e-6)


def test_a_text_without_words_is_drawn_all_the_same(networks):
    text = random_text()
    empty = Text(text.words, text.sentence, tf.zeros_like(text.mask))
    made = networks.generator(empty, *noises_of(networks, 3))
    assert all(np.isfinite(image).all() for image in made.images)
    assert not any(seen.numpy().any() for seen in made.attention)


def test_code_of_no_noise_is_the_mean_and_its_divergence_is_right(networks):
    text = random_text()
    noise, _ = noises_of(networks, 3)
    still = networks.generator(text, noise, tf.zeros([3, 8]))
    given = tf.concat([still.mean, noise], axis=-1)
    first = networks.generator.to_image[0](networks.generator.stages[0](given))
    np.testing.assert_allclose(still.images[0], tf.tanh(first), atol=1e-6)
    np.testing.assert_array_equal(kl_loss(tf.zeros([2, 4]), tf.zeros([2, 4])), np.zeros(2))
    # Of N(1, 1) it is 1/2, and of N(0, e) (e - 2) / 2.
    np.testing.assert_allclose(kl_loss(tf.ones([1, 4]), tf.zeros([1, 4])), [0.5])
    wide = kl_loss(tf.zeros([1, 4]), tf.ones([1, 4]))
    np.testing.assert_allclose(wide, [(math.e - 2) / 2], rtol=1e-6)


def test_both_noises_are_part_of_the_sample(networks):
    text, (noise, condition) = random_text(), noises_of(networks, 3)
    image = networks.generator(text, noise, condition).images[-1]
    for other in ((noise + 1, condition), (noise, condition + 1)):
        assert np.abs(networks.generator(text, *other).images[-1] - image).max() > 1e-5


def test_boxes_are_not_read_and_words_are(networks, scenes):
    drawing = networks.synthesise(scenes, None, SEEDS)
    assert drawing.boxes is None and not networks.reads_boxes
    broken = networks.synthesise(scenes, scenes["boxes"] * float("nan"), SEEDS)
    np.testing.assert_array_equal(broken.images, drawing.images)
    triples = scenes["triples"].numpy()
    triples[..., 1] = np.where(triples[..., 1] > 0, 1 + triples[..., 1] % 6, triples[..., 1])
    other = networks.synthesise({**scenes, "triples": tf.constant(triples)}, None, SEEDS)
    assert (np.abs(other.images - drawing.images).max(axis=(1, 2, 3)) > 1e-5).all()


def test_a_real_image_is_reduced_to_each_stage():
    images = tf.random.stateless_uniform([2, 16, 16, 3], [1, 2], -1, 1)
    small, middle, large = pyramid_of(images, 3)
    assert small.shape == (2, 4, 4, 3) and middle.shape == (2, 8, 8, 3)
    np.testing.assert_array_equal(large, images)
    mean = tf.reduce_mean(images[1, 4:8, 8:12], axis=[0, 1])
    np.testing.assert_allclose(small[1, 1, 2], mean, atol=1e-6)


def test_critics_give_one_logit_per_head_and_only_one_reads_the_text():
    critic = StageCritic(width=8, side=32)
    images = tf.random.stateless_uniform([3, 32, 32, 3], [1, 2], -1, 1)
    sentences = random_text().sentence
    alone, beside = critic(images, sentences)
    assert alone.shape == beside.shape == (3,)
    swapped_alone, swapped = critic(images, sentences[::-1])
    np.testing.assert_array_equal(swapped_alone, alone)
    assert abs(swapped[0] - beside[0]) > 1e-4 and swapped[1] == beside[1]
    for row, logits in enumerate(zip(alone, beside, strict=True)):  # no row sees another
        again = critic(images[row : row + 1], sentences[row : row + 1])
        np.testing.assert_allclose(np.concatenate(again), logits, atol=1e-5)


def test_trunks_end_at_four_cells_and_narrow_when_deep():
    with tf.Graph().as_default():
        for side, channels in ((8, 64), (16, 128), (32, 256), (64, 512), (128, 512), (256, 512)):
            maps = StageCritic(width=64, side=side).trunk(tf.zeros([1, side, side, 3]))
            assert maps.shape == (1, 4, 4, channels)


class _Answers:
    """A critic that answers from the first numbers of image and sentence."""

    def trunk(self, images):
        return images[:, 0, 0, :1]  # [N, 1]

    def unconditional(self, maps):
        return maps[:, 0]

    def conditional(self, maps, sentences):
        return maps[:, 0] + sentences[:, 0]


def test_the_game_by_hand():
    def pixel(value):
        return tf.fill([2, 1, 1, 3], value)

    def soft(value):
        return math.log1p(math.exp(value))

    sentence, wrong = tf.fill([2, 1], 0.25), tf.fill([2, 1], -0.5)
    generator, discriminator = stage_losses(
        _Answers(), pixel(1.0), pixel(-2.0), sentence, wrong, tf.constant([True, False])
    )
    np.testing.assert_allclose(generator, [soft(2.0) + soft(1.75)] * 2, rtol=1e-6)
    shared = (soft(-1.0) + soft(-1.25)) / 2 + (soft(-2.0) + soft(-1.75)) / 3
    expected = [shared + soft(1.0 - 0.5) / 3, shared]  # the second has no wrong text
    np.testing.assert_allclose(discriminator, expected, rtol=1e-6)
    nothing = tf.zeros([2, 1])
    blind = stage_losses(_Answers(), pixel(0.0), pixel(0.0), nothing, nothing, [True, True])
    np.testing.assert_allclose(blind, np.full([2, 2], 2 * math.log(2)), rtol=1e-6)


def test_a_wrong_text_is_another_row_s_and_another_text():
    same = tf.constant(np.kron(np.eye(3), np.ones([2, 2])) > 0)  # rows 0 1, 2 3 and 4 5 are alike
    found = set()
    for seed in range(20):
        other = wrong_rows(same, tf.constant([seed, 1])).numpy()
        assert not same.numpy()[np.arange(6), other].any()
        np.testing.assert_array_equal(other, wrong_rows(same, tf.constant([seed, 1])))
        found.add(tuple(other))
    assert len(found) > 2
    np.testing.assert_array_equal(wrong_rows(tf.ones([3, 3], tf.bool), [0, 1]), [-1, -1, -1])
    np.testing.assert_array_equal(wrong_rows(tf.ones([1, 1], tf.bool), [0, 1]), [-1])


def test_terms_weights_and_betas_are_the_published_ones(tiny_rival, tiny_config, scenes):
    model = tiny_rival("attngan")
    terms = model.compute_terms(scenes, tf.constant(0))
    assert set(terms.generator) == {*GAMES, *TERMS, "kl"}
    assert model.generator_weights == {
        **dict.fromkeys(GAMES, 1.0),
        **dict.fromkeys(TERMS, 50.0),
        "kl": 1.0,
    }
    assert model.discriminator_weights == dict.fromkeys(GAMES, 1.0)
    for term in (*terms.generator.values(), *terms.discriminator.values()):
        assert term.shape == [4] and np.isfinite(term).all()
    for optimizer in (model.generator_optimizer, model.discriminator_optimizer):
        assert (optimizer.beta_1, optimizer.beta_2) == (0.5, 0.999)
    games = [side[game] for game in GAMES for side in (terms.generator, terms.discriminator)]
    assert np.mean(games) == pytest.approx(2 * math.log(2), rel=0.3)  # nothing is told apart yet
    five = dataclasses.replace(
        tiny_config, attngan=dataclasses.replace(tiny_config.attngan, matching_weight=5.0)
    )
    assert tiny_rival("attngan", config=five).generator_weights["word_rows"] == 5.0


def test_terms_go_with_their_rows_in_any_order(tiny_rival, scenes):
    """What compares rows cannot stand alone, but no place in the batch is special for it."""
    model = tiny_rival("attngan")
    straight = _matching_of(model, scenes)
    order = [2, 0, 3, 1]
    shuffled = _matching_of(model, {name: tf.gather(v, order) for name, v in scenes.items()})
    for term, values in straight.items():
        np.testing.assert_allclose(shuffled[term], tf.gather(values, order), atol=1e-4)


def _matching_of(model, scenes) -> dict[str, tf.Tensor]:
    text = model.networks.read(scenes)
    same = tf.eye(4, dtype=tf.bool)
    return model._matching(text, scenes["image"], same, tf.constant(0))  # noqa: SLF001


def test_what_each_loss_teaches(tiny_rival, scenes, reached):
    model = tiny_rival("attngan")
    tree, encoders = model.networks.generator, model.encoders
    frozen = [*encoders.variables, *model.networks.text_encoder.variables]
    assert not encoders.trainable_variables and not model.networks.text_encoder.trainable_variables
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(frozen)
        terms = model.compute_terms(scenes, tf.constant(0))
        losses = {name: tf.reduce_sum(term) for name, term in terms.generator.items()}
    stages = [stage.trainable_variables for stage in tree.stages]
    for index, game in enumerate(GAMES):
        for number, variables in enumerate(stages):
            found = reached(tape, losses[game], variables)
            assert bool(found) == (number <= index), (game, number)
    for term in TERMS:  # through the last image alone
        for variables in stages:
            assert reached(tape, losses[term], variables), term
        heads = [reached(tape, losses[term], head.trainable_variables) for head in tree.to_image]
        assert [bool(head) for head in heads] == [False, False, True]
    attention = [stage.attention.trainable_variables for stage in tree.stages[1:]]
    for variables in attention:
        assert reached(tape, losses["adversarial_image"], variables)
        assert reached(tape, losses["word_rows"], variables)
    assert reached(tape, losses["kl"], tree.conditioning.trainable_variables)
    assert not reached(tape, losses["kl"], stages[0])
    text = model.networks.text_encoder.variables
    for term in (*GAMES, "kl"):
        assert not reached(tape, losses[term], frozen), term
    for term in TERMS:  # the text is read without a gradient; projections are not optimised
        assert not reached(tape, losses[term], text), term
    optimised = {variable.ref() for variable in model.networks.trainable_variables}
    assert optimised == {variable.ref() for variable in tree.trainable_variables}


@pytest.mark.thorough  # what each loss teaches has them untaught
def test_a_step_leaves_the_encoders_as_they_are(tiny_rival, scenes):
    model = tiny_rival("attngan")
    before = [variable.numpy() for variable in model.encoders.variables]
    model.take_encoders()
    model.train_step(scenes)
    model.train_step(scenes)
    for value, variable in zip(before, model.encoders.variables, strict=True):
        np.testing.assert_array_equal(value, variable)
    pairs = zip(
        model.average.text_encoder.variables, model.networks.text_encoder.variables, strict=True
    )
    for average, value in pairs:
        np.testing.assert_allclose(average, value, atol=1e-7)


@pytest.mark.thorough  # the smallest graphs of test_every_rival
def test_one_scene_alone_and_scenes_of_one_text_are_trained(tiny_rival, scenes):
    model = tiny_rival("attngan")
    alone = {name: values[:1] for name, values in scenes.items()}
    same = {name: tf.repeat(values, 3, axis=0) for name, values in alone.items()}
    for batch in (alone, same):
        terms = model.compute_terms(batch, tf.constant(0))
        for term in TERMS:
            np.testing.assert_array_equal(terms.generator[term], np.zeros(len(batch["image"])))
        assert all(np.isfinite(value).all() for value in terms.discriminator.values())
        assert float(model.train_step(batch)["guard/skipped"]) == 0


@pytest.mark.thorough
@pytest.mark.timeout(900)  # on a loaded machine
def test_the_matching_loss_alone_teaches_the_generator_one_batch(tiny_config, tiny_world):
    """First the encoders learn it from the real images, 50 steps; then the generator from them."""
    config = dataclasses.replace(
        tiny_config,
        data=dataclasses.replace(tiny_config.data, image_size=64, max_objects=8, max_triples=16),
        training=dataclasses.replace(tiny_config.training, generator_learning_rate=1e-3),
    )
    tf.keras.utils.set_random_seed(1)
    batches = scene_dataset(tiny_world, "train", config, batch_size=4, seed=0)
    batch = next(iter(batches))
    batch = {name: batch[name] for name in ("image", "objects", "triples")}
    damsm = build_damsm(config, tiny_world.vocabulary, SCALED)
    step = tf.function(damsm.train_step)
    for _ in range(50):
        step(batch)
    model = build_attngan(config, tiny_world.vocabulary, SCALED)
    pairs = zip(model.encoders.variables, damsm.encoders.variables, strict=True)
    for target, source in pairs:
        target.assign(source)
    model.generator_weights = {
        name: weight if name in TERMS else 0.0 for name, weight in model.generator_weights.items()
    }
    step, figures = tf.function(model.train_step), []
    for _ in range(50):
        model.reset_metrics()
        reported = step(batch)
        figures.append(sum(float(reported[f"loss/generator/{term}"]) for term in TERMS))
    assert min(figures) < 0.5 * figures[0]
