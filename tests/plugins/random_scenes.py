"""Random batches that look like the pipeline's, and how steps of two models are compared."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rgan_tf.vocabulary import Vocabulary

FEATURES = 12  # Dx
RELATED = 5  # Dc


@pytest.fixture(scope="session")
def vocabulary() -> Vocabulary:
    return Vocabulary.from_categories(("grass", "house", "sky", "tree"))


def random_batch(
    config, vocabulary, *, rows: int, seed: int = 0, features: int = FEATURES
) -> dict[str, tf.Tensor]:
    """Scenes of two objects and more, with missing objects, triples and candidates."""
    rng = np.random.default_rng(seed)
    data, k = config.data, config.retrieval.candidates
    count = rng.integers(2, data.max_objects + 1, rows)
    count[0] = data.max_objects
    mask = np.arange(data.max_objects) < count[:, None]  # [B, O]
    objects = rng.integers(2, vocabulary.num_objects, mask.shape) * mask
    corner = rng.random([*mask.shape, 2]) * 0.5
    boxes = np.concatenate([corner, corner + 0.2 + 0.3 * rng.random(corner.shape)], axis=-1)
    triples = np.full([rows, data.max_triples, 3], -1)
    for row in range(rows):
        for index in range(min(count[row], data.max_triples)):
            other = (index + rng.integers(1, count[row])) % count[row]
            predicate = rng.integers(1, len(vocabulary.predicates))
            triples[row, index] = (index, predicate, other)
    valid = (rng.random([*mask.shape, k]) < 0.8) & mask[..., None]
    valid[..., 0] = mask
    crop = [data.crop_size, data.crop_size, 3]
    arrays = {
        "image": rng.uniform(-1, 1, [rows, data.image_size, data.image_size, 3]),
        "image_id": np.arange(rows, dtype=np.int64) + 10,
        "objects": objects.astype(np.int32),
        "boxes": boxes * mask[..., None],
        "triples": triples.astype(np.int32),
        "patch_crops": rng.integers(0, 256, [*mask.shape, *crop], np.uint8),
        "patch_features": rng.normal(size=[*mask.shape, features]),
        "candidate_valid": valid,
        "candidate_ids": np.where(valid, rng.integers(0, 99, valid.shape), -1).astype(np.int32),
        "candidate_crops": rng.integers(0, 256, [*valid.shape, *crop], np.uint8),
        "candidate_features": rng.normal(size=[*valid.shape, features]),
        "candidate_cooccurrence": rng.normal(size=[*valid.shape, RELATED]),
    }
    return {
        name: tf.constant(array.astype(np.float32) if array.dtype == np.float64 else array)
        for name, array in arrays.items()
    }


@pytest.fixture(scope="session")
def make_batch(vocabulary):
    return lambda config, rows=4, **options: random_batch(config, vocabulary, rows=rows, **options)


@pytest.fixture(scope="session")
def fit_once():
    """One step of `fit` on one batch; returns the reported figures."""

    def fit(model, batch, steps: int = 1) -> dict[str, float]:
        rows = len(batch["objects"])
        dataset = tf.data.Dataset.from_tensor_slices(batch).repeat().batch(rows, True)
        history = model.fit(dataset, steps_per_epoch=steps, epochs=1, verbose=0)
        return {name: values[-1] for name, values in history.history.items()}

    return fit


@pytest.fixture(scope="session")
def assert_same_step():
    """Two models, started alike, that did one step: same weights and same figures."""

    def compare(one, other, figures, other_figures):
        for part in ("networks", "average", "discriminators"):
            variables = getattr(one, part).variables
            assert variables
            for a, b in zip(variables, getattr(other, part).variables, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5, err_msg=a.name)
        assert set(figures) == set(other_figures)
        for name, value in figures.items():
            other_value = float(other_figures[name])
            assert other_value == pytest.approx(float(value), rel=1e-4, abs=1e-5), name

    return compare
