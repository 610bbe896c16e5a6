"""Checks replies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from export.service_errors import BadReply
from export.signatures import NO_PATCH, OWN_PATCH, Sizes
from export.wire import TensorSpec
from rgan_tf.vocabulary import PADDING

MAX_REPLY_BYTES = 256 * 2**20


def checked_reply(
    arrays: Mapping[str, np.ndarray], specs: Mapping[str, TensorSpec], rows: int
) -> dict[str, np.ndarray]:
    """Checks a reply and returns the expected fields.

    Args:
      arrays: of the reply, by field name; unexpected ones are dropped.
      specs: the expected fields.
      rows: the requested number of rows.

    Raises:
      BadReply: names a field that is missing or of another kind.
    """
    check_names(arrays, specs)
    for name, spec in specs.items():
        check_kind(name, arrays[name].dtype, arrays[name].shape, spec, rows)
    return {name: arrays[name] for name in specs}


def check_names(found: Iterable[str], specs: Mapping[str, TensorSpec]) -> None:
    """Checks that all expected fields are there.

    Raises:
      BadReply: names a missing field.
    """
    missing = sorted(set(specs) - set(found))
    if missing:
        raise BadReply(f"reply: {missing[0]} is missing; is it a model of this contract?")


def check_kind(
    name: str, dtype: np.dtype, shape: tuple[int, ...], spec: TensorSpec, rows: int
) -> None:
    """Checks type and shape of a field; works before its values are unpacked.

    Raises:
      BadReply: if they differ.
    """
    expected = "object" if spec.dtype == "bytes" else spec.dtype
    if dtype != expected or shape != (rows, *spec.shape):
        raise BadReply(
            f"reply: {name} is {dtype} {list(shape)}, expected {spec.dtype} {[rows, *spec.shape]}"
        )


def check_values(reply: Mapping[str, np.ndarray], sizes: Sizes) -> None:
    """Checks that the values of a checked reply are possible for the model.

    A server may have another model under the name and number; then provenance would be wrong.

    Raises:
      BadReply: names a field with ids out of range or values that are not finite.
    """
    for name, array in reply.items():
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise BadReply(f"reply: {name} has values that are not finite")
    limits = {
        "patch_ids": (OWN_PATCH, sizes.patches),
        "patch_categories": (PADDING, sizes.num_objects),
        "order": (-1, sizes.objects),
        "candidate_ids": (NO_PATCH, sizes.patches),
        "neighbour_ids": (NO_PATCH, sizes.patches),
    }
    for name, (lowest, end) in limits.items():
        array = reply.get(name)
        if array is not None and not ((lowest <= array) & (array < end)).all():
            raise BadReply(
                f"reply: {name} has values outside [{lowest}, {end}); does the server have another "
                "model under this name?"
            )
