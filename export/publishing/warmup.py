"""Warm-up requests that TensorFlow Serving makes before it answers clients.

They trace, compile and allocate what the first request of each kind would, so that no client's
first request is slow. TensorFlow Serving looks for them at
`assets.extra/tf_serving_warmup_requests` and reads at most 1000 records.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import tensorflow as tf
from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

from export.model_folder import EXTRA
from export.signatures import ALLOWED_BATCHES, INPUTS, Field, Sizes, example_request

WARMUP_FILE = "tf_serving_warmup_requests"


def write_warmup(
    folder: Path, sizes: Sizes, inputs: Mapping[str, tuple[Field, ...]] = INPUTS
) -> None:
    """Writes one request per endpoint and batch size that a server runs.

    Args:
      folder: of the version; its `assets.extra` is created if missing.
      sizes: of the model.
      inputs: fields of each of its endpoints.
    """
    extra = folder / EXTRA
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / WARMUP_FILE)) as writer:
        for endpoint, fields in inputs.items():
            for batch in ALLOWED_BATCHES:
                log = PredictionLog()
                request = log.predict_log.request
                # No name: the operator chooses it, and it is ignored here.
                request.model_spec.signature_name = endpoint
                for name, value in example_request(endpoint, sizes, batch, fields).items():
                    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
                # Otherwise the order of the fields, and so the file's checksum, would be random.
                writer.write(log.SerializeToString(deterministic=True))
