"""What TensorFlow Serving reads before it answers anybody."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from export.model_folder import EXTRA
from export.publishing.warmup import WARMUP_FILE, write_warmup
from export.signatures import ALLOWED_BATCHES, INPUTS, OUTPUTS, Sizes, example_request

SIZES = Sizes(3, 2, 8, 16, 16, 4, 5, 6, 3, 2, candidates=4)


def read(path):
    """Per record the endpoint and the fields as arrays."""
    found = []
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        request = log.predict_log.request
        fields = {name: tf.make_ndarray(value) for name, value in request.inputs.items()}
        found.append((request.model_spec.signature_name, fields))
    return found


def rows_of(fields):
    (rows,) = {len(value) for value in fields.values()}
    return rows


def test_one_request_per_endpoint_and_number_of_rows(tmp_path):
    write_warmup(tmp_path, SIZES)
    found = read(tmp_path / "assets.extra" / "tf_serving_warmup_requests")
    assert [(endpoint, rows_of(fields)) for endpoint, fields in found] == [
        (endpoint, batch) for endpoint in INPUTS for batch in (1, 2, 4, 8)
    ]
    assert len(found) == 28  # a server takes 1000
    for endpoint, fields in found:
        expected = example_request(endpoint, SIZES, rows_of(fields))
        assert set(fields) == set(expected)
        for name, value in fields.items():
            assert value.dtype == expected[name].dtype
            np.testing.assert_array_equal(value, expected[name])


def test_the_same_bytes_again(tmp_path):
    contents = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write_warmup(tmp_path / name, SIZES)
        contents.append((tmp_path / name / EXTRA / WARMUP_FILE).read_bytes())
    assert contents[0] == contents[1]


def test_the_manifest_covers_it(exported):
    path = exported.version / EXTRA / WARMUP_FILE
    entry = exported.model.manifest["files"][f"{EXTRA}/{WARMUP_FILE}"]
    assert entry["bytes"] == path.stat().st_size > 0


@pytest.mark.parametrize("batch", ALLOWED_BATCHES)
def test_the_loaded_model_accepts_every_request(exported, ask, batch):
    found = read(exported.version / EXTRA / WARMUP_FILE)
    requests = {e: fields for e, fields in found if rows_of(fields) == batch}
    assert list(requests) == list(INPUTS)
    for endpoint, fields in requests.items():
        reply = ask(endpoint, **fields)
        assert set(reply) == {field.name for field in OUTPUTS[endpoint]}
        assert all(len(value) == batch for value in reply.values())
