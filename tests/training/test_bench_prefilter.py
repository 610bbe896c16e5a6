"""`rgan bench prefilter`: exact search and ScaNN on a bank of any size."""

from __future__ import annotations

import json

import numpy as np
import pytest

from training.bench.search_speed import synthetic_bank


def test_a_synthetic_bank_is_shaped_like_graph_features():
    features, categories, images = synthetic_bank(5000, 32, 6, 0)
    assert features.shape == (5000, 32)
    assert set(categories.tolist()) == set(range(1, 7))
    assert len(features) / len(set(images.tolist())) == pytest.approx(5.55, abs=0.01)
    means = np.stack([features[categories == number].mean(axis=0) for number in range(1, 7)])
    within = features - means[categories - 1]
    assert means.std(axis=0).mean() / within.std(axis=0).mean() == pytest.approx(1.8, rel=0.25)
    shares = np.sort(np.linalg.eigvalsh(np.cov(within.T)))[::-1]
    assert shares[:8].sum() / shares.sum() > 0.75
    again = synthetic_bank(5000, 32, 6, 0)
    np.testing.assert_array_equal(again[0], features)
    assert (synthetic_bank(5000, 32, 6, 1)[0] != features).any()


def test_every_figure_is_there(rgan):
    words = ("--rows", 2000, "--width", 16, "--categories", 5, "--candidates", 8, "--queries", 100)
    result = rgan("bench", "prefilter", *words)
    assert result.code == 0, result.err
    figures = json.loads(result.out.splitlines()[-1])
    assert figures["rows"] == 2000
    assert figures["recall_at_8"] > 0.95
    assert figures["fallback_share"] < 0.2  # the queries are patches, category and all
    assert figures["speedup_batch64"] > 0
    assert figures["exact_in_training_batch64_ms"] > 0
    assert 0 < figures["open_seconds"] < 5
    assert figures["open_resident_mb"] < 200
    assert figures["settings"]["leaves_to_search"] <= figures["settings"]["leaves"] == 45


@pytest.mark.thorough  # every figure is there, without a run
def test_features_of_a_run(rgan, trained_folder):
    result = rgan("bench", "prefilter", "--run", trained_folder, "--candidates", 4)
    assert result.code == 0, result.err
    figures = json.loads(result.out.splitlines()[-1])
    assert figures["recall_at_4"] > 0.9
    assert "open_seconds" not in figures


@pytest.mark.parametrize(
    "words", [(), ("--rows", 500, "--run", "x"), ("--rows", 3), ("--rows", 500, "--seed", -1)]
)
def test_what_cannot_be_measured_is_refused(rgan, words):
    assert rgan("bench", "prefilter", *words).code == 2
