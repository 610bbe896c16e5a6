"""What a reply must be."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from export.service_errors import BadReply
from export.signatures import OUTPUTS, Sizes
from export.wire import TensorSpec

MAX_REPLY_BYTES = 256 * 2**20


def output_specs(signature: str, sizes: Sizes) -> dict[str, TensorSpec]:
    """By field name."""
    return {
        field.name: TensorSpec(field.dtype, sizes.shape_of(field)) for field in OUTPUTS[signature]
    }


def checked_reply(
    arrays: Mapping[str, np.ndarray], specs: Mapping[str, TensorSpec], rows: int
) -> dict[str, np.ndarray]:
    """The fields that are expected.

    Args:
      arrays: of the reply, by field name; others than expected are left out.
      specs: what is expected.
      rows: that were asked for.

    Raises:
      BadReply: naming a field that is missing or of another kind.
    """
    for name, spec in specs.items():
        if name not in arrays:
            raise BadReply(f"reply: {name} is missing; is it a model of this contract?")
        array = arrays[name]
        dtype = "object" if spec.dtype == "bytes" else spec.dtype
        if array.dtype != dtype or array.shape != (rows, *spec.shape):
            raise BadReply(
                f"reply: {name} is {array.dtype} {list(array.shape)}, expected {spec.dtype} "
                f"{[rows, *spec.shape]}"
            )
    return {name: arrays[name] for name in specs}
