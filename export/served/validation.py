"""Checks requests inside the exported graph; errors are INVALID_ARGUMENT.

TensorFlow Serving only checks names and types, and a gather with a negative index runs without an
error. Each message names the field and the first wrong row.
"""

from __future__ import annotations

import tensorflow as tf

from export.signatures import ALL_MODES, MAX_BATCH, MAX_TEMPERATURE, NO_PATCH, RETRIEVE, Sizes
from rgan_tf.vocabulary import IMAGE, IN_IMAGE, PADDING


def checked_request(
    request: dict[str, tf.Tensor], sizes: Sizes, patch_licences: tf.Tensor | None
) -> dict[str, tf.Tensor]:
    """Refuses requests that the model cannot use.

    Args:
      request: tensors by field name, all of one endpoint, see `export.signatures`.
      sizes: of the model.
      patch_licences: [N] int32 in [0, L), the licence of each patch of the bank; None for a model
        without patches.

    Returns:
      The same tensors, available only after every check has passed. Boxes that are not given are
      zero.

    Raises (when run):
      tf.errors.InvalidArgumentError: names the field and the row.
    """
    # Checked first: the other checks combine fields and would fail obscurely.
    with tf.control_dependencies(_equal_batches(request)):
        request = {name: tf.identity(value) for name, value in request.items()}
    checks = []
    if "objects" in request:
        present = request["objects"] != PADDING  # [B, O]
        checks += _graph_checks(request, present, sizes)
    if "boxes" in request:
        checks += _box_checks(request, present)
    if "patch_ids" in request:
        checks += _lock_checks(request, present, sizes, patch_licences)
    if "seed" in request:
        checks.append(_require(request["seed"] >= 0, "seed: must not be negative"))
    if "mode" in request:
        checks += _draw_checks(request)
    if "own_given" in request:
        own = request["own_given"]  # [B, O]
        checks += [
            _require(~own | present, "own_given: set where there is no object"),
            _require(~own | (request["patch_ids"] < 0), "own_given: set together with patch_ids"),
        ]
    if "ids" in request:
        ids = request["ids"]  # [B, K]
        known = (ids >= NO_PATCH) & (ids < sizes.patches)  # [B, K]
        checks.append(_require(known, f"ids: must be -1 or in [0, {sizes.patches})"))
    if "patch_id" in request:
        patch_id = request["patch_id"]  # [B]
        known = (patch_id >= 0) & (patch_id < sizes.patches)  # [B]
        checks.append(_require(known, f"patch_id: must be in [0, {sizes.patches})"))
    with tf.control_dependencies(checks):
        request = {name: tf.identity(value) for name, value in request.items()}
    if "boxes" in request:
        given = request["boxes_given"][..., tf.newaxis]  # [B, O, 1]
        request["boxes"] = tf.where(given, request["boxes"], 0.0)  # [B, O, 4]
    return request


def _graph_checks(
    request: dict[str, tf.Tensor], present: tf.Tensor, sizes: Sizes
) -> list[tf.Operation]:
    """Checks of the graph; `present` [B, O] says where objects are."""
    objects, triples = request["objects"], request["triples"]  # [B, O], [B, T, 3]
    known = ~present | ((objects > IMAGE) & (objects < sizes.num_objects))  # [B, O]
    absent = tf.reduce_all(triples == -1, axis=-1)  # [B, T]
    subject, predicate, target = tf.unstack(triples, axis=-1)  # [B, T] each
    in_range = (tf.minimum(subject, target) >= 0) & (
        tf.maximum(subject, target) < sizes.objects
    )  # [B, T]
    connects = in_range & (subject != target)  # [B, T]
    for end in (subject, target):
        # Clipped, so that the gather does not fail before the message.
        index = tf.clip_by_value(end, 0, sizes.objects - 1)  # [B, T]
        connects &= tf.gather(present, index, batch_dims=1)  # [B, T]
    named = (predicate > IN_IMAGE) & (predicate < sizes.num_predicates)  # [B, T]
    return [
        _require(known, f"objects: every id must be 0 or in [2, {sizes.num_objects})"),
        _require(tf.reduce_any(present, axis=1), "objects: at least one object is needed"),
        _require(
            absent | in_range,
            f"triples: subject and object must be positions in [0, {sizes.objects}), "
            "or the whole triple -1",
        ),
        _require(
            absent | ~in_range | connects, "triples: must connect two different objects that exist"
        ),
        _require(absent | named, f"triples: predicate must be in [1, {sizes.num_predicates})"),
    ]


def _box_checks(request: dict[str, tf.Tensor], present: tf.Tensor) -> list[tf.Operation]:
    """Checks of the given boxes; `present` [B, O] says where objects are."""
    boxes, given = request["boxes"], request["boxes_given"]  # [B, O, 4], [B, O]
    y0, x0, y1, x1 = tf.unstack(boxes, axis=-1)  # [B, O] each
    # Written so that NaN fails every comparison.
    ordered = (0.0 <= y0) & (y0 < y1) & (y1 <= 1.0) & (0.0 <= x0) & (x0 < x1) & (x1 <= 1.0)
    return [
        _require(
            ~given | ordered, "boxes: need 0 <= y0 < y1 <= 1 and 0 <= x0 < x1 <= 1 where given"
        ),
        _require(~given | present, "boxes_given: set where there is no object"),
    ]


def _lock_checks(
    request: dict[str, tf.Tensor], present: tf.Tensor, sizes: Sizes, patch_licences: tf.Tensor
) -> list[tf.Operation]:
    """Checks of the patches to which objects are locked; `present` [B, O]: where objects are."""
    patch_ids = request["patch_ids"]  # [B, O]
    # Clipped, so that the gather does not fail before the message.
    locked = tf.clip_by_value(patch_ids, 0, sizes.patches - 1)  # [B, O]
    refused = (patch_ids >= 0) & tf.gather(
        request["licences_refused"], tf.gather(patch_licences, locked), batch_dims=1
    )  # [B, O]
    return [
        _require(
            (patch_ids >= RETRIEVE) & (patch_ids < sizes.patches),
            f"patch_ids: must be -1 or in [0, {sizes.patches})",
        ),
        _require((patch_ids < 0) | present, "patch_ids: set where there is no object"),
        _require(~refused, "patch_ids: names a patch whose licence is refused by licences_refused"),
    ]


def _draw_checks(request: dict[str, tf.Tensor]) -> list[tf.Operation]:
    """Checks of how patches are drawn."""
    mode, temperature = request["mode"], request["temperature"]  # [B], [B]
    names = ", ".join(f"{number} ({name})" for number, name in enumerate(ALL_MODES))
    return [
        _require((mode >= 0) & (mode < len(ALL_MODES)), f"mode: must be {names}"),
        # Written so that NaN fails.
        _require(
            (temperature > 0.0) & (temperature <= MAX_TEMPERATURE),
            f"temperature: must be in (0, {MAX_TEMPERATURE:g}]",
        ),
    ]


def _require(holds: tf.Tensor, message: str) -> tf.Operation:
    """Asserts `holds` [B, ...] and reports the first row where it does not."""
    per_row = tf.reduce_all(tf.reshape(holds, [tf.shape(holds)[0], -1]), axis=1)  # [B]
    rows = tf.where(per_row, tf.int32.max, tf.range(tf.shape(per_row)[0]))  # [B]
    return tf.debugging.Assert(
        tf.reduce_all(per_row), [f"{message}; wrong in row", tf.reduce_min(rows)]
    )


def _equal_batches(request: dict[str, tf.Tensor]) -> list[tf.Operation]:
    first = next(iter(request))
    rows = tf.shape(request[first])[0]
    allowed = (rows > 0) & (rows <= MAX_BATCH)
    limit = f"{first}: a request has 1 to {MAX_BATCH} rows, got"
    return [tf.debugging.Assert(allowed, [limit, rows])] + [
        tf.debugging.Assert(
            tf.shape(value)[0] == rows,
            [f"{name}: first dimension differs from that of {first}:", tf.shape(value)[0], rows],
        )
        for name, value in request.items()
        if name != first
    ]
