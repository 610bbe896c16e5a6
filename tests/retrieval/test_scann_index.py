"""The ScaNN index against the exact one: the same contract, and near enough results."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest

from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.retrieval.index import tuning as index_tuning
from rgan_tf.retrieval.index.exact import ANY_CATEGORY, ExactIndex, SearchResult
from rgan_tf.retrieval.index.scann_index import ScannIndex, ScannSettings
from rgan_tf.retrieval.index.tuning import build_index, recall_of, tune_scann
from rgan_tf.storage.seal import SEAL, sealed

ROWS, WIDTH, CATEGORIES, K = 3000, 16, 6, 8
EVERYTHING = ScannSettings(leaves=20, leaves_to_search=20)


def clustered_bank(seed=0, rows=ROWS, spread=0.3):
    """Features that lie together by category, as graph features do; five patches per image."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(CATEGORIES + 1, WIDTH))
    categories = rng.integers(1, CATEGORIES + 1, rows)
    features = centres[categories] + spread * rng.normal(size=(rows, WIDTH))
    return features.astype(np.float32), categories, np.arange(rows) // 5


@pytest.fixture(scope="module")
def bank():
    return clustered_bank()


@pytest.fixture(scope="module")
def index(bank):
    return ScannIndex(*bank, EVERYTHING)


def queries_of(bank, count=50, seed=1):
    rows = np.random.default_rng(seed).integers(0, len(bank[0]), count)
    return tuple(part[rows] for part in bank)


def same_candidates(found: SearchResult, expected: SearchResult):
    np.testing.assert_array_equal(found.valid, expected.valid)
    np.testing.assert_allclose(found.distances, expected.distances, rtol=1e-4, atol=1e-5)
    differ = found.ids != expected.ids  # only where distances tie
    assert differ.mean() < 0.01


def test_with_every_leaf_it_equals_the_exact_search(bank, index):
    asked = queries_of(bank)
    same_candidates(index.search(*asked, K), ExactIndex(*bank).search(*asked, K))


def test_few_leaves_overlook_patches_and_what_is_found_has_its_exact_distance(bank):
    # The negative control of the test above. Without clusters a leaf says little.
    features, categories, images = clustered_bank(spread=3.0)
    categories = np.ones_like(categories)
    index = ScannIndex(features, categories, images, ScannSettings(60, 2))
    asked = queries_of((features, categories, images))
    found = index.search(*asked, K)
    truth = ExactIndex(features, categories, images).search(*asked, K)
    assert recall_of(found, truth) < 0.9
    rows = np.maximum(found.ids, 0)
    distances = np.linalg.norm(features[rows].astype(np.float64) - asked[0][:, None], axis=-1)
    np.testing.assert_allclose(
        found.distances[found.valid], distances[found.valid], rtol=1e-4, atol=1e-5
    )


def test_results_keep_category_image_and_order(bank, index):
    asked = queries_of(bank)
    found = index.search(*asked, K)
    assert found.valid.all()
    assert (bank[1][found.ids] == asked[1][:, None]).all()
    assert (bank[2][found.ids] != asked[2][:, None]).all()
    assert (np.diff(found.distances, axis=1) >= 0).all()
    assert all(len(set(row)) == K for row in found.ids.tolist())


@pytest.mark.parametrize("leaves_to_search", [1, 20])
def test_a_rare_category_is_found_wherever_it_lies_and_is_not_filled_up(bank, leaves_to_search):
    features, categories, images = (part.copy() for part in bank)
    rare = np.flatnonzero(categories == 3)
    categories[rare[3:]] = 2
    images[rare[:3]] = [1, 2, 3]
    index = ScannIndex(features, categories, images, ScannSettings(20, leaves_to_search))
    far = features[categories == 1][:1]  # no leaf that is near has a patch of category 3
    for excluded, expected in ((-1, rare[:3]), (2, rare[[0, 2]])):
        for query in (features[rare[:1]], far):
            asked = (query, np.array([3]), np.array([excluded]))
            found = index.search(*asked, K)
            assert sorted(found.ids[0, found.valid[0]]) == expected.tolist()
            same_candidates(found, ExactIndex(features, categories, images).search(*asked, K))
    assert index.fallback_queries == 4


def test_an_unknown_category_and_one_that_lies_elsewhere_are_answered_exactly(bank, index):
    features, categories, images = bank
    far = features[categories == 1][:4]  # asked for a category whose patches lie elsewhere
    for category in (2, 99):
        query = (far, np.full(4, category), np.full(4, -1))
        same_candidates(index.search(*query, K), ExactIndex(*bank).search(*query, K))


def test_every_category_at_once(bank, index):
    middle = (bank[0][:7] + bank[0][-7:]) / 2
    query = (middle, np.full(7, ANY_CATEGORY), np.full(7, -1))
    found, expected = index.search(*query, K), ExactIndex(*bank).search(*query, K)
    same_candidates(found, expected)
    distances = np.sort(np.linalg.norm(bank[0] - middle[:, None], axis=-1), axis=1)[:, :K]
    np.testing.assert_allclose(expected.distances, distances, rtol=1e-4)


def test_padding_finds_nothing_and_padded_rows_are_never_found(bank):
    features, categories, images = (part.copy() for part in bank)
    categories[:500] = 0
    index = ScannIndex(features, categories, images, EVERYTHING)
    found = index.search(features[:2], np.array([0, 1]), np.array([-1, -1]), K)
    assert not found.valid[0].any()
    assert (found.ids[0] == -1).all()
    assert np.isinf(found.distances[0]).all()
    assert found.ids[1].min() >= 500


def test_more_columns_than_the_bank_has_rows():
    bank = clustered_bank(rows=20)
    index = ScannIndex(*bank, ScannSettings(1, 1))
    asked = queries_of(bank, 3)
    found = index.search(*asked, 30)
    assert found.ids.shape == (3, 30)
    same_candidates(found, ExactIndex(*bank).search(*asked, 30))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda q, c, i: (q * np.nan, c, i, K), "NaN"),
        (lambda q, c, i: (q[:, :-1], c, i, K), "width 15"),
        (lambda q, c, i: (q, c[:-1], i, K), "query categories"),
        (lambda q, c, i: (q, c, i.astype(float), K), "excluded images"),
        (lambda q, c, i: (q, c, i, 0), "at least 1"),
    ],
)
def test_bad_queries_are_refused_before_the_search(bank, index, change, message):
    with pytest.raises(BadInput, match=message):
        index.search(*change(*queries_of(bank)))


def test_a_small_bank_is_refused_with_advice():
    with pytest.raises(BadInput, match="exact index"):
        ScannIndex(*clustered_bank(rows=15), ScannSettings(16, 1))
    with pytest.raises(BadInput, match="leaves_to_search"):
        ScannSettings(leaves=2, leaves_to_search=3)


def test_saved_and_loaded_it_finds_the_same_in_another_process(bank, index, tmp_path):
    folder = tmp_path / "index"
    index.save(folder, notes={"recall": 1.0})
    names = {path.name for path in folder.iterdir()}
    stored = sum(path.stat().st_size for path in folder.iterdir())
    assert stored < bank[0].nbytes  # the features are not stored a second time
    asked = queries_of(bank)
    loaded = ScannIndex.load(folder, *bank)
    assert loaded.settings == index.settings
    expected = index.search(*asked, K)
    for ours, theirs in zip(loaded.search(*asked, K), expected, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    np.savez(tmp_path / "arrays.npz", *bank, *asked)
    code = (
        "import numpy as np, sys; from rgan_tf.retrieval.index.scann_index import ScannIndex;"
        f"a = list(np.load({str(tmp_path / 'arrays.npz')!r}).values());"
        f"found = ScannIndex.load({str(folder)!r}, *a[:3]).search(*a[3:], {K});"
        f"np.save({str(tmp_path / 'ids.npy')!r}, found.ids)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    np.testing.assert_array_equal(np.load(tmp_path / "ids.npy"), expected.ids)
    with pytest.raises(BadInput, match="exists"):
        index.save(folder)
    assert {path.name for path in folder.iterdir()} == names


def test_a_damaged_index_is_refused_with_the_files_name(bank, index, tmp_path):
    folder = tmp_path / "index"
    index.save(folder)
    path = sorted(folder.glob("part_*.npy"))[0]
    content = path.read_bytes()
    for damaged in (content[:-1], content[:-1] + bytes([content[-1] ^ 1])):
        path.write_bytes(damaged)
        with pytest.raises(CorruptData, match=path.name):
            ScannIndex.load(folder, *bank)
    path.unlink()
    with pytest.raises(CorruptData, match=path.name):
        ScannIndex.load(folder, *bank)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(CorruptData, match=r"manifest\.json"):
        ScannIndex.load(folder, *bank)


@pytest.mark.parametrize(
    ("name", "shape"), [("bin", [0]), ("bin", [2]), ("bin", [1, 1]), ("bin", None), ("npy", [0])]
)
def test_a_damaged_manifest_is_refused_before_scann_sees_it(bank, index, tmp_path, name, shape):
    """ScaNN would end the process."""
    folder = tmp_path / "index"
    index.save(folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    entry = next(entry for part, entry in manifest["files"].items() if part.endswith(name))
    entry["shape"] = shape
    path.write_text(json.dumps(manifest))
    with pytest.raises(CorruptData, match=r"manifest\.json: damaged .*; build the index again"):
        ScannIndex.load(folder, *bank)
    if name == "bin":
        path.write_text(json.dumps(sealed(manifest)))
        with pytest.raises(CorruptData, match=r"manifest\.json: wrong shape of part_\d+\.bin"):
            ScannIndex.load(folder, *bank)
    path.write_text(json.dumps({key: value for key, value in manifest.items() if key != SEAL}))
    with pytest.raises(CorruptData, match=r"manifest\.json: damaged"):
        ScannIndex.load(folder, *bank)


def test_the_index_of_another_bank_or_no_index_is_refused(bank, index, tmp_path):
    folder = tmp_path / "index"
    index.save(folder)
    features = bank[0].copy()
    features[17, 3] += 0.5
    with pytest.raises(BadInput, match="another bank"):
        ScannIndex.load(folder, features, *bank[1:])
    with pytest.raises(BadInput, match=r"manifest\.json"):
        ScannIndex.load(tmp_path, *bank)
    manifest = json.loads((folder / "manifest.json").read_text())
    for key, value, message in (("version", 99, "version 99"), ("kind", "other", "not a ScaNN")):
        (folder / "manifest.json").write_text(json.dumps(sealed({**manifest, key: value})))
        with pytest.raises(BadInput, match=message):
            ScannIndex.load(folder, *bank)


def test_the_tuner_reaches_the_recall_with_as_few_leaves_as_it_can(bank):
    lines = []
    tuning = tune_scann(*bank, k=K, recall=0.99, queries=200, progress=lines.append)
    assert tuning.reached
    assert tuning.recall >= 0.99
    assert len(lines) == len(tuning.trials)
    assert [trial["recall"] >= 0.99 for trial in tuning.trials].index(True) == len(lines) - 1
    assert tuning.index.settings.leaves_to_search == tuning.trials[-1]["leaves_to_search"]
    asked = queries_of(bank, 300, seed=9)  # others than the tuner's
    truth = ExactIndex(*bank).search(*asked, K)
    assert recall_of(tuning.index.search(*asked, K), truth) > 0.97
    json.dumps(tuning.report())


def test_the_tuner_says_when_scann_does_not_pay():
    tuning = tune_scann(*clustered_bank(rows=200), k=K, queries=50)
    assert tuning.pays == (tuning.reached and tuning.seconds < tuning.exact_seconds)
    with pytest.raises(BadInput, match="recall"):
        tune_scann(*clustered_bank(rows=200), k=K, recall=1.5)


def test_auto_takes_the_exact_search_for_a_small_bank_and_measures_a_large_one(bank, monkeypatch):
    lines = []
    assert isinstance(build_index("auto", *bank, k=K, progress=lines.append), ExactIndex)
    assert not lines
    monkeypatch.setattr(index_tuning, "LARGE_BANK", 100)
    for slow, expected in ((ExactIndex, ScannIndex), (ScannIndex, ExactIndex)):
        monkeypatch.setattr(
            index_tuning,
            "batch_seconds",
            lambda index, asked, k, slow=slow: 2.0 if isinstance(index, slow) else 1.0,
        )
        assert isinstance(build_index("auto", *bank, k=K, progress=lines.append), expected)
        assert "2000.0 ms" in lines[-1]
        assert "1000.0 ms" in lines[-1]
        assert isinstance(build_index("scann", *bank, k=K), ScannIndex)
        assert isinstance(build_index("exact", *bank, k=K), ExactIndex)


def test_scann_that_misses_its_recall_is_refused_when_asked_for_by_name(bank, monkeypatch):
    monkeypatch.setattr(index_tuning, "recall_of", lambda found, truth: 0.5)
    with pytest.raises(BadInput, match="0.5000"):
        build_index("scann", *bank, k=K)
    monkeypatch.setattr(index_tuning, "LARGE_BANK", 100)
    assert isinstance(build_index("auto", *bank, k=K), ExactIndex)


def test_recall_by_hand():
    truth = SearchResult(
        np.array([[1, 2, 3], [4, 5, -1]]),
        np.array([[True, True, True], [True, True, False]]),
        np.array([[0.1, 0.2, 0.3], [0.5, 0.6, np.inf]], np.float32),
    )
    found = SearchResult(
        np.array([[1, 3, 9], [4, 8, 7]]),
        np.array([[True, True, True], [True, True, True]]),
        np.array([[0.1, 0.3, 0.9], [0.5, 0.6, 0.7]], np.float32),
    )
    # 1 and 3 of three; 4, and 8 as near as 5, of two.
    assert recall_of(found, truth) == pytest.approx(4 / 5)
    assert recall_of(truth, truth) == 1
    nothing = SearchResult.empty(2, 3)
    assert recall_of(nothing, nothing) == recall_of(found, nothing) == 1
    assert recall_of(nothing, truth) == 0


def test_a_bank_whose_patches_have_no_candidates_is_searched_faultlessly():
    """As one of a single image."""
    features, categories, images = clustered_bank(rows=30)
    tuning = tune_scann(features, categories, np.zeros_like(images), k=K, queries=20)
    assert tuning.recall == 1 and tuning.reached and len(tuning.trials) == 1
