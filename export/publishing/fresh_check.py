"""A script that answers requests with a SavedModel and TensorFlow alone.

    python -I fresh_check.py MODEL_VERSION REQUESTS.npz REPLIES.npz [--allow PACKAGE]...

It cannot import rgan_tf or its dependencies, so a model that answers here can be loaded by a
server. Allowed packages are imported first, for their operations. Array names are ENDPOINT/FIELD.
Each request is made twice; the second answer, from a warm model, is kept.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

FORBIDDEN = (
    "rgan_tf",
    "training",
    "export",
    "tensorflow_gnn",
    "tensorflow_addons",
    "tensorflow_gan",
    "scann",
)


def main(model: str, requests_path: str, replies_path: str, allow: Sequence[str] = ()) -> None:
    """Loads the model, answers every request and writes the replies."""
    for name in set(FORBIDDEN) - set(allow):
        sys.modules[name] = None  # importing it raises ModuleNotFoundError
    for name in allow:
        importlib.import_module(name)

    import numpy as np
    import tensorflow as tf

    loaded = tf.saved_model.load(model)
    requests = {}
    with np.load(requests_path, allow_pickle=False) as arrays:
        for key in arrays.files:
            endpoint, field = key.split("/")
            requests.setdefault(endpoint, {})[field] = tf.constant(arrays[key])
    replies = {}
    for endpoint, request in requests.items():
        for _ in range(2):
            reply = loaded.signatures[endpoint](**request)
        for field, value in reply.items():
            array = value.numpy()
            if array.dtype == object:  # npz cannot hold byte strings without pickle
                for row, content in enumerate(array.ravel()):
                    data = np.frombuffer(content, np.uint8)
                    replies[f"{endpoint}/{field}/{row}"] = data
            else:
                replies[f"{endpoint}/{field}"] = array
    np.savez(replies_path, **replies)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for position in ("model", "requests_path", "replies_path"):
        parser.add_argument(position)
    parser.add_argument("--allow", action="append", default=[])
    main(**vars(parser.parse_args()))
