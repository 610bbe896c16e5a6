"""The exported graph: parity with the library, the user's own choices, refusals."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from export.served.pixels import resize_own_patches
from export.signatures import (
    DETERMINISTIC,
    GENERATE,
    GENERATE_WITH_PATCHES,
    OWN_PATCH,
    SAMPLE,
    WITH_REPEATS,
    empty_request,
)
from rgan_tf.bank.patch_bank import resize_crops
from rgan_tf.data.pipeline import scene_dataset
from rgan_tf.model.networks import build_cooccurrence_embedding
from rgan_tf.model.synthesis import synthesise
from rgan_tf.retrieval.prefilter import prefilter

SKY, GRASS, TREE = "sky", "grass", "tree"


@pytest.fixture
def scene(exported):
    """Makes a row with sky and a tree above grass, without boxes or patches."""
    ids = exported.model.vocabulary

    def make(endpoint: str = GENERATE, seed: int = 1) -> dict[str, np.ndarray]:
        request = empty_request(endpoint, exported.model.sizes, 1)
        request["objects"][0, :3] = [ids.object_id(name) for name in (SKY, GRASS, TREE)]
        request["triples"][0, :2] = [
            [0, ids.predicate_id("above"), 1],
            [2, ids.predicate_id("above"), 1],
        ]
        request["seed"][:] = seed
        return request

    return make


@pytest.fixture(scope="module")
def library(exported):
    """The held-out scenes as a pipeline batch with candidates, as training sees them."""
    config, data, served = exported.run.config, exported.data, exported.served
    cooccurrence = build_cooccurrence_embedding(config, exported.run.feature_size)
    table = prefilter(config, data, ["val"], served.prefilter, cooccurrence)["val"]
    dataset = scene_dataset(
        data, "val", config, batch_size=2, seed=0, repeat=False, augment=False, candidates=table
    )
    return next(iter(dataset))


@pytest.mark.parametrize("deterministic", [False, True])
@pytest.mark.parametrize(("boxes_given", "repeats"), [(False, False), (True, False), (True, True)])
def test_equals_the_library(exported, library, ask, deterministic, boxes_given, repeats):
    rows = len(library["objects"])
    seeds = tf.range(rows) + 20
    encoder, graph = exported.served.prefilter.encoder, ("objects", "triples")
    queries = encoder({key: library[key] for key in graph}).object_vectors  # [B, O, W]
    bank = tf.gather(exported.served.bank.graph_features, tf.maximum(library["candidate_ids"], 0))
    distances = tf.norm(bank - queries[:, :, tf.newaxis], axis=-1)  # [B, O, K]
    expected = synthesise(
        exported.served.networks,
        {**library, "candidate_distances": distances},
        row_seeds=None if deterministic else seeds,
        boxes=library["boxes"] if boxes_given else None,
        repeats=repeats,
    )
    request = empty_request(GENERATE, exported.model.sizes, rows)
    request["objects"] = library["objects"].numpy()
    request["triples"] = library["triples"].numpy()
    request["seed"] = seeds.numpy()
    request["mode"][:] = DETERMINISTIC if deterministic else SAMPLE
    request["mode"] += WITH_REPEATS if repeats else 0
    if boxes_given:
        request["boxes"] = library["boxes"].numpy()
        request["boxes_given"] = request["objects"] > 0
    reply = ask(GENERATE, **request)

    choice = expected.choice.numpy()
    chosen = np.take_along_axis(
        library["candidate_ids"].numpy(), np.maximum(choice, 0)[..., None], axis=2
    )[..., 0]
    np.testing.assert_array_equal(reply["patch_ids"], np.where(choice >= 0, chosen, -1))
    np.testing.assert_array_equal(reply["order"], expected.order.numpy())
    np.testing.assert_allclose(reply["boxes"], expected.boxes.numpy(), atol=1e-6)
    for content, image in zip(reply["image_bytes"], expected.images.numpy(), strict=True):
        pixels = tf.io.decode_png(content).numpy().astype(int)
        assert np.abs(pixels - np.round((image + 1) * 127.5)).max() <= 1


def test_same_seed_same_reply_and_other_seeds_other_patches(scene, ask):
    first, again = ask(GENERATE, **scene(seed=4)), ask(GENERATE, **scene(seed=4))
    for name, value in first.items():
        np.testing.assert_array_equal(value, again[name])
    choices = {tuple(ask(GENERATE, **scene(seed=seed))["patch_ids"][0]) for seed in range(8)}
    assert len(choices) > 1


def test_patches_are_of_the_bank(exported, scene, ask):
    reply, size = ask(GENERATE, **scene()), exported.model.sizes.crop
    ids = reply["patch_ids"][0]
    assert (ids[:3] >= 0).all() and (ids[3:] == -1).all()
    crops = [tf.io.decode_png(content).numpy() for content in reply["patch_crops_bytes"][0, :3]]
    np.testing.assert_array_equal(crops, exported.data.bank.crops_at(ids[:3], size))
    assert reply["patch_crops_bytes"][0, 3:].tolist() == [b""] * 3
    assert not reply["boxes"][0, 3:].any()
    assert (reply["patch_scores"][0, :3] >= 0).all() and (reply["patch_scores"][0, 3:] == -1).all()
    categories = [row["category"] for row in exported.model.provenance]
    assert [categories[patch] for patch in ids[:3]] == [SKY, GRASS, TREE]
    objects = scene()["objects"]
    np.testing.assert_array_equal(reply["patch_categories"], objects)


def test_a_row_does_not_depend_on_its_batch(exported, library, ask):
    alone = empty_request(GENERATE, exported.model.sizes, 1)
    alone["objects"] = library["objects"].numpy()[:1]
    alone["triples"] = library["triples"].numpy()[:1]
    alone["seed"][:] = 9
    other = {**alone, "objects": library["objects"].numpy()[1:], "mode": np.int32([DETERMINISTIC])}
    other["triples"] = library["triples"].numpy()[1:]
    expected = ask(GENERATE, **alone)
    for position in (0, 3, 7):
        rows = [other] * 8
        rows[position] = alone
        batch = {name: np.concatenate([row[name] for row in rows]) for name in alone}
        reply = ask(GENERATE, **batch)
        np.testing.assert_array_equal(reply["patch_ids"][position], expected["patch_ids"][0])
        one, many = (
            tf.io.decode_png(content).numpy().astype(int)
            for content in (expected["image_bytes"][0], reply["image_bytes"][position])
        )
        assert np.abs(one - many).max() <= 1


def test_given_boxes_are_used_and_others_predicted(scene, ask):
    free = ask(GENERATE, **scene())
    request = scene()
    request["boxes"][0, 1] = [0.5, 0.0, 1.0, 0.75]
    request["boxes_given"][0, 1] = True
    reply = ask(GENERATE, **request)
    np.testing.assert_array_equal(reply["boxes"][0, 1], np.float32([0.5, 0.0, 1.0, 0.75]))
    np.testing.assert_array_equal(reply["boxes"][0, [0, 2]], free["boxes"][0, [0, 2]])
    assert reply["image_bytes"][0] != free["image_bytes"][0]
    # A box that is not given is not looked at, whatever stands there.
    request["boxes_given"][:] = False
    request["boxes"][:] = np.nan
    assert ask(GENERATE, **request)["image_bytes"][0] == free["image_bytes"][0]


def test_a_locked_patch_comes_back_and_steers_the_others(exported, scene, ask):
    categories = np.array([row["category"] for row in exported.model.provenance])
    # Of another category, hence not among the object's own candidates.
    for locked in np.flatnonzero(categories == "water")[:2].tolist():
        request = scene(seed=2)
        request["patch_ids"][0, 2] = locked
        reply = ask(GENERATE, **request)
        assert reply["patch_ids"][0, 2] == locked
        water = exported.model.vocabulary.object_id("water")
        assert reply["patch_categories"][0, 2] == water != request["objects"][0, 2]
        np.testing.assert_array_equal(
            tf.io.decode_png(reply["patch_crops_bytes"][0, 2]).numpy(),
            exported.data.bank.crops_at(np.array(locked), exported.model.sizes.crop),
        )
        assert sorted(reply["order"][0, :2]) == [0, 1] and (reply["order"][0, 2:] == -1).all()
        assert reply["patch_scores"][0, 2] > 0
    everything = scene()
    everything["patch_ids"][0, :3] = [0, 1, 2]
    reply = ask(GENERATE, **everything)
    assert reply["patch_ids"][0].tolist() == [0, 1, 2, -1, -1, -1]
    assert (reply["order"] == -1).all()


def test_an_own_patch_is_embedded_as_the_bank_is(exported, scene, ask):
    """A bank patch given as pixels must act exactly as the same patch locked by its id."""
    by_id, by_pixels = scene(GENERATE, seed=6), scene(GENERATE_WITH_PATCHES, seed=6)
    patch = len(exported.data.bank) // 2
    by_id["patch_ids"][0, 1] = patch
    by_pixels["own_patches"][0, 1] = exported.data.bank.crops[patch]
    by_pixels["own_given"][0, 1] = True
    expected, reply = ask(GENERATE, **by_id), ask(GENERATE_WITH_PATCHES, **by_pixels)
    assert reply["patch_ids"][0, 1] == OWN_PATCH and reply["patch_scores"][0, 1] == -1
    assert reply["patch_categories"][0, 1] == 0
    np.testing.assert_array_equal(reply["patch_ids"][0, [0, 2]], expected["patch_ids"][0, [0, 2]])
    np.testing.assert_array_equal(reply["patch_crops_bytes"], expected["patch_crops_bytes"])
    assert reply["image_bytes"][0] == expected["image_bytes"][0]


def test_without_own_patches_both_endpoints_agree(scene, ask):
    plain, other = (
        ask(GENERATE, **scene()),
        ask(GENERATE_WITH_PATCHES, **scene(GENERATE_WITH_PATCHES)),
    )
    for name, value in plain.items():
        np.testing.assert_array_equal(value, other[name])


@pytest.mark.parametrize(("stored", "size"), [(64, 16), (64, 32), (64, 64)])
def test_own_patches_are_resized_as_the_bank(stored, size):
    patches = np.random.default_rng(0).integers(0, 256, [2, 3, stored, stored, 3], np.uint8)
    result = resize_own_patches(tf.constant(patches), size).numpy()
    expected = resize_crops(patches.reshape(-1, stored, stored, 3), size).reshape(result.shape)
    np.testing.assert_array_equal(result, expected)


def test_own_patches_of_another_size_are_refused():
    with pytest.raises(ValueError, match="64 px cannot be averaged to 24"):
        resize_own_patches(tf.zeros([1, 1, 64, 64, 3], tf.uint8), 24)


BAD = [
    ("objects", lambda r: r["objects"].__setitem__((0, 0), 999), "objects: every id"),
    ("negative object", lambda r: r["objects"].__setitem__((0, 0), -5), "objects: every id"),
    ("image object", lambda r: r["objects"].__setitem__((0, 0), 1), "objects: every id"),
    ("no object", lambda r: (r["objects"].fill(0), r["triples"].fill(-1)), "at least one object"),
    ("subject", lambda r: r["triples"].__setitem__((0, 0), [99, 1, 0]), "subject and object"),
    ("negative", lambda r: r["triples"].__setitem__((0, 0), [0, 1, -3]), "subject and object"),
    ("half padded", lambda r: r["triples"].__setitem__((0, 0), [-1, -1, 0]), "subject and object"),
    ("absent", lambda r: r["triples"].__setitem__((0, 0), [0, 1, 5]), "objects that exist"),
    ("itself", lambda r: r["triples"].__setitem__((0, 0), [1, 1, 1]), "two different objects"),
    ("predicate", lambda r: r["triples"].__setitem__((0, 0), [0, 77, 1]), "predicate must be"),
    ("in image", lambda r: r["triples"].__setitem__((0, 0), [0, 0, 1]), "predicate must be"),
    ("patch", lambda r: r["patch_ids"].__setitem__((0, 0), 10**6), "patch_ids: must be"),
    ("own id", lambda r: r["patch_ids"].__setitem__((0, 0), -2), "patch_ids: must be"),
    ("patch of nothing", lambda r: r["patch_ids"].__setitem__((0, 4), 0), "patch_ids: set where"),
    ("box of nothing", lambda r: _box(r, 4, [0, 0, 1, 1]), "boxes_given: set where"),
    ("inverted box", lambda r: _box(r, 0, [0.6, 0.1, 0.5, 0.9]), "boxes: need"),
    ("flat box", lambda r: _box(r, 0, [0.1, 0.5, 0.9, 0.5]), "boxes: need"),
    ("outside", lambda r: _box(r, 0, [0.1, 0.1, 1.01, 0.9]), "boxes: need"),
    ("nan", lambda r: _box(r, 0, [0.1, 0.1, np.nan, 0.9]), "boxes: need"),
    ("batch", lambda r: r.__setitem__("seed", r["seed"][:1]), "seed: first dimension"),
]


def _box(request, position, box):
    request["boxes"][0, position] = box
    request["boxes_given"][0, position] = True


@pytest.mark.parametrize(("change", "message"), [c[1:] for c in BAD], ids=[c[0] for c in BAD])
def test_bad_requests_are_refused_by_field_and_row(scene, ask, change, message):
    bad, good = scene(), scene()
    both = {name: np.concatenate([good[name], bad[name]]) for name in good}
    view = {name: value[1:] for name, value in both.items()}
    if "seed" in message:
        both["seed"] = both["seed"][:1]
    else:
        change(view)
    with pytest.raises(tf.errors.InvalidArgumentError, match=message) as caught:
        ask(GENERATE, **both)
    if "seed" not in message:
        assert "wrong in row] [1]" in str(caught.value)


@pytest.mark.parametrize(
    ("position", "patch_id", "message"),
    [(4, -1, "own_given: set where"), (0, 3, "own_given: set together")],
)
def test_bad_own_patches_are_refused(scene, ask, position, patch_id, message):
    request = scene(GENERATE_WITH_PATCHES)
    request["own_given"][0, position] = True
    request["patch_ids"][0, position] = patch_id
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        ask(GENERATE_WITH_PATCHES, **request)


def test_the_bank_lies_in_the_variables_and_not_in_the_graph(exported):
    traced = exported.functions[GENERATE].get_concrete_function()
    variables = {v.name: v.shape for v in traced.graph.variables}
    assert variables["bank/crops:0"] == [len(exported.data.bank), 16, 16, 3]
    crop = exported.data.bank.crops_at(np.array(3), exported.model.sizes.crop).tobytes()
    assert crop not in (exported.version / "saved_model.pb").read_bytes()
    data = exported.version / "variables" / "variables.data-00000-of-00001"
    assert crop in data.read_bytes()
