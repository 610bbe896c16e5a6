"""A version of a model in memory."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from export.model_folder import open_model
from export.saved_model_loading import load_saved_model
from export.service_errors import InvalidRequest, ServiceError
from export.signatures import ALLOWED_BATCHES, example_request
from export.wire import TensorSpec, specs_of
from rgan_tf.exported import SAVED_MODEL_FILE

_MESSAGE = 1000  # characters of a message that are passed on
# "assertion failed: [objects: an id must be in [2, 9); wrong in row] [1] [[{{node A}}]] [Op:B]"
_ASSERTION = "assertion failed: "
_PLACE = re.compile(r"\s*(?:\[\[\{\{|\[Op:)")


class LoadedVersion:
    """A checked, loaded and warmed-up version; thread-safe.

    Attributes:
      number: of the version.
      model: names, sizes and origin.
      specs: type and shape of each field, by signature and field; the signatures are those that
        the model has.
      signature_defs: of the SavedModel, by name.

    Args:
      folder: of the version.

    Raises:
      BadInput, CorruptData: if it is not a complete exported model.
    """

    def __init__(self, folder: Path):
        model = open_model(folder)
        self.number = model.number
        self.model = model
        self.specs: dict[str, dict[str, TensorSpec]] = {
            name: specs_of(model.inputs_of(name), model.sizes) for name in model.endpoints
        }
        self.signature_defs = _read_signature_defs(folder, model.endpoints)
        self._loaded = load_saved_model(model)  # owns the variables of the signatures

    def warm_up(self) -> None:
        """Answers every kind of request once, so that tracing and allocation are done."""
        for name in self.specs:
            for rows in ALLOWED_BATCHES:
                self.run(name, self._example(name, rows))

    def _example(self, name: str, rows: int) -> dict[str, np.ndarray]:
        return example_request(name, self.model.sizes, rows, self.model.inputs_of(name))

    def run(self, signature: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answers a request.

        Args:
          signature: a name in `specs`.
          arrays: [rows, ...] by field name, with the types and shapes of `specs`.

        Returns:
          Arrays [rows, ...] by field name; binary ones of dtype object.

        Raises:
          InvalidRequest: from the model, naming field and row.
          ServiceError: if the model fails.
        """
        tensors = {name: tf.constant(value) for name, value in arrays.items()}
        try:
            reply = self._loaded.signatures[signature](**tensors)
        except tf.errors.InvalidArgumentError as error:
            raise InvalidRequest(reason_of(error)) from error
        except tf.errors.OpError as error:
            raise ServiceError(f"the model failed: {reason_of(error)}") from error
        return {name: value.numpy() for name, value in sorted(reply.items())}


def reason_of(error: tf.errors.OpError) -> str:
    """An operation's error message in one line, without its position in the graph."""
    text = _PLACE.split(" ".join(str(error.message).split()), maxsplit=1)[0]
    assertion = text.partition(_ASSERTION)[2].strip()
    if assertion:
        text = assertion.removeprefix("[").removesuffix("]").replace("] [", " ")
    return text[:_MESSAGE]


def _read_signature_defs(folder: Path, endpoints: Collection[str]) -> dict[str, Any]:
    content = saved_model_pb2.SavedModel()
    content.ParseFromString((folder / SAVED_MODEL_FILE).read_bytes())
    return {
        name: definition
        for name, definition in content.meta_graphs[0].signature_def.items()
        if name in endpoints
    }
