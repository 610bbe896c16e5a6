"""The requests that TensorFlow Serving makes of a model before it answers anybody.

What is traced, compiled and allocated at the first request of each kind is done by then, so that
nobody's first request is slow. `assets.extra/tf_serving_warmup_requests` is the place where
TensorFlow Serving looks, and at most 1000 records are what it reads.
"""

from __future__ import annotations

from pathlib import Path

from export.model_folder import EXTRA
from export.signatures import ALLOWED_BATCHES, INPUTS, Sizes, example_request

WARMUP_FILE = "tf_serving_warmup_requests"


def write_warmup(folder: Path, sizes: Sizes) -> None:
    """Writes one request per endpoint and number of rows that a server runs at once.

    Args:
      folder: of the version; its `assets.extra` is made if missing.
      sizes: of the model.
    """
    import tensorflow as tf
    from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog

    extra = folder / EXTRA
    extra.mkdir(exist_ok=True)
    with tf.io.TFRecordWriter(str(extra / WARMUP_FILE)) as writer:
        for endpoint in INPUTS:
            for batch in ALLOWED_BATCHES:
                log = PredictionLog()
                request = log.predict_log.request
                # No name: it is the operator's choice, and not looked at here.
                request.model_spec.signature_name = endpoint
                for name, value in example_request(endpoint, sizes, batch).items():
                    request.inputs[name].CopyFrom(tf.make_tensor_proto(value))
                # Else the order of the fields, and with it the file's checksum, is left to chance.
                writer.write(log.SerializeToString(deterministic=True))
