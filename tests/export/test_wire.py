"""Requests and replies as JSON."""

from __future__ import annotations

import json
import time

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export.wire import (
    TensorSpec,
    dump_call,
    dump_reply,
    parse_call,
    parse_reply,
    read_tensors,
)
from rgan_tf.errors import BadInput

SPECS = {
    "ids": TensorSpec("int32", (2,)),
    "share": TensorSpec("float32", ()),
    "given": TensorSpec("bool", (2,)),
    "pixels": TensorSpec("uint8", (1, 2)),
}
ROW = {"ids": [1, 2], "share": 0.5, "given": [True, False], "pixels": [[0, 255]]}
COLUMNS = {name: [value] for name, value in ROW.items()}


def read(**changes):
    fields = {k: v for k, v in {**COLUMNS, **changes}.items() if v is not None}
    return read_tensors(fields, SPECS, max_rows=4)


def body(value) -> bytes:
    return json.dumps(value).encode()


def test_columns_and_rows_say_the_same():
    columns = parse_call(body({"signature_name": "encode", "inputs": COLUMNS}))
    rows = parse_call(body({"signature_name": "encode", "instances": [ROW]}))
    assert columns == ("encode", COLUMNS, False)
    assert rows == ("encode", COLUMNS, True)
    two = parse_call(body({"instances": [ROW, {**ROW, "share": 1}]}))
    assert two.signature == "serving_default"
    arrays = read_tensors(two.fields, SPECS, max_rows=4)
    assert arrays["share"].tolist() == [0.5, 1.0]
    assert arrays["ids"].dtype == np.int32 and arrays["ids"].tolist() == [[1, 2], [1, 2]]
    assert arrays["given"].dtype == bool and arrays["pixels"].dtype == np.uint8


@pytest.mark.parametrize(
    "value, message",
    [
        (b"", "JSON"),
        (b"\xff\xfe", "JSON"),
        (b"{", "JSON"),
        (b"[1]", "must be an object"),
        (b"{}", "either"),
        (b'{"inputs": {}, "instances": []}', "either"),
        (b'{"inputs": []}', "inputs: must be an object"),
        (b'{"inputs": {}, "inputs": {}}', "key 'inputs' is given twice"),
        (b'{"inputs": {"a": [1], "a": [2]}}', "key 'a' is given twice"),
        ('{"inputs": {}}'.encode("utf-16"), "JSON"),
        (b'{"inputs": {}, "signature_name": null}', "signature_name: must be a string"),
        (b'{"inputs": {}} more', "JSON: Extra data"),
        (b'{"inputs": {}, "signature_name": 3}', "signature_name: must be a string"),
        (b'{"instances": []}', "at least one row"),
        (b'{"instances": [3]}', r"instances\[0\]: must be an object"),
        (b'{"instances": [{"a": 1}, {"b": 1}]}', r"instances\[1\]: has other fields"),
        (b'{"inputs": ' + b"[" * 100_000, "JSON"),
        (b'{"inputs": {"a": ' + b"9" * 5000 + b"}}", "JSON"),
    ],
)
def test_bodies_that_are_not_a_request(value, message):
    with pytest.raises(BadInput, match=message):
        parse_call(value)


def test_a_body_of_many_keys_is_refused_as_quickly_as_it_is_read():
    keys = ",".join(f'"{i}":0' for i in range(20_000))
    started = time.perf_counter()
    parse_call(f'{{"inputs":{{{keys}}}}}'.encode())
    reading_s = time.perf_counter() - started
    started = time.perf_counter()
    with pytest.raises(BadInput, match="key '19999' is given twice"):
        parse_call(f'{{"inputs":{{{keys},"19999":1}}}}'.encode())
    assert time.perf_counter() - started < 20 * reading_s + 1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"ids": None}, "ids: is missing"),
        ({"more": [1]}, "'more': no such field"),
        ({"ids": 3}, "ids: must be a list"),
        ({"ids": "ab"}, "ids: must be a list"),
        ({"ids": [[1, 2, 3]]}, "ids: has shape"),
        ({"ids": [[1], [1, 2]]}, "ids: "),
        ({"ids": [[1, 2.5]]}, "ids: must be int32"),
        ({"ids": [[1, True]]}, "ids: must be int32"),
        ({"ids": [[1, None]]}, "ids: must be int32"),
        ({"ids": [["1", "2"]]}, "ids: must be int32"),
        ({"ids": [[1, {"b64": "AA=="}]]}, "ids: must be int32"),
        ({"ids": [[1, 2**31]]}, "ids: a number does not fit int32"),
        ({"ids": [[1, 2**70]]}, "ids: "),
        ({"pixels": [[[0, 256]]]}, "pixels: a number does not fit uint8"),
        ({"pixels": [[[0, -1]]]}, "pixels: a number does not fit uint8"),
        ({"given": [[1, 0]]}, "given: must be bool"),
        ({"share": [True]}, "share: must be float32"),
        ({"share": []}, "rows"),
        ({"share": [1, 2]}, "rows"),
        ({"share": [1] * 5}, "5 rows"),
    ],
)
def test_fields_that_do_not_fit(change, message):
    with pytest.raises(BadInput, match=message):
        read(**change)


def test_further_keys_are_not_looked_at_but_in_rows():
    """`FillTensorMapFromInputsMap` looks for its names alone; `...InstancesList` compares them."""
    call = parse_call(body({"inputs": {**COLUMNS, "note": "x"}, "id": [1], "metadata": None}))
    arrays = read_tensors(call.fields, SPECS, max_rows=4, allow_more=not call.by_row)
    assert set(arrays) == set(SPECS)
    call = parse_call(body({"instances": [{**ROW, "note": "x"}], "id": 1}))
    with pytest.raises(BadInput, match="'note': no such field"):
        read_tensors(call.fields, SPECS, max_rows=4, allow_more=not call.by_row)


def test_a_mark_of_byte_order_is_skipped():
    call = parse_call(b"\xef\xbb\xbf" + body({"inputs": COLUMNS}))
    assert call.fields == COLUMNS


def test_any_integer_is_a_number_for_a_float():
    assert read(share=[2**70])["share"][0] == np.float32(2**70)
    assert read(share=[2**63])["share"][0] == np.float32(2**63)
    with pytest.raises(BadInput, match="share: a number does not fit float32"):
        read(share=[10**400])


def test_what_the_model_itself_refuses_comes_through():
    assert np.isnan(read(share=[float("nan")])["share"][0])
    assert np.isinf(read(share=[1e300])["share"][0])
    with pytest.raises(BadInput, match=r"shape \[0\]"):
        read(**{name: [] for name in COLUMNS})


def binary(values, shape):
    array = np.empty(len(values), object)
    array[:] = values
    return array.reshape(shape)


OUTPUTS = {"image": TensorSpec("bytes", ()), "crops": TensorSpec("bytes", (2,))}


def test_replies_by_column_and_by_row():
    reply = {"image": binary([b"\x00\xff", b""], [2]), "ids": np.array([[1], [2]], np.int32)}
    columns = json.loads(dump_reply(reply, by_row=False))
    assert columns == {"outputs": {"image": [{"b64": "AP8="}, {"b64": ""}], "ids": [[1], [2]]}}
    rows = json.loads(dump_reply(reply, by_row=True))
    assert rows["predictions"][1] == {"image": {"b64": ""}, "ids": [2]}
    alone = {"ids": reply["ids"]}
    assert json.loads(dump_reply(alone, by_row=False)) == {"outputs": [[1], [2]]}
    assert json.loads(dump_reply(alone, by_row=True)) == {"predictions": [[1], [2]]}
    specs = {"ids": TensorSpec("int32", (1,))}
    assert parse_reply(dump_reply(alone, by_row=False), specs, 2)["ids"].tolist() == [[1], [2]]


@pytest.mark.parametrize(
    "crops, message",
    [
        ([[{"b64": "AA=="}]], "crops: has shape"),
        ([[{"b64": "AA=="}, {"b64": "A"}]], "crops: is not base64"),
        ([[{"b64": "AA=="}, {"b64": 3}]], "crops: is not base64"),
        ([[{"b64": "AA=="}, "AA=="]], "binary values"),
        ([[{"b64": "AA=="}, {"b64": "AA==", "x": 1}]], "binary values"),
        (["AA=="], "lists of binary values"),
        ([[{"b64": "AA=="}], [{"b64": "AA=="}] * 2], "equal length"),
    ],
)
def test_binary_values_that_are_none(crops, message):
    text = body({"outputs": {"image": [{"b64": "AA=="}], "crops": crops}})
    with pytest.raises(BadInput, match=message):
        parse_reply(text, OUTPUTS, 1)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), rows=st.integers(1, 4))
def test_arrays_come_back_as_they_went(data, rows):
    def drawn(spec):
        elements = None
        if spec.dtype == "float32":
            elements = st.floats(width=32, allow_nan=False, allow_infinity=False)
        return data.draw(hnp.arrays(spec.dtype, (rows, *spec.shape), elements=elements))

    arrays = {name: drawn(spec) for name, spec in SPECS.items()}
    call = parse_call(dump_call("retrieve", arrays))
    assert call.signature == "retrieve" and not call.by_row
    back = read_tensors(call.fields, SPECS, max_rows=4)
    for name, value in arrays.items():
        assert back[name].dtype == value.dtype
        np.testing.assert_array_equal(back[name], value)
    contents = data.draw(st.lists(st.binary(), min_size=3 * rows, max_size=3 * rows))
    reply = {
        "image": binary(contents[:rows], [rows]),
        "crops": binary(contents[rows:], [rows, 2]),
    }
    parsed = parse_reply(dump_reply(reply, by_row=False), OUTPUTS, rows)
    for name, value in reply.items():
        assert parsed[name].tolist() == value.tolist()
