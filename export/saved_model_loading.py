"""Loads the SavedModel of an exported version."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from export.edits import Answer
from export.model_folder import ModelFolder
from export.signatures import SCANN
from rgan_tf.devices import grow_gpu_memory
from rgan_tf.errors import BadInput, CorruptData
from rgan_tf.refusals import is_refused
from rgan_tf.storage.plain_folder import plain_folder


def load_saved_model(model: ModelFolder) -> Any:
    """Loads the SavedModel with `tf.saved_model.load`.

    Raises:
      BadInput: if the model needs ScaNN, which is not installed.
      CorruptData: if TensorFlow cannot read the model.
    """
    grow_gpu_memory()
    if model.manifest.get("index") == SCANN:
        try:  # registers ScaNN's operations
            importlib.import_module("rgan_tf.adapters.scann")
        except BadInput as error:
            raise BadInput(f"--model {model.folder}: {error}") from error
    try:
        with plain_folder(model.folder) as folder:
            return tf.saved_model.load(str(folder))
    except (tf.errors.OpError, OSError, ValueError) as error:
        if is_refused(error):
            raise
        reason = " ".join(str(error).split())[:160]
        raise CorruptData(f"{model.folder}: damaged ({reason}); export the model again") from error


def load_endpoints(model: ModelFolder) -> Answer:
    """Loads the SavedModel as a function.

    Returns:
      A function of (`Request`, `Draw`) that answers with one row of NumPy values by field name.
      Rows run one by one, so that a sample depends on nothing but itself.

    Raises:
      BadInput: if the model needs ScaNN, which is not installed.
      CorruptData: if TensorFlow cannot read the model.
    """
    return answer_of(load_saved_model(model).signatures)


def answer_of(endpoints: Mapping[str, Callable[..., dict[str, tf.Tensor]]]) -> Answer:
    """What `load_endpoints` returns, for endpoints by name that take their fields by name."""

    def answer(request, draw) -> dict[str, Any]:
        fields = {**request.fields, **draw.fields}
        tensors = {name: tf.constant(value[np.newaxis]) for name, value in fields.items()}
        reply = endpoints[request.endpoint](**tensors)
        return {name: value.numpy()[0] for name, value in reply.items()}

    return answer
