"""Refuses models that the studio has no use for; imports no TensorFlow."""

from __future__ import annotations

from export.model_folder import ModelFolder
from export.signatures import RETRIEVEGAN
from rgan_tf.errors import BadInput


def check_is_ours(model: ModelFolder) -> None:
    """Refuses a model of another system, which has nothing that the page's tools could ask for.

    Raises:
      BadInput: names the system.
    """
    if model.system != RETRIEVEGAN:
        raise BadInput(
            f"{model.folder}: is a model of {model.system}, without the candidates that the studio "
            "swaps; draw with rgan generate, or name a model of retrievegan"
        )
